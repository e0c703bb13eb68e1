//! The graph that onnxruntime runs: what in it multiplies, with which kernel, and what keeps a node from an integer one.

use std::collections::{BTreeMap, HashMap};

use onnx_file::element::ElementType;
use onnx_file::proto::{GraphProto, NodeProto, TensorProto};

use super::names::Names;
use crate::model::coverage::{Coverage, FloatReason, Multiplier};
use crate::model::values;

/// What was recorded of a node: its name, and the extents of its first input and its first output.
pub(super) type Extents = BTreeMap<String, [Vec<u64>; 2]>;

/// How an operator multiplies, and where its weights are.
struct Kernel {
    integer: bool,
    /// Which input has the weights, or the second factor.
    weights: usize,
    /// Whether one output is a sum over a row of the weights (a convolution) or over a row of the input.
    convolves: bool,
}

/// The operators of onnxruntime that multiply matrices, with those that its optimisations make of them.
fn kernel(op: &str) -> Option<Kernel> {
    let kernel = |integer, weights, convolves| Some(Kernel { integer, weights, convolves });
    match op {
        "Conv" | "FusedConv" | "NhwcFusedConv" | "ConvTranspose" => kernel(false, 1, true),
        "Gemm" | "FusedGemm" | "MatMul" | "FusedMatMul" | "TransposeMatMul" | "MatMulNBits" => kernel(false, 1, false),
        "QLinearConv" | "QLinearConvTranspose" => kernel(true, 3, true),
        "ConvInteger" => kernel(true, 1, true),
        "QGemm" | "QLinearMatMul" => kernel(true, 3, false),
        "MatMulInteger" | "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" => kernel(true, 1, false),
        _ => None,
    }
}

/// A graph that onnxruntime has optimised, with its arrows.
pub(super) struct Optimised<'g> {
    graph: &'g GraphProto,
    constants: HashMap<&'g str, &'g TensorProto>,
    producers: HashMap<&'g str, &'g NodeProto>,
    users: HashMap<&'g str, Vec<&'g NodeProto>>,
}

impl<'g> Optimised<'g> {
    pub(super) fn of(graph: &'g GraphProto) -> Self {
        let constants = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut producers = HashMap::new();
        let mut users: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
        for node in &graph.node {
            producers.extend(node.output.iter().map(|output| (output.as_str(), node)));
            node.input.iter().for_each(|input| users.entry(input).or_default().push(node));
        }
        Self { graph, constants, producers, users }
    }

    /// What multiplies in it. `names` are those of the file; `off` is the option that turns integer kernels
    /// off, where one does.
    pub(super) fn coverage(&self, names: &Names<'_>, extents: &Extents, off: Option<&str>) -> Coverage {
        let multiplier = |node: &NodeProto| {
            let kernel = kernel(&node.op_type)?;
            let float = (!kernel.integer).then(|| match off {
                Some(option) => FloatReason::TurnedOff { option: option.to_owned() },
                None => self.reason(node),
            });
            Some(Multiplier {
                name: self.name(node, &kernel, names).to_owned(),
                kernel: node.op_type.clone(),
                multiply_adds: self.multiply_adds(node, &kernel, extents),
                float,
            })
        };
        Coverage::of(self.graph.node.iter().filter_map(multiplier).collect())
    }

    /// What a reader of the file knows a node by: its name, or, where the file gives it none, that of its weights.
    fn name<'n>(&'n self, node: &'n NodeProto, kernel: &Kernel, names: &'n Names<'_>) -> &'n str {
        match names.original(&node.name) {
            "" => self.constant(node, kernel.weights).map_or(values::name(node), |weights| &weights.name),
            name => name,
        }
    }

    fn multiply_adds(&self, node: &NodeProto, kernel: &Kernel, extents: &Extents) -> Option<u64> {
        let count = |shape: &[u64]| shape.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent));
        let [input, output] = extents.get(&node.name)?;
        let (inputs, outputs) = (count(input)?, count(output)?);
        if !kernel.convolves {
            // [M, K] x [K, N]: the first factor has K numbers for each of the M rows of the result.
            let rows = outputs.checked_div(*output.last()?)?;
            return outputs.checked_mul(inputs.checked_div(rows)?);
        }
        let dims: Vec<u64> = self.constant(node, kernel.weights)?.dims.iter().map(|&dim| dim.max(0) as u64).collect();
        // [out, in / groups, kH, kW]: a row for each output; transposed, a row for each input.
        let row = count(&dims)?.checked_div(*dims.first()?)?;
        if node.op_type.contains("Transpose") { inputs } else { outputs }.checked_mul(row)
    }

    fn constant(&self, node: &NodeProto, at: usize) -> Option<&'g TensorProto> {
        self.constants.get(node.input.get(at)?.as_str()).copied().or_else(|| {
            // Behind the node that dequantizes it.
            let dequantize = self.dequantizer(node, at)?;
            self.constants.get(dequantize.input.first()?.as_str()).copied()
        })
    }

    /// The node that dequantizes an input.
    fn dequantizer(&self, node: &NodeProto, at: usize) -> Option<&'g NodeProto> {
        let mut producer = self.producers.get(node.input.get(at)?.as_str())?;
        // What only lays the same numbers out otherwise.
        while matches!(producer.op_type.as_str(), "ReorderInput" | "ReorderOutput" | "Transpose") {
            producer = self.producers.get(producer.input.first()?.as_str())?;
        }
        (producer.op_type == "DequantizeLinear").then_some(*producer)
    }

    /// The type of the integers that a node quantizes to or dequantizes; `uint8` where it names no zero point.
    fn integers(&self, node: &NodeProto) -> ElementType {
        let zero = self.constant(node, 2).and_then(|zero| ElementType::from_proto(zero.data_type));
        zero.unwrap_or(ElementType::U8)
    }

    /// What keeps `node` from an integer kernel: the rules of onnxruntime's selectors (`qdq_selectors.cc`), in the order in
    /// which a reader would want to mend them.
    fn reason(&self, node: &NodeProto) -> FloatReason {
        let Some(values) = self.dequantizer(node, 0) else { return FloatReason::ValuesNotQuantized };
        let Some(weights) = self.dequantizer(node, 1) else { return FloatReason::WeightsNotQuantized };
        let (input, weight) = (self.integers(values), self.integers(weights));
        let wide = [input, weight].into_iter().find(|element| !matches!(element, ElementType::U8 | ElementType::I8));
        if let Some(element) = wide {
            return FloatReason::NoKernel { element: element.to_string() };
        }
        let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
        if has_bias && self.dequantizer(node, 2).is_none() {
            return FloatReason::BiasNotInteger;
        }
        let Some(output) = node.output.first() else { return FloatReason::NotFused };
        if self.graph.output.iter().any(|leaves| leaves.name == *output) {
            return FloatReason::LeavesUnrounded;
        }
        match self.users.get(output.as_str()).map(Vec::as_slice) {
            Some([quantize]) if quantize.op_type == "QuantizeLinear" => {
                let output = self.integers(quantize);
                match output == input {
                    true => FloatReason::NotFused,
                    false => FloatReason::TypesDiffer { input: input.to_string(), output: output.to_string() },
                }
            }
            Some([taker]) => {
                FloatReason::TakenUnrounded { node: values::name(taker).to_owned(), op: taker.op_type.clone() }
            }
            Some(several) => FloatReason::TakenBySeveral { count: several.len() },
            None => FloatReason::NotFused,
        }
    }
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::verb::compare::boundary::tests::node;

    fn constant(name: &str, of: DataType, dims: &[i64]) -> TensorProto {
        TensorProto { name: name.into(), data_type: of as i32, dims: dims.to_vec(), ..Default::default() }
    }

    /// x -> Q -> DQ -> Conv -> `behind` -> ...
    fn graph(zero: DataType, behind: Vec<NodeProto>) -> GraphProto {
        let mut nodes = vec![
            node("DequantizeLinear", "values", &["xq", "s", "zero"], "x"),
            node("DequantizeLinear", "weights", &["wq", "s", "wz"], "w"),
            node("Conv", "conv", &["x", "w"], "y"),
        ];
        nodes.extend(behind);
        let initializer = vec![
            constant("zero", zero, &[]),
            constant("wz", DataType::Int8, &[]),
            constant("wq", DataType::Int8, &[8, 4, 3, 3]),
            constant("to", DataType::Uint8, &[]),
        ];
        GraphProto { node: nodes, initializer, ..Default::default() }
    }

    fn reason(graph: &GraphProto) -> FloatReason {
        let found = Optimised::of(graph).coverage(&Names::of(&GraphProto::default()), &Extents::new(), None);
        found.nodes[0].float.clone().expect("a reason")
    }

    #[test]
    fn the_reason_is_what_stands_between_a_convolution_and_its_integer_kernel() {
        let rounded = || vec![node("QuantizeLinear", "q", &["y", "s", "to"], "z")];
        let name = |element: ElementType| element.to_string();
        assert_eq!(reason(&graph(DataType::Uint8, rounded())), FloatReason::NotFused);
        assert_eq!(
            reason(&graph(DataType::Uint16, rounded())),
            FloatReason::NoKernel { element: name(ElementType::U16) }
        );
        assert_eq!(
            reason(&graph(DataType::Int8, rounded())),
            FloatReason::TypesDiffer { input: name(ElementType::I8), output: name(ElementType::U8) }
        );
        let relu = vec![node("Relu", "relu", &["y"], "z")];
        let taken = FloatReason::TakenUnrounded { node: "relu".into(), op: "Relu".into() };
        assert_eq!(reason(&graph(DataType::Uint8, relu)), taken);
        let two = vec![node("Relu", "relu", &["y"], "z"), node("Add", "add", &["y", "z"], "u")];
        assert_eq!(reason(&graph(DataType::Uint8, two)), FloatReason::TakenBySeveral { count: 2 });
        let mut leaves = graph(DataType::Uint8, vec![]);
        leaves.output = vec![onnx_file::proto::ValueInfoProto { name: "y".into(), ..Default::default() }];
        assert_eq!(reason(&leaves), FloatReason::LeavesUnrounded);
        let mut plain = graph(DataType::Uint8, rounded());
        plain.node[2].input[0] = "other".into();
        assert_eq!(reason(&plain), FloatReason::ValuesNotQuantized);
        plain.node[2].input = vec!["x".into(), "wq".into()];
        assert_eq!(reason(&plain), FloatReason::WeightsNotQuantized);
        plain.node[2].input = vec!["x".into(), "w".into(), "b".into()];
        assert_eq!(reason(&plain), FloatReason::BiasNotInteger);
        let off = Optimised::of(&plain).coverage(&Names::of(&GraphProto::default()), &Extents::new(), Some("a=1"));
        assert_eq!(off.nodes[0].float, Some(FloatReason::TurnedOff { option: "a=1".into() }));
    }

    #[test]
    fn multiply_adds_are_outputs_times_a_row_of_weights_or_of_values() {
        let mut of = graph(DataType::Uint8, vec![]);
        of.node.push(NodeProto { name: "fc_token_3".into(), ..node("QGemm", "fc", &["a", "s", "z", "fcw"], "b") });
        let file = GraphProto { node: vec![node("Gemm", "fc", &["a"], "b")], ..Default::default() };
        let mut extents = Extents::new();
        extents.insert("conv".into(), [vec![1, 8, 5, 5], vec![1, 8, 5, 5]]);
        extents.insert("fc_token_3".into(), [vec![2, 32], vec![2, 10]]);
        let found = Optimised::of(&of).coverage(&Names::of(&file), &extents, None);
        assert_eq!(found.nodes[0].multiply_adds, Some(200 * 36));
        assert_eq!((found.nodes[1].name.as_str(), found.nodes[1].multiply_adds), ("fc", Some(2 * 32 * 10)));
        assert!(found.nodes[1].float.is_none());
        assert_eq!(found.share, 640.0 / (7200.0 + 640.0));
    }
}
