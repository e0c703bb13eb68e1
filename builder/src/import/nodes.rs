//! Names and values of nodes.

use onnx_file::proto::NodeProto;

/// A node's name, or its first output's where it has none.
pub(crate) fn label(node: &NodeProto) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// Calls `visit` with every value that `node` uses, those of its inner graphs included.
pub(crate) fn uses(node: &NodeProto, visit: &mut dyn FnMut(&str)) {
    node.input.iter().for_each(|name| visit(name));
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            graph.output.iter().for_each(|output| visit(&output.name));
            graph.node.iter().for_each(|inner| uses(inner, visit));
        }
    }
}
