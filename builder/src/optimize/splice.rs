//! Puts what the passes changed back into the model.

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType};
use onnx_file::raw::TensorError;

use super::extract::{Extracted, position, uses};
use super::{OptimizeError, Rewrite};
use crate::export;
use crate::graph::{Conv, Graph, Node, Op, ValueId};
use crate::import::Initializers;
use crate::passes::SUBSAMPLE_SUFFIX;
use crate::weight::Weight;

/// What became of the model's nodes.
pub(super) struct Changes {
    pub(super) rewritten: Vec<Rewrite>,
    /// Nodes that are gone or not as they were.
    pub(super) touched: usize,
}

/// Replaces the nodes of `model` that `lowered` has changed, and their weights; `path` is for messages.
pub(super) fn splice(
    model: &mut GraphProto,
    extracted: &mut Extracted,
    lowered: &Graph,
    path: &str,
) -> Result<Changes, OptimizeError> {
    let now: HashMap<usize, &Node> = lowered.nodes.iter().map(|node| (position(&node.name), node)).collect();
    let before: Vec<Node> = extracted.graph.nodes.clone();
    let mut gone = HashSet::new();
    let mut changed: Vec<(usize, &Node)> = Vec::new();
    let mut rewritten = Vec::new();
    for old in &before {
        let at = position(&old.name);
        let change = match now.get(&at) {
            None => {
                gone.insert(at);
                Rewrite {
                    node: extracted.label(at),
                    from: old.op.name().into(),
                    to: "folded into the node before".into(),
                }
            }
            Some(&new) if new != old => {
                changed.push((at, new));
                // A convolution that folds a normalisation makes what that one made.
                let folded = if new.output == old.output { "" } else { ", with its normalisation folded in" };
                let to = tell(lowered, new) + folded;
                Rewrite { node: extracted.label(at), from: tell(&extracted.graph, old), to }
            }
            Some(_) => continue,
        };
        rewritten.push(change);
    }
    let mut names = Names::of(model);
    let mut weights: HashMap<ValueId, String> = HashMap::new();
    for &(at, new) in &changed {
        let inputs = new.inputs.iter().enumerate().map(|(input, &id)| {
            let value = lowered.value(id);
            if let Some(name) = extracted.name(id).or(weights.get(&id).map(String::as_str)) {
                return Ok(name.to_owned());
            }
            let old = model.node[at].input.get(input).cloned().unwrap_or_default();
            let Some(weight) = &value.weight else {
                // Pixels, which are put before the node below.
                return Ok(old);
            };
            let name = names.fresh(&old, &format!("{}.{input}", extracted.label(at)));
            model.initializer.push(materialize(weight, value.element, &name, extracted, at, path)?);
            weights.insert(id, name.clone());
            Ok(name)
        });
        let inputs = inputs.collect::<Result<Vec<_>, OptimizeError>>()?;
        let node = &mut model.node[at];
        node.input = inputs;
        node.output = vec![extracted.name(new.output).unwrap_or_default().to_owned()];
        if let Op::Conv(conv) = new.op {
            set(node, "group", |attribute| attribute.i = conv.group as i64, AttributeType::Int);
            let strides = conv.stride.map(|stride| stride as i64);
            set(node, "strides", |attribute| attribute.ints = strides.to_vec(), AttributeType::Ints);
        }
    }
    let before_them = subsampling(lowered, extracted, &mut names);
    let nodes = std::mem::take(&mut model.node).into_iter().enumerate();
    for (at, mut node) in nodes.filter(|(at, _)| !gone.contains(at)) {
        if let Some(pixels) = before_them.get(&at) {
            node.input[0].clone_from(&pixels.output[0]);
            model.node.push(pixels.clone());
        }
        model.node.push(node);
    }
    drop_unused(model, &before, extracted);
    Ok(Changes { touched: rewritten.len(), rewritten })
}

/// What a node is, or was.
fn tell(graph: &Graph, node: &Node) -> String {
    match (node.op, graph.value(node.inputs[1]).shape.get(1)) {
        (Op::Conv(conv), Some(inner)) if conv.group > 1 => {
            format!("{} groups of {inner} channels{}", conv.group, stride(&conv))
        }
        (Op::Conv(conv), Some(_)) => format!("one group{}", stride(&conv)),
        (op, _) => op.name().into(),
    }
}

fn stride(conv: &Conv) -> String {
    match conv.stride {
        [height, width] if height == width => format!(", stride {height}"),
        [height, width] => format!(", strides {height} and {width}"),
    }
}

/// Computes a new weight.
fn materialize(
    weight: &Weight,
    element: ElementType,
    name: &str,
    extracted: &mut Extracted,
    at: usize,
    path: &str,
) -> Result<TensorProto, OptimizeError> {
    let raw = bytes(weight, element, &mut extracted.weights);
    let raw = raw.map_err(|source| OptimizeError::Tensor { path: path.into(), source })?;
    let raw = raw.ok_or_else(|| OptimizeError::NotFinite { path: path.into(), node: extracted.label(at) })?;
    Ok(TensorProto {
        name: name.into(),
        data_type: element.to_proto(),
        dims: weight.shape().iter().map(|&n| n as i64).collect(),
        raw_data: raw.into(),
        ..Default::default()
    })
}

/// A weight's bytes, or none where a number is not finite. Only widening reaches the narrow types, and it rounds nothing.
fn bytes(weight: &Weight, element: ElementType, source: &mut Initializers) -> Result<Option<Vec<u8>>, TensorError> {
    if element == ElementType::F64 {
        let data = weight.eval_f64(source)?;
        let finite = data.iter().all(|v| v.is_finite());
        return Ok(finite.then(|| data.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    let data = weight.eval_f32(source)?;
    let finite = data.iter().all(|v| v.is_finite());
    Ok(finite.then(|| match element {
        ElementType::F16 => data.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        ElementType::BF16 => data.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        _ => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }))
}

/// The nodes that take the pixels of strided convolutions, by the position of the convolution.
fn subsampling(lowered: &Graph, extracted: &Extracted, names: &mut Names) -> HashMap<usize, NodeProto> {
    let nodes = lowered.nodes.iter().filter_map(|node| {
        let at = position(node.name.strip_suffix(SUBSAMPLE_SUFFIX)?);
        let label = format!("{}{SUBSAMPLE_SUFFIX}", extracted.label(at));
        let proto = NodeProto {
            op_type: node.op.name().into(),
            input: vec![extracted.name(node.inputs[0])?.to_owned()],
            output: vec![names.fresh("", &label)],
            attribute: export::attributes(lowered, node),
            name: label,
            ..Default::default()
        };
        Some((at, proto))
    });
    nodes.collect()
}

/// Sets an attribute, which is added where it was left out.
fn set(node: &mut NodeProto, name: &str, value: impl FnOnce(&mut AttributeProto), kind: AttributeType) {
    if let Some(attribute) = node.attribute.iter_mut().find(|attribute| attribute.name == name) {
        return value(attribute);
    }
    let mut attribute = AttributeProto { name: name.into(), r#type: kind as i32, ..Default::default() };
    value(&mut attribute);
    node.attribute.push(attribute);
}

/// Every name in the model that a new weight must not take.
struct Names(HashSet<String>);

impl Names {
    fn of(model: &GraphProto) -> Self {
        let mut names: HashSet<String> = model.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        names.extend(model.input.iter().chain(&model.output).chain(&model.value_info).map(|value| value.name.clone()));
        for node in &model.node {
            names.extend(node.output.iter().cloned());
            uses(node, &mut |name| {
                names.insert(name.to_owned());
            });
        }
        Self(names)
    }

    /// A name like `old`, or like `otherwise` where there was none.
    fn fresh(&mut self, old: &str, otherwise: &str) -> String {
        let stem = if old.is_empty() { otherwise.to_string() } else { format!("{old}.lowered") };
        let mut name = stem.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{stem}{number}");
            number += 1;
        }
        name
    }
}

/// Removes the old weights of changed nodes that nothing uses any more, and what was said of values that are gone.
fn drop_unused(model: &mut GraphProto, before: &[Node], extracted: &Extracted) {
    let mut used: HashSet<String> = model.output.iter().map(|output| output.name.clone()).collect();
    for node in &model.node {
        uses(node, &mut |name| {
            used.insert(name.to_owned());
        });
    }
    let parameters = before.iter().flat_map(|node| &node.inputs[1..]);
    let old: HashSet<&str> = parameters.map(|&id| extracted.graph.value(id).name.as_str()).collect();
    let unused = |name: &str| old.contains(name) && !used.contains(name);
    model.initializer.retain(|tensor| !unused(&tensor.name));
    model.node.retain(|node| {
        let constant = matches!(node.op_type.as_str(), "Constant" | "Identity");
        !(constant && node.output.len() == 1 && unused(&node.output[0]))
    });
    let mut made: HashSet<&str> = model.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    made.extend(model.input.iter().map(|input| input.name.as_str()));
    made.extend(model.initializer.iter().map(|tensor| tensor.name.as_str()));
    model.value_info.retain(|value| made.contains(value.name.as_str()));
}
