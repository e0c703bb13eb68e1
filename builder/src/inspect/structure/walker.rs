//! From value to value through a graph, each node once.

use std::collections::{BTreeMap, HashMap, HashSet};

use onnx_file::proto::{GraphProto, NodeProto};

use super::unit::{Conv, Unit};
use crate::import::label;
use crate::variant::Stem;

/// A way back from a value.
#[derive(Default)]
struct Walk {
    convs: Vec<Conv>,
    split: Option<(usize, bool)>,
    /// Whether pixels are taken before a convolution.
    subsampled: bool,
    /// The node it ends at.
    end: usize,
}

/// Operators that change neither channels nor places.
const TRANSPARENT: [&str; 7] =
    ["Identity", "Cast", "Dropout", "QuantizeLinear", "DequantizeLinear", "BatchNormalization", "Relu"];
/// Operators that with a constant are part of a normalisation.
const ARITHMETIC: [&str; 4] = ["Mul", "Add", "Sub", "Div"];
/// Operators that may follow the last block.
const HEAD: [&str; 22] = [
    "Relu",
    "GlobalAveragePool",
    "AveragePool",
    "ReduceMean",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Gemm",
    "MatMul",
    "Add",
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "ArgMax",
    "TopK",
    "Shape",
    "Gather",
    "Concat",
    "Slice",
    "Transpose",
    "Mul",
];

/// A graph on the way through it.
pub(super) struct Walker<'a> {
    graph: &'a GraphProto,
    makers: HashMap<&'a str, usize>,
    /// Shapes of constants.
    constants: HashMap<&'a str, Vec<i64>>,
    /// Other values that follow from constants and shapes alone.
    computed: HashSet<&'a str>,
    pub(super) seen: HashSet<usize>,
    stem: usize,
    /// Nodes and inputs that may still be walked over: each some times, however the file arranges them.
    steps: usize,
}

/// How often the paths of a network may lead over a node, on average.
const VISITS: usize = 16;
/// Extents of a constant that are kept: a weight has at most four.
const RANK: usize = 8;

impl<'a> Walker<'a> {
    pub(super) fn new(graph: &'a GraphProto) -> Result<Self, String> {
        let outputs = |(index, node): (usize, &'a NodeProto)| node.output.iter().map(move |o| (o.as_str(), index));
        let makers: HashMap<&str, usize> = graph.node.iter().enumerate().flat_map(outputs).collect();
        in_order(graph, &makers)?;
        let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), kept(&tensor.dims)));
        let mut constants: HashMap<&str, Vec<i64>> = stored.collect();
        let mut computed: HashSet<&str> = HashSet::new();
        let mut seen = HashSet::new();
        for (index, node) in graph.node.iter().enumerate() {
            let Some(output) = node.output.first() else { continue };
            let dims = match node.op_type.as_str() {
                "Constant" => node.attribute.iter().find_map(|attribute| attribute.t.as_ref()).map(|t| kept(&t.dims)),
                "Identity" | "Cast" | "CastLike" | "DequantizeLinear" | "QuantizeLinear" => {
                    node.input.first().and_then(|input| constants.get(input.as_str()).cloned())
                }
                "Transpose" => node
                    .input
                    .first()
                    .and_then(|input| turned(node, constants.get(input.as_str())?))
                    .map(|dims| kept(&dims)),
                _ => None,
            };
            let is_constant = |name: &String| constants.contains_key(name.as_str()) || computed.contains(name.as_str());
            // The second operand of CastLike lends its type alone, and that of Shape its extents.
            let follows = match node.op_type.as_str() {
                "Shape" => true,
                "CastLike" => node.input.first().is_some_and(is_constant),
                _ => node.input.iter().filter(|name| !name.is_empty()).all(is_constant),
            };
            if let Some(dims) = dims {
                seen.insert(index);
                constants.insert(output, dims);
            } else if follows && node.op_type != "Conv" {
                seen.insert(index);
                computed.insert(output);
            }
        }
        let first = graph.node.iter().position(|node| node.op_type == "Conv");
        let stem = first.ok_or("there is no convolution")?;
        let steps = graph.node.iter().map(|node| VISITS * (1 + node.input.len())).sum();
        Ok(Self { graph, makers, constants, computed, seen, stem, steps })
    }

    /// Counts a visit of `node`.
    fn step(&mut self, node: &NodeProto) -> Result<(), String> {
        let left = self.steps.checked_sub(1 + node.input.len());
        self.steps = left.ok_or("its paths lead over the same nodes again and again, which a ResNet's do not")?;
        Ok(())
    }

    /// Data inputs: those that are no constants.
    fn data(&self, node: &'a NodeProto) -> Vec<&'a str> {
        let is_data =
            |name: &&str| !name.is_empty() && !self.constants.contains_key(name) && !self.computed.contains(name);
        node.input.iter().map(String::as_str).filter(is_data).collect()
    }

    /// An addition of two computed values, not of a bias.
    pub(super) fn is_residual(&self, node: &'a NodeProto) -> bool {
        self.data(node).len() == 2
    }

    fn conv(&self, node: &NodeProto) -> Result<Conv, String> {
        let weight = node.input.get(1).and_then(|name| self.constants.get(name.as_str()));
        let dims = weight.cloned().unwrap_or_default();
        let &[out, inner, height, width] = &dims[..] else {
            return Err(format!("the convolution '{}' is not two-dimensional with a constant weight", label(node)));
        };
        let of = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let group = of("group").map_or(1, |attribute| attribute.i);
        let stride = of("strides").and_then(|attribute| attribute.ints.first().copied()).unwrap_or(1);
        if of("dilations").is_some_and(|attribute| attribute.ints.iter().any(|dilation| *dilation != 1)) {
            return Err(format!("the convolution '{}' is dilated", label(node)));
        }
        let size = |n: i64| usize::try_from(n).ok().filter(|n| (1..=1 << 20).contains(n));
        let sizes = (size(out), size(inner), size(group), size(height), size(stride));
        match sizes {
            (Some(out), Some(inner), Some(group), Some(kernel), Some(stride)) if height == width => {
                Ok(Conv { out, inner: inner * group, group, kernel, stride })
            }
            _ => Err(format!("the convolution '{}' has a {height}x{width} kernel in {group} groups", label(node))),
        }
    }

    /// The first convolution, its output and input channels, and the pooling behind it.
    pub(super) fn stem(&mut self) -> Result<(Stem, usize, usize), String> {
        let conv = self.conv(&self.graph.node[self.stem])?;
        self.seen.insert(self.stem);
        // What stands before it converts the image's type.
        for index in 0..self.stem {
            if TRANSPARENT.contains(&self.graph.node[index].op_type.as_str()) {
                self.seen.insert(index);
            }
        }
        let pooled = self.graph.node.iter().any(|node| node.op_type == "MaxPool" && window(node) > 1);
        match (conv.kernel, conv.stride, pooled) {
            (7, 2, true) => Ok((Stem::ImageNet, conv.out, conv.inner)),
            (3, 1, false) => Ok((Stem::Cifar, conv.out, conv.inner)),
            (kernel, stride, _) => Err(format!(
                "its stem is a {kernel}x{kernel} convolution of stride {stride}{}, where the family has 7x7 of stride 2 and pooling, or 3x3 of stride 1",
                if pooled { " and pooling" } else { " without pooling" }
            )),
        }
    }

    /// Walks back from `value` to the block's input: the last addition, or the stem. A branch `within` a split splits no
    /// further.
    fn walk(&mut self, value: &'a str, within: bool) -> Result<Walk, String> {
        let mut walk = Walk::default();
        let mut value = value;
        loop {
            let &index = self.makers.get(value).ok_or("a path leads past the stem to an input")?;
            let node = &self.graph.node[index];
            self.step(node)?;
            let data = self.data(node);
            let op = node.op_type.as_str();
            if index == self.stem || (op == "MaxPool" && window(node) > 1) || (op == "Add" && data.len() == 2) {
                if op == "MaxPool" || index == self.stem {
                    self.reach_stem(index)?;
                }
                walk.end = if op == "Add" { index } else { self.stem };
                return Ok(walk);
            }
            self.seen.insert(index);
            match op {
                "Conv" => walk.convs.push(self.conv(node)?),
                // Pixels taken before a convolution that was met: its stride.
                "MaxPool" => {
                    walk.subsampled = true;
                    if let Some(conv) = walk.convs.last_mut() {
                        let stride = conv.stride.checked_mul(stride(node));
                        conv.stride =
                            stride.ok_or_else(|| format!("the stride of '{}' is out of range", label(node)))?;
                    }
                }
                "Concat" | "Sum" if data.len() > 1 && within => {
                    return Err(format!("a branch is split again, into those that '{}' joins", label(node)));
                }
                "Concat" | "Sum" if data.len() > 1 => {
                    let count = data.len();
                    let mut parts = Vec::with_capacity(count);
                    for part in data {
                        parts.push(self.walk(part, true)?);
                    }
                    let joined = join(&parts).ok_or("branches that are joined differ from each other")?;
                    walk.convs.extend(joined);
                    walk.split = Some((count, op == "Sum"));
                    walk.subsampled |= parts.iter().any(|part| part.subsampled);
                    walk.end = parts[0].end;
                    return Ok(walk);
                }
                _ if (TRANSPARENT.contains(&op) || ARITHMETIC.contains(&op)) && data.len() == 1 => {}
                _ => {
                    return Err(format!(
                        "the operator {op} ('{}') is no part of a plain ResNet's block",
                        node.output[0]
                    ));
                }
            }
            let [next] = self.data(node)[..] else {
                return Err(format!("the operator {op} ('{}') has several inputs that are computed", node.output[0]));
            };
            value = next;
        }
    }

    /// Walks back from the pooling to the stem's convolution.
    fn reach_stem(&mut self, from: usize) -> Result<(), String> {
        let mut index = from;
        while index != self.stem {
            self.seen.insert(index);
            let node = &self.graph.node[index];
            self.step(node)?;
            let op = node.op_type.as_str();
            let ok = op == "MaxPool" || TRANSPARENT.contains(&op) || ARITHMETIC.contains(&op);
            let next = match self.data(node)[..] {
                [next] if ok => self.makers.get(next).copied(),
                _ => None,
            };
            index = next.ok_or_else(|| format!("the operator {} stands in the stem", node.op_type))?;
        }
        Ok(())
    }

    pub(super) fn unit(&mut self, add: &'a NodeProto) -> Result<Unit, String> {
        let [a, b] = self.data(add)[..] else { return Err("an addition of other than two values".into()) };
        let (mut main, mut side) = (self.walk(a, false)?, self.walk(b, false)?);
        if main.convs.len() < side.convs.len() {
            std::mem::swap(&mut main, &mut side);
        }
        if main.end != side.end {
            return Err(format!("'{}' adds values that do not come from one place", add.output[0]));
        }
        let subsampled = main.subsampled || side.subsampled;
        let mut convs = main.convs;
        convs.reverse();
        let shortcut = match side.convs[..] {
            [] => None,
            [conv] if conv.kernel == 1 && conv.group == 1 => Some(conv),
            _ => return Err(format!("the shortcut of '{}' is more than one 1x1 convolution", add.output[0])),
        };
        Ok(Unit { main: convs, shortcut, split: main.split, subsampled })
    }

    /// All behind the last addition, and the outputs of its linear layers.
    pub(super) fn head(&mut self, last: usize) -> Vec<usize> {
        let mut reached: HashSet<&str> = self.graph.node[last].output.iter().map(String::as_str).collect();
        let mut layers = Vec::new();
        for (index, node) in self.graph.node.iter().enumerate().skip(last + 1) {
            let op = node.op_type.as_str();
            let follows = node.input.iter().any(|input| reached.contains(input.as_str()));
            if !follows || !(HEAD.contains(&op) || TRANSPARENT.contains(&op)) {
                continue;
            }
            self.seen.insert(index);
            reached.extend(node.output.iter().map(String::as_str));
            let weight = node.input.iter().find_map(|input| self.constants.get(input.as_str()));
            if let ("Gemm" | "MatMul", Some([rows, columns])) = (op, weight.map(|weight| &weight[..])) {
                let transposed = node.attribute.iter().any(|a| a.name == "transB" && a.i == 1);
                layers.extend(usize::try_from(if transposed { *rows } else { *columns }));
            }
        }
        layers
    }

    pub(super) fn all_seen(&self) -> Result<(), String> {
        let mut unseen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, node) in self.graph.node.iter().enumerate() {
            if !self.seen.contains(&index) {
                *unseen.entry(node.op_type.as_str()).or_default() += 1;
            }
        }
        if unseen.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = unseen.iter().map(|(op, n)| format!("{op} x{n}")).collect();
        Err(format!(
            "it has residual blocks, and operators beside them that a plain ResNet has not: {}",
            list.join(", ")
        ))
    }
}

/// Branches side by side as the convolutions they are together: each has the same ones.
fn join(parts: &[Walk]) -> Option<Vec<Conv>> {
    let first = &parts.first()?.convs;
    if parts.iter().any(|part| &part.convs != first || part.end != parts[0].end) {
        return None;
    }
    let count = parts.len();
    let together = |(index, conv): (usize, &Conv)| {
        // From the end: the last of a summed branch keeps its outputs, the first its inputs.
        let is_first = index + 1 == first.len();
        let is_last = conv.kernel == 1 && !is_first;
        let out = if is_last { conv.out } else { conv.out * count };
        let inner = if is_first { conv.inner } else { conv.inner * count };
        let group = if conv.kernel == 1 { conv.group } else { conv.group * count };
        Conv { out, inner, group, ..*conv }
    };
    Some(first.iter().enumerate().map(together).collect())
}

/// Refuses a graph whose nodes do not stand in the order of computation: a way back through it might never end.
fn in_order(graph: &GraphProto, makers: &HashMap<&str, usize>) -> Result<(), String> {
    for (index, node) in graph.node.iter().enumerate() {
        let later = |name: &&String| makers.get(name.as_str()).is_some_and(|maker| *maker >= index);
        if let Some(name) = node.input.iter().filter(|name| !name.is_empty()).find(later) {
            return Err(format!("the node '{}' uses '{name}', which it or a later node makes", label(node)));
        }
    }
    Ok(())
}

/// The extents of a constant; none where they are too many for a weight, as copies of them add up.
fn kept(dims: &[i64]) -> Vec<i64> {
    if dims.len() > RANK { Vec::new() } else { dims.to_vec() }
}

/// Side of a pooling window.
fn window(node: &NodeProto) -> i64 {
    let sizes = node.attribute.iter().find(|attribute| attribute.name == "kernel_shape");
    sizes.and_then(|attribute| attribute.ints.iter().copied().max()).unwrap_or(1)
}

fn stride(node: &NodeProto) -> usize {
    let strides = node.attribute.iter().find(|attribute| attribute.name == "strides");
    strides.and_then(|attribute| usize::try_from(*attribute.ints.first()?).ok()).unwrap_or(1)
}

/// The shape that a Transpose makes.
fn turned(node: &NodeProto, dims: &[i64]) -> Option<Vec<i64>> {
    match node.attribute.iter().find(|attribute| attribute.name == "perm") {
        None => Some(dims.iter().rev().copied().collect()),
        Some(order) => order.ints.iter().map(|&axis| dims.get(usize::try_from(axis).ok()?).copied()).collect(),
    }
}
