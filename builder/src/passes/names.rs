//! Names of nodes and values: new ones that nobody has, and those that a request asks for.

use std::collections::HashSet;

use crate::graph::{Graph, Node};
use crate::suggest;

/// A node to be kept that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--keep-f32: the graph has no node '{name}'{}", suggest::question(close))]
pub struct UnknownNode {
    /// The name asked for.
    pub name: String,
    /// The nearest names there are.
    pub close: Vec<String>,
}

/// Every name that a new node or value must not take.
pub(super) struct Names(HashSet<String>);

impl Names {
    /// The names in use by `graph` and by `nodes`, which were taken from it.
    pub(super) fn of(graph: &Graph, nodes: &[Node]) -> Self {
        let used = nodes.iter().flat_map(|node| node.inputs.iter().chain([&node.output])).chain(&graph.inputs);
        let values = used.map(|&id| graph.value(id).name.clone());
        Self(values.chain(nodes.iter().map(|node| node.name.clone())).collect())
    }

    /// `stem`, or `stem` with a number behind it.
    pub(super) fn fresh(&mut self, stem: &str) -> String {
        let mut name = stem.to_string();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{stem}{number}");
            number += 1;
        }
        name
    }
}

/// Refuses nodes to be kept in f32 that `graph` has not.
pub(super) fn check_kept(graph: &Graph, kept: &[String]) -> Result<(), UnknownNode> {
    let names: HashSet<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    match kept.iter().find(|name| !names.contains(name.as_str())) {
        Some(name) => {
            let close = suggest::nearest(name, graph.nodes.iter().map(|node| node.name.as_str()));
            Err(UnknownNode { name: name.clone(), close })
        }
        None => Ok(()),
    }
}
