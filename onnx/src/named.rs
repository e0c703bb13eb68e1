//! The files that a model names, wherever in it: data of tensors, and what a provider has compiled.
//!
//! Who executes the model opens them, in subgraphs and functions as well, so all of them are held to the rule of
//! [`beside`] before the model is given away.

use std::path::{Path, PathBuf};

use crate::beside::{self, BesideError};
use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataLocation};

/// The operator that holds or names a graph compiled for one provider.
const COMPILED: &str = "EPContext";

/// A file that a model names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'m> {
    /// Who names it.
    pub by: Namer<'m>,
    /// What it is called, relative to the model's folder.
    pub location: &'m str,
}

/// What names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namer<'m> {
    /// A tensor of this name, whose data lies there.
    Tensor(&'m str),
    /// A node of this name, whose compiled graph lies there.
    Compiled(&'m str),
}

impl std::fmt::Display for Namer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Namer::Tensor(name) => write!(f, "the external data of tensor '{name}'"),
            Namer::Compiled(name) => write!(f, "the compiled graph of node '{name}' ({COMPILED})"),
        }
    }
}

/// Why a model that names a file is refused.
#[derive(Debug, thiserror::Error)]
#[error("{by} {source}")]
pub struct NamedError {
    /// What names it.
    pub by: String,
    /// Why it may not be read, or cannot be.
    pub source: BesideError,
}

/// Every file that `model` names, with its graph given apart as in an [`Outline`](crate::outline::Outline), in the
/// order of the file.
pub fn files<'m>(model: &'m ModelProto, graph: &'m GraphProto) -> Vec<Named<'m>> {
    let mut found = Vec::new();
    // A stack instead of recursion: depth is the file's choice.
    let mut graphs: Vec<&GraphProto> = model.graph.iter().chain([graph]).collect();
    let mut attributes: Vec<&AttributeProto> = Vec::new();
    for function in &model.functions {
        attributes.extend(&function.attribute_proto);
        function.node.iter().for_each(|node| of_node(node, &mut attributes, &mut found));
    }
    loop {
        while let Some(attribute) = attributes.pop() {
            of_tensors(attribute.t.iter().chain(&attribute.tensors), &mut found);
            let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors);
            of_tensors(sparse.flat_map(|sparse| sparse.values.iter().chain(&sparse.indices)), &mut found);
            graphs.extend(attribute.g.iter().chain(&attribute.graphs));
        }
        let Some(graph) = graphs.pop() else { break };
        let sparse = graph.sparse_initializer.iter().flat_map(|sparse| sparse.values.iter().chain(&sparse.indices));
        of_tensors(graph.initializer.iter().chain(sparse), &mut found);
        graph.node.iter().for_each(|node| of_node(node, &mut attributes, &mut found));
    }
    found
}

fn of_tensors<'m>(tensors: impl Iterator<Item = &'m TensorProto>, found: &mut Vec<Named<'m>>) {
    for tensor in tensors.filter(|tensor| tensor.data_location == DataLocation::External as i32) {
        let locations = tensor.external_data.iter().filter(|entry| entry.key == "location");
        found.extend(locations.map(|entry| Named { by: Namer::Tensor(&tensor.name), location: &entry.value }));
    }
}

fn of_node<'m>(node: &'m NodeProto, attributes: &mut Vec<&'m AttributeProto>, found: &mut Vec<Named<'m>>) {
    attributes.extend(&node.attribute);
    if node.op_type != COMPILED {
        return;
    }
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    // Embedded unless it says otherwise, as `com.microsoft.EPContext` is specified.
    let is_embedded = attribute("embed_mode").is_none_or(|mode| mode.i == 1);
    let context = attribute("ep_cache_context").filter(|_| !is_embedded);
    // TensorRT's engines without weights say which model to take them from.
    for text in context.into_iter().chain(attribute("onnx_model_filename")) {
        // What is no text is no name that could be resolved; the refusal of the empty one says so.
        let location = std::str::from_utf8(&text.s).unwrap_or_default();
        found.push(Named { by: Namer::Compiled(&node.name), location });
    }
}

/// The real paths of all files that the model at `path` names, each once, if it may name them and they can be found.
///
/// # Errors
/// [`NamedError`] for the first that it may not name, or that is not there.
pub fn resolve(path: &Path, model: &ModelProto, graph: &GraphProto) -> Result<Vec<PathBuf>, NamedError> {
    let (mut real, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for named in files(model, graph) {
        // Thousands of tensors share one file.
        if !seen.insert(named.location) {
            continue;
        }
        let file =
            beside::resolve(path, named.location).map_err(|source| NamedError { by: named.by.to_string(), source })?;
        if !real.contains(&file) {
            real.push(file);
        }
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outline::Outline;
    use crate::proto::{FunctionProto, SparseTensorProto, StringStringEntryProto};
    use prost::Message as _;

    fn tensor(location: &str) -> TensorProto {
        let entry = StringStringEntryProto { key: "location".into(), value: location.into() };
        let (name, data_location) = (format!("of {location}"), DataLocation::External as i32);
        TensorProto { name, data_location, external_data: vec![entry], ..Default::default() }
    }

    fn attribute(name: &str) -> AttributeProto {
        AttributeProto { name: name.into(), ..Default::default() }
    }

    fn node(op: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto { op_type: op.into(), name: "n".into(), attribute, ..Default::default() }
    }

    fn compiled(mode: Option<i64>, file: &str) -> NodeProto {
        let mode = mode.map(|i| AttributeProto { i, ..attribute("embed_mode") });
        let file = AttributeProto { s: file.as_bytes().to_vec().into(), ..attribute("ep_cache_context") };
        node(COMPILED, mode.into_iter().chain([file]).collect())
    }

    /// A file named in every place that there is.
    fn everywhere() -> ModelProto {
        let sparse = |values| SparseTensorProto { values: Some(tensor(values)), ..Default::default() };
        let inner = GraphProto {
            initializer: vec![tensor("subgraph")],
            node: vec![compiled(Some(0), "subgraph.bin")],
            ..Default::default()
        };
        let attributes = vec![
            AttributeProto { t: Some(tensor("constant")), ..attribute("value") },
            AttributeProto { sparse_tensor: Some(sparse("sparse-constant")), ..attribute("sparse_value") },
            AttributeProto { g: Some(inner), ..attribute("body") },
        ];
        let refit = AttributeProto { s: b"refit.onnx".to_vec().into(), ..attribute("onnx_model_filename") };
        let function = FunctionProto {
            node: vec![compiled(Some(0), "function.bin")],
            attribute_proto: vec![AttributeProto { t: Some(tensor("default")), ..attribute("x") }],
            ..Default::default()
        };
        let graph = GraphProto {
            initializer: vec![tensor("weights")],
            sparse_initializer: vec![sparse("sparse")],
            node: vec![
                node("Loop", attributes),
                compiled(Some(1), "embedded, no file"),
                compiled(None, "embedded, no file"),
                node(COMPILED, vec![refit]),
            ],
            ..Default::default()
        };
        ModelProto { graph: Some(graph), functions: vec![function], ..Default::default() }
    }

    #[test]
    fn a_file_is_found_wherever_it_is_named_and_in_the_outline_too() {
        let model = everywhere();
        let nothing = GraphProto::default();
        let mut found: Vec<&str> = files(&model, &nothing).iter().map(|named| named.location).collect();
        found.sort_unstable();
        let expected = [
            "constant",
            "default",
            "function.bin",
            "refit.onnx",
            "sparse",
            "sparse-constant",
            "subgraph",
            "subgraph.bin",
            "weights",
        ];
        assert_eq!(found, expected);
        let encoded = model.encode_to_vec();
        let bytes = encoded.len() as u64;
        let outline = Outline::of(Path::new("m"), std::io::Cursor::new(encoded), bytes).unwrap();
        let mut kept: Vec<&str> = files(&outline.model, &outline.graph).iter().map(|named| named.location).collect();
        kept.sort_unstable();
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_lies_outside_is_refused_by_whomever_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("models")).unwrap();
        for name in ["models/m.onnx", "models/w", "secret"] {
            std::fs::write(at(name), "x").unwrap();
        }
        let resolve = |graph: GraphProto| resolve(&at("models/m.onnx"), &ModelProto::default(), &graph);
        let good = GraphProto {
            initializer: vec![tensor("w"), tensor("./w")],
            node: vec![compiled(Some(0), "w")],
            ..Default::default()
        };
        assert_eq!(resolve(good).unwrap(), [at("models/w").canonicalize().unwrap()]);
        let outside = [
            GraphProto { initializer: vec![tensor("../secret")], ..Default::default() },
            GraphProto { node: vec![compiled(Some(0), "../secret")], ..Default::default() },
        ];
        for (graph, by) in outside.into_iter().zip(["tensor 'of ../secret'", "node 'n' (EPContext)"]) {
            let error = resolve(graph).unwrap_err();
            assert!(matches!(error.source, BesideError::Outside { .. }) && error.to_string().contains(by), "{error}");
        }
        let absent = resolve(GraphProto { node: vec![compiled(Some(0), "none")], ..Default::default() });
        assert!(matches!(absent, Err(NamedError { source: BesideError::Io { .. }, .. })));
    }
}
