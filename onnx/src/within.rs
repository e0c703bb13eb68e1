//! All nodes and tensors of a model: of its graph, of the graphs within it, and of its functions.

use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// What a model holds, however deep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents<'m> {
    /// Nodes.
    pub nodes: Vec<&'m NodeProto>,
    /// Initializers, and the tensors that are attributes, as those of `Constant`; the values of sparse ones.
    pub tensors: Vec<&'m TensorProto>,
}

impl<'m> Contents<'m> {
    /// Of `model`, with its graph where that is given apart as in an [`Outline`](crate::outline::Outline).
    pub fn of(model: &'m ModelProto, apart: Option<&'m GraphProto>) -> Self {
        let mut found = Self::default();
        // A stack instead of recursion: depth is the file's choice.
        let mut graphs: Vec<&GraphProto> = model.graph.iter().chain(apart).collect();
        let mut attributes: Vec<&AttributeProto> = Vec::new();
        for function in &model.functions {
            attributes.extend(&function.attribute_proto);
            found.add(&function.node, &mut attributes);
        }
        loop {
            while let Some(attribute) = attributes.pop() {
                found.tensors.extend(attribute.t.iter().chain(&attribute.tensors));
                let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors);
                found.tensors.extend(sparse.filter_map(|sparse| sparse.values.as_ref()));
                graphs.extend(attribute.g.iter().chain(&attribute.graphs));
            }
            let Some(graph) = graphs.pop() else { return found };
            found.tensors.extend(&graph.initializer);
            found.tensors.extend(graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()));
            found.add(&graph.node, &mut attributes);
        }
    }

    fn add(&mut self, nodes: &'m [NodeProto], attributes: &mut Vec<&'m AttributeProto>) {
        self.nodes.extend(nodes);
        attributes.extend(nodes.iter().flat_map(|node| &node.attribute));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FunctionProto;

    #[test]
    fn graphs_within_graphs_constants_and_functions_are_all_there() {
        let tensor = |name: &str| TensorProto { name: name.into(), ..Default::default() };
        let node =
            |op: &str, attribute| NodeProto { op_type: op.into(), attribute: vec![attribute], ..Default::default() };
        let constant = |name: &str| node("Constant", AttributeProto { t: Some(tensor(name)), ..Default::default() });
        let inner = GraphProto { node: vec![constant("b")], initializer: vec![tensor("c")], ..Default::default() };
        let branch = node("If", AttributeProto { g: Some(inner), ..Default::default() });
        let graph = GraphProto { node: vec![branch], initializer: vec![tensor("a")], ..Default::default() };
        let function = FunctionProto { node: vec![constant("d")], ..Default::default() };
        let model = ModelProto { functions: vec![function], ..Default::default() };
        let found = Contents::of(&model, Some(&graph));
        let mut names: Vec<&str> = found.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((names, found.nodes.len()), (vec!["a", "b", "c", "d"], 3));
    }
}
