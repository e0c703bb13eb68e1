//! Names of values in a model, inner graphs included.

use std::collections::HashSet;

use onnx_file::proto::{GraphProto, NodeProto};

/// Every name of a value or node that a model has.
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Those of `graph` and the graphs in it.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut names = Self(HashSet::new());
        names.add(graph);
        names
    }

    fn add(&mut self, graph: &GraphProto) {
        let values = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
        self.0.extend(values.map(|value| value.name.clone()));
        self.0.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
        let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
        self.0.extend(sparse.map(|values| values.name.clone()));
        for node in &graph.node {
            self.0.extend(node.input.iter().chain(&node.output).cloned());
            self.0.insert(node.name.clone());
            inner(node).for_each(|graph| self.add(graph));
        }
    }

    /// `stem`, or where that is taken, `stem` with a number behind it.
    pub(super) fn fresh(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{stem}{number}");
            number += 1;
        }
        name
    }
}

fn inner(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Gives the value `from` the name `to`, wherever it is used; a value that has that name makes way.
pub(super) fn rename(graph: &mut GraphProto, names: &mut Names, from: &str, to: &str) {
    if from == to {
        return;
    }
    if is_value(graph, to) {
        let other = names.fresh(&format!("{to}.inner"));
        replace(graph, to, &other);
    }
    names.0.insert(to.to_owned());
    replace(graph, from, to);
}

fn is_value(graph: &GraphProto, name: &str) -> bool {
    let named = graph.input.iter().chain(&graph.output).any(|value| value.name == name);
    let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
    named
        || graph.initializer.iter().chain(sparse).any(|tensor| tensor.name == name)
        || graph.node.iter().any(|node| {
            node.input.iter().chain(&node.output).any(|value| value == name)
                || inner(node).any(|graph| is_value(graph, name))
        })
}

/// Replaces the name of a value. Names of values are unique in a model, inner graphs included, so that none is hidden.
fn replace(graph: &mut GraphProto, from: &str, to: &str) {
    let set = |name: &mut String| {
        if name == from {
            to.clone_into(name);
        }
    };
    let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    values.for_each(|value| set(&mut value.name));
    graph.initializer.iter_mut().for_each(|tensor| set(&mut tensor.name));
    let sparse = graph.sparse_initializer.iter_mut().filter_map(|tensor| tensor.values.as_mut());
    sparse.for_each(|values| set(&mut values.name));
    graph.quantization_annotation.iter_mut().for_each(|annotation| set(&mut annotation.tensor_name));
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(set);
        let attributes = node.attribute.iter_mut();
        let graphs = attributes.flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs));
        graphs.for_each(|graph| replace(graph, from, to));
    }
}

/// Lets `node`, and the graphs in it, take `to` where they take `from`.
pub(super) fn rename_uses(node: &mut NodeProto, from: &str, to: &str) {
    node.input.iter_mut().filter(|input| *input == from).for_each(|input| to.clone_into(input));
    let graphs = node.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs));
    for graph in graphs {
        graph.node.iter_mut().for_each(|node| rename_uses(node, from, to));
        graph.output.iter_mut().filter(|output| output.name == from).for_each(|output| to.clone_into(&mut output.name));
    }
}
