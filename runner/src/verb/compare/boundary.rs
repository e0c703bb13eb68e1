//! Where a graph can be cut: values through which everything passes, such as the end of each residual block.

use std::collections::{BTreeMap, BTreeSet};

use onnx_file::proto::{GraphProto, NodeProto};

/// A value that alone carries everything from the inputs to the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Name of the value.
    pub value: String,
    /// Name of the node that makes it, or its operator where it has none.
    pub node: String,
    /// Name of the value that it is by its numbers: before quantization, dequantization and casts, so that a quantized graph has
    /// it under the name of the graph that it was made of.
    pub origin: String,
}

/// The boundaries of a graph between its inputs and its outputs, in order.
///
/// A value inside a residual block is never one, because the shortcut passes beside it. Nor is a value whose only
/// consumer is an operator that runtimes fuse into the one before, such as a ReLU after a convolution: making it an
/// output would change what is examined.
pub fn boundaries<'a>(graph: &'a GraphProto, inputs: impl Iterator<Item = &'a str>) -> Vec<Boundary> {
    let consumers = consumers(graph);
    // Inputs are the same on both sides of a comparison: what reads them later passes beside no boundary.
    let given: BTreeSet<&str> = inputs.collect();
    // Values computed from them; everything else is constant.
    let mut live: BTreeMap<&str, usize> = BTreeMap::new();
    let uses = |name: &str| consumers.get(name).map_or(0, Vec::len);
    let mut origins: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for node in &graph.node {
        let is_computed = |name: &&str| live.contains_key(name) || given.contains(name);
        let inputs: Vec<&str> = read_by(node).into_iter().filter(is_computed).collect();
        let Some(first) = inputs.first() else { continue };
        for input in &inputs {
            if let Some(uses) = live.get_mut(input) {
                *uses = uses.saturating_sub(1);
            }
        }
        live.retain(|_, uses| *uses > 0);
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if uses(output) > 0 {
                live.insert(output, uses(output));
            }
        }
        let Some(output) = node.output.first() else { continue };
        let origin = if keeps_numbers(node) { origins.get(first).copied().unwrap_or(first) } else { output.as_str() };
        origins.insert(output, origin);
        let alone = live.len() == 1 && live.contains_key(output.as_str());
        let after = consumers.get(output.as_str()).map(Vec::as_slice).unwrap_or_default();
        if alone && !is_fused(after) {
            let (value, node) = dequantized(after).unwrap_or((output, node));
            let node = if node.name.is_empty() { &node.op_type } else { &node.name };
            found.push(Boundary { value: value.clone(), node: node.clone(), origin: origin.to_owned() });
        }
    }
    let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    found.retain(|boundary| !outputs.contains(boundary.value.as_str()));
    // A value dequantized for each consumer anew is one boundary.
    found.dedup_by(|later, earlier| later.value == earlier.value);
    found
}

/// Whether a node gives the numbers that it takes, but for their rounding.
fn keeps_numbers(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear" | "Cast" | "Identity")
}

/// Of levels that are only ever dequantized, the first value with the numbers that they stand for, and who makes it.
fn dequantized<'a>(consumers: &[&'a NodeProto]) -> Option<(&'a String, &'a NodeProto)> {
    let all = consumers.iter().all(|node| node.op_type == "DequantizeLinear");
    let first = consumers.first().filter(|_| all)?;
    Some((first.output.first()?, first))
}

fn consumers(graph: &GraphProto) -> BTreeMap<&str, Vec<&NodeProto>> {
    let mut consumers: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
    for node in &graph.node {
        for input in read_by(node) {
            consumers.entry(input).or_default().push(node);
        }
    }
    consumers
}

/// What a node reads: its inputs, and what the graphs within it take from around them.
fn read_by(node: &NodeProto) -> Vec<&str> {
    let mut read: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            read.extend(graph.node.iter().flat_map(read_by));
            read.extend(graph.output.iter().map(|output| output.name.as_str()));
        }
    }
    read
}

/// Whether the only consumer is one that runtimes fuse into the node before it.
fn is_fused(consumers: &[&NodeProto]) -> bool {
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
    matches!(consumers, [only] if FUSED.contains(&only.op_type.as_str()))
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
        let found: Vec<String> =
            boundaries(&graph, ["x"].into_iter()).into_iter().map(|boundary| boundary.value).collect();
        assert_eq!(found, ["r0", "p", "r1", "r2", "m", "f"]);
    }

    #[test]
    fn constants_and_unused_values_do_not_count_as_passing_beside() {
        let mut nodes = vec![node("Constant", "k", &[], "k"), node("Shape", "shape", &["x"], "unused")];
        nodes.extend(residual());
        let graph = GraphProto { node: nodes, ..Default::default() };
        assert_eq!(boundaries(&graph, ["x"].into_iter()).len(), 6);
        assert_eq!(
            boundaries(&graph, ["x"].into_iter())[3],
            Boundary { value: "r2".into(), node: "Relu".into(), origin: "r2".into() }
        );
    }

    #[test]
    fn a_graph_output_is_not_added_again() {
        let output = onnx_file::proto::ValueInfoProto { name: "r1".into(), ..Default::default() };
        let graph = GraphProto { node: residual(), output: vec![output], ..Default::default() };
        assert!(boundaries(&graph, ["x"].into_iter()).iter().all(|boundary| boundary.value != "r1"));
    }

    /// The residual network with its blocks' ends quantized, and dequantized once for all consumers or for each.
    fn quantized(for_each: bool) -> GraphProto {
        let mut nodes = Vec::new();
        for mut node in residual() {
            for input in node.input.iter_mut().filter(|input| ["p", "r1"].contains(&input.as_str())) {
                let own = if for_each { format!("{input}.{}", node.name) } else { format!("{input}.dq") };
                let levels = format!("{input}.q");
                let made = nodes.iter().any(|made: &NodeProto| made.output[0] == own);
                if !made {
                    nodes.push(self::node("DequantizeLinear", "", &[&levels, "s"], &own));
                }
                *input = own;
            }
            let output = node.output[0].clone();
            nodes.push(node);
            if ["p", "r1"].contains(&output.as_str()) {
                nodes.push(self::node("QuantizeLinear", "", &[&output, "s"], &format!("{output}.q")));
            }
        }
        GraphProto { node: nodes, ..Default::default() }
    }

    #[test]
    fn a_quantized_graph_has_the_boundaries_of_the_graph_that_it_was_made_of() {
        for (for_each, values) in
            [(false, ["r0", "p.dq", "r1.dq", "r2", "m", "f"]), (true, ["r0", "p.1.conv", "r1.2.conv", "r2", "m", "f"])]
        {
            let graph = quantized(for_each);
            let found = boundaries(&graph, ["x"].into_iter());
            let by = |what: fn(&Boundary) -> &String| found.iter().map(|one| what(one).as_str()).collect::<Vec<_>>();
            assert_eq!(by(|one| &one.value), values);
            assert_eq!(by(|one| &one.origin), ["r0", "p", "r1", "r2", "m", "f"]);
        }
    }

    #[test]
    fn what_two_values_carry_is_no_boundary_and_inner_graphs_read_values_too() {
        let nodes = vec![
            node("Conv", "left", &["x", "w"], "a"),
            node("MaxPool", "left.pool", &["a"], "b"),
            node("Gemm", "right", &["ids", "w"], "c"),
            node("Concat", "both", &["b", "c"], "d"),
            node("Conv", "last", &["d", "w"], "e"),
        ];
        let graph = GraphProto { node: nodes, ..Default::default() };
        let values = |graph: &GraphProto, inputs: &[&'static str]| -> Vec<String> {
            let inputs = inputs.to_vec();
            let owned = graph.clone();
            boundaries(&owned, inputs.into_iter()).into_iter().map(|one| one.value).collect()
        };
        assert_eq!(values(&graph, &["x", "ids"]), ["a", "b", "d"]);
        let inner = GraphProto { node: vec![node("Add", "", &["a", "w"], "inner")], ..Default::default() };
        let mut reading = graph.clone();
        let attribute = onnx_file::proto::AttributeProto { g: Some(inner), ..Default::default() };
        reading.node[4].attribute.push(attribute);
        assert_eq!(values(&reading, &["x", "ids"]), ["a"]);
    }
}
