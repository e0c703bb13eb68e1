//! Where a graph can be cut: values through which everything passes, such as the end of each residual block.

use std::collections::{BTreeMap, BTreeSet};

use onnx_file::proto::{GraphProto, NodeProto};

/// A value that alone carries everything from the images to the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Name of the value.
    pub value: String,
    /// Name of the node that makes it, or its operator where it has none.
    pub node: String,
}

/// The boundaries of a graph between the input `image` and its outputs, in order.
///
/// A value inside a residual block is never one, because the shortcut passes beside it. Nor is a value whose only
/// consumer is an operator that runtimes fuse into the one before, such as a ReLU after a convolution: making it an
/// output would change what is examined.
pub fn boundaries(graph: &GraphProto, image: &str) -> Vec<Boundary> {
    let consumers = consumers(graph);
    // Values computed from the image; everything else is constant.
    let mut live: BTreeMap<&str, usize> = BTreeMap::new();
    live.insert(image, consumers.get(image).map_or(0, Vec::len));
    let mut found = Vec::new();
    for node in &graph.node {
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| live.contains_key(name)).collect();
        if inputs.is_empty() {
            continue;
        }
        for input in inputs {
            if let Some(uses) = live.get_mut(input) {
                *uses = uses.saturating_sub(1);
            }
        }
        live.retain(|_, uses| *uses > 0);
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let uses = consumers.get(output.as_str()).map_or(0, Vec::len);
            if uses > 0 {
                live.insert(output, uses);
            }
        }
        let Some(output) = node.output.first() else { continue };
        let alone = live.len() == 1 && live.contains_key(output.as_str());
        if alone && !is_fused(consumers.get(output.as_str())) {
            let name = if node.name.is_empty() { &node.op_type } else { &node.name };
            found.push(Boundary { value: output.clone(), node: name.clone() });
        }
    }
    let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    found.retain(|boundary| !outputs.contains(boundary.value.as_str()));
    found
}

fn consumers(graph: &GraphProto) -> BTreeMap<&str, Vec<&NodeProto>> {
    let mut consumers: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
    for node in &graph.node {
        for input in &node.input {
            consumers.entry(input).or_default().push(node);
        }
    }
    consumers
}

/// Whether the only consumer is one that runtimes fuse into the node before it.
fn is_fused(consumers: Option<&Vec<&NodeProto>>) -> bool {
    const FUSED: [&str; 12] = [
        "Relu",
        "LeakyRelu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "BatchNormalization",
        "Add",
        "Mul",
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
    ];
    matches!(consumers.map(Vec::as_slice), Some([only]) if FUSED.contains(&only.op_type.as_str()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            name: name.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            ..Default::default()
        }
    }

    /// A stem, two residual blocks (one with a projection), pooling, classifier.
    pub(crate) fn residual() -> Vec<NodeProto> {
        vec![
            node("Conv", "stem", &["x", "w0"], "c0"),
            node("Relu", "stem.relu", &["c0"], "r0"),
            node("MaxPool", "pool", &["r0"], "p"),
            node("Conv", "1.conv", &["p", "w1"], "c1"),
            node("Conv", "1.downsample", &["p", "w2"], "d1"),
            node("Add", "1.add", &["c1", "d1"], "a1"),
            node("Relu", "1.relu", &["a1"], "r1"),
            node("Conv", "2.conv", &["r1", "w3"], "c2"),
            node("Add", "2.add", &["c2", "r1"], "a2"),
            node("Relu", "", &["a2"], "r2"),
            node("GlobalAveragePool", "mean", &["r2"], "m"),
            node("Flatten", "flatten", &["m"], "f"),
            node("Gemm", "fc", &["f", "w4", "b4"], "logits"),
        ]
    }

    #[test]
    fn the_boundaries_of_a_residual_network_are_the_ends_of_its_blocks_and_stages() {
        let graph = GraphProto { node: residual(), ..Default::default() };
        let found: Vec<String> = boundaries(&graph, "x").into_iter().map(|boundary| boundary.value).collect();
        assert_eq!(found, ["r0", "p", "r1", "r2", "m", "f"]);
    }

    #[test]
    fn constants_and_unused_values_do_not_count_as_passing_beside() {
        let mut nodes = vec![node("Constant", "k", &[], "k"), node("Shape", "shape", &["x"], "unused")];
        nodes.extend(residual());
        let graph = GraphProto { node: nodes, ..Default::default() };
        assert_eq!(boundaries(&graph, "x").len(), 6);
        assert_eq!(boundaries(&graph, "x")[3], Boundary { value: "r2".into(), node: "Relu".into() });
    }

    #[test]
    fn a_graph_output_is_not_added_again() {
        let output = onnx_file::proto::ValueInfoProto { name: "r1".into(), ..Default::default() };
        let graph = GraphProto { node: residual(), output: vec![output], ..Default::default() };
        assert!(boundaries(&graph, "x").iter().all(|boundary| boundary.value != "r1"));
    }
}
