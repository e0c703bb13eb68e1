//! The values of a graph: who makes them, who takes them, and to which part of the network they belong.

use std::collections::BTreeSet;

use onnx_file::proto::{GraphProto, NodeProto};

/// A value made by a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphValue {
    /// Name of the value.
    pub value: String,
    /// Name of the node, see [`name`].
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Part of the network, see [`values`].
    pub stage: String,
}

/// A node's name; where it has none, that of its first output, which is unique.
pub fn name(node: &NodeProto) -> &str {
    let output = node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output } else { &node.name }
}

/// Every value made by a node of the graph, in order. Stages are told by names: `layer1` and so on as torchvision has
/// them, `stem` before the first, `head` after the last; all is `graph` where no name says so.
pub fn values(graph: &GraphProto) -> Vec<GraphValue> {
    let layers: Vec<Option<&str>> = graph.node.iter().map(|node| layer(name(node))).collect();
    let first = layers.iter().position(Option::is_some);
    let stage = |at: usize| match (layers[at], first) {
        (Some(layer), _) => layer,
        (None, Some(first)) if at < first => "stem",
        (None, Some(_)) => "head",
        (None, None) => "graph",
    };
    let made = |(at, node): (usize, &NodeProto)| {
        let outputs = node.output.iter().filter(|output| !output.is_empty());
        let of = |value: &String| GraphValue {
            value: value.clone(),
            node: name(node).to_owned(),
            op: node.op_type.clone(),
            stage: stage(at).to_owned(),
        };
        outputs.map(of).collect::<Vec<_>>()
    };
    graph.node.iter().enumerate().flat_map(made).collect()
}

/// The values that are no outputs of the graph yet.
pub fn intermediate(graph: &GraphProto, made: &[GraphValue]) -> Vec<String> {
    let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    made.iter().filter(|made| !outputs.contains(made.value.as_str())).map(|made| made.value.clone()).collect()
}

/// `layer3` of `layer3.0.conv1` and of `/layer3/layer3.0/conv1/Conv`.
fn layer(name: &str) -> Option<&str> {
    name.split(['.', '/']).find(|part| {
        part.strip_prefix("layer")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::ValueInfoProto;

    use super::*;
    use crate::verb::compare::boundary::tests::node;

    fn graph(nodes: Vec<NodeProto>) -> GraphProto {
        let output = vec![ValueInfoProto { name: "logits".into(), ..Default::default() }];
        GraphProto { node: nodes, output, ..Default::default() }
    }

    #[test]
    fn stages_are_told_by_the_names_of_torchvision_and_of_its_exports() {
        let nodes = vec![
            node("Conv", "conv1", &["x"], "a"),
            node("Conv", "layer1.0.conv1", &["a"], "b"),
            node("Conv", "/layer10/layer10.0/conv1/Conv", &["b"], "c"),
            node("Conv", "layers.conv", &["c"], "d"),
            node("Gemm", "fc", &["d"], "logits"),
        ];
        let found: Vec<String> = values(&graph(nodes)).into_iter().map(|made| made.stage).collect();
        assert_eq!(found, ["stem", "layer1", "layer10", "head", "head"]);
        let found = values(&graph(vec![node("Conv", "layernorm", &["x"], "logits")]));
        assert_eq!(found[0].stage, "graph");
    }

    #[test]
    fn every_output_of_every_node_is_a_value_and_a_nameless_node_is_called_after_its_first() {
        let mut split = node("Split", "", &["x"], "left");
        split.output.extend(["".to_owned(), "right".to_owned()]);
        let graph = graph(vec![split, node("Add", "sum", &["left", "right"], "logits")]);
        let made = values(&graph);
        let found: Vec<(&str, &str)> = made.iter().map(|made| (made.value.as_str(), made.node.as_str())).collect();
        assert_eq!(found, [("left", "left"), ("right", "left"), ("logits", "sum")]);
        assert_eq!(intermediate(&graph, &made), ["left", "right"], "what is an output already is not added again");
    }
}
