//! Splices what the passes changed into the model.

use std::collections::{HashMap, HashSet};

use onnx_file::proto::tensor_shape_proto::{Dimension, dimension};
use onnx_file::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, type_proto,
};

use super::extract::Extracted;
use super::result::{Form, OptimizeError, Rewrite};
use crate::export;
use crate::graph::{Conv, Dim, Graph, Node, Op, Origin, ValueId};
use crate::import::uses;
use crate::passes::{self, PassRun};
use crate::weight::{BytesError, Rounding, Weight, materialize};

/// What became of the model's nodes.
pub(super) struct Changes {
    pub(super) rewritten: Vec<Rewrite>,
    /// Positions of the nodes that are gone or not as they were.
    pub(super) touched: HashSet<usize>,
}

/// Replaces the nodes of `model` that `lowered` has changed, adds those that it has added, and gives both their weights;
/// `runs` and `path` are for messages. Below IR 4 every initializer is an input as well.
pub(super) fn splice(
    model: &mut GraphProto,
    extracted: &mut Extracted,
    lowered: &Graph,
    runs: &[PassRun],
    path: &str,
    ir_version: i64,
) -> Result<Changes, OptimizeError> {
    let now: HashMap<usize, &Node> = lowered.nodes.iter().filter_map(|node| Some((position(node)?, node))).collect();
    let before: Vec<Node> = extracted.graph.nodes.clone();
    let mut rewritten = Vec::new();
    let mut changed = HashSet::new();
    let mut gone = HashSet::new();
    for old in &before {
        let Some(at) = position(old) else { continue };
        let to = match now.get(&at) {
            None => {
                gone.insert(at);
                Form::Folded
            }
            Some(new) if *new != old => {
                changed.insert(at);
                // A convolution that folds a normalisation makes what that one made.
                form(lowered, new, &model.node[at], new.output != old.output)
            }
            Some(_) => continue,
        };
        rewritten.push(Rewrite {
            node: old.name.clone(),
            from: form(&extracted.graph, old, &model.node[at], false),
            to,
        });
    }
    let mut splicer = Splicer { names: Names::of(model), values: HashMap::new(), lowered, runs, path };
    let parameters = parameters(model, &changed, &gone);
    let kept = model.initializer.len();
    // Nodes that passes added stand in `lowered` before the node that they were added for, and so they do in the model.
    let mut added: HashMap<usize, Vec<NodeProto>> = HashMap::new();
    let mut pending = Vec::new();
    for node in &lowered.nodes {
        let Some(at) = position(node) else {
            pending.push(splicer.added(node, extracted)?);
            continue;
        };
        if changed.contains(&at) {
            splicer.changed(&mut model.node[at], node, extracted, &mut model.initializer)?;
        }
        added.insert(at, std::mem::take(&mut pending));
    }
    // Names of what the nodes that compute constants make: positions move.
    let makes = |&at: &usize| model.node[at].output.first().cloned();
    let constant: HashSet<String> = extracted.constant.iter().filter_map(makes).collect();
    let nodes = std::mem::take(&mut model.node).into_iter().enumerate();
    for (at, node) in nodes.filter(|(at, _)| !gone.contains(at)) {
        model.node.extend(added.remove(&at).unwrap_or_default());
        model.node.push(node);
    }
    model.node.extend(pending);
    if ir_version < 4 {
        model.input.extend(model.initializer[kept..].iter().map(declared));
    }
    drop_unused(model, parameters, &constant);
    changed.extend(gone);
    Ok(Changes { rewritten, touched: changed })
}

/// The position in the model of a node that comes from it.
fn position(node: &Node) -> Option<usize> {
    if let Origin::Model(position) = node.origin { Some(position) } else { None }
}

/// What a node computes.
fn form(graph: &Graph, node: &Node, proto: &NodeProto, folded: bool) -> Form {
    let inner = node.inputs.get(1).and_then(|&id| graph.value(id).shape.get(1)).and_then(Dim::fixed);
    match (node.op, inner) {
        (Op::Conv(Conv { group, stride, .. }), Some(channels)) => {
            Form::Conv { groups: group, channels, stride, folded }
        }
        _ => Form::Other(proto.op_type.clone()),
    }
}

/// Turns nodes of the lowered graph into nodes of the model.
struct Splicer<'a> {
    names: Names,
    /// Names of the values that the model did not have.
    values: HashMap<ValueId, String>,
    lowered: &'a Graph,
    runs: &'a [PassRun],
    path: &'a str,
}

impl Splicer<'_> {
    /// A node that a pass added. Its operands are the model's own or made by nodes added before it.
    fn added(&mut self, node: &Node, extracted: &Extracted) -> Result<NodeProto, OptimizeError> {
        let output = self.names.fresh("", &node.name);
        let input = |&id: &ValueId| extracted.name(id).or(self.values.get(&id).map(String::as_str)).map(str::to_owned);
        let proto = NodeProto {
            op_type: node.op.name().into(),
            input: node.inputs.iter().filter_map(input).collect(),
            output: vec![output.clone()],
            attribute: export::attributes(self.lowered, node),
            name: node.name.clone(),
            ..Default::default()
        };
        self.values.insert(node.output, output);
        Ok(proto)
    }

    /// Makes the model's node `old` compute what `new` does; its new weights are appended to `initializers`.
    fn changed(
        &mut self,
        old: &mut NodeProto,
        new: &Node,
        extracted: &mut Extracted,
        initializers: &mut Vec<TensorProto>,
    ) -> Result<(), OptimizeError> {
        let mut inputs = Vec::with_capacity(new.inputs.len());
        for (input, id) in new.inputs.iter().enumerate() {
            if let Some(name) = extracted.name(*id).or(self.values.get(id).map(String::as_str)) {
                inputs.push(name.to_owned());
                continue;
            }
            let before = old.input.get(input).map_or("", String::as_str);
            let name = self.names.fresh(before, &format!("{}.{input}", new.name));
            initializers.push(self.weight(*id, &name, &new.name, extracted)?);
            self.values.insert(*id, name.clone());
            inputs.push(name);
        }
        old.input = inputs;
        old.output = vec![extracted.name(new.output).unwrap_or_default().to_owned()];
        if let Op::Conv(conv) = new.op {
            set(old, "group", |attribute| attribute.i = conv.group as i64, AttributeType::Int);
            let strides = conv.stride.map(|stride| stride as i64);
            set(old, "strides", |attribute| attribute.ints = strides.to_vec(), AttributeType::Ints);
        }
        Ok(())
    }

    /// The bytes of a new weight of the node `node`.
    fn weight(
        &self,
        id: ValueId,
        name: &str,
        node: &str,
        extracted: &mut Extracted,
    ) -> Result<TensorProto, OptimizeError> {
        let value = self.lowered.value(id);
        let empty = Weight::stored(name, &[]);
        let weight = value.weight.as_ref().unwrap_or(&empty);
        let bytes = materialize(name, weight, value.element, &mut extracted.weights, &mut Rounding::default());
        let (path, tensor, node) = (self.path.to_owned(), name.to_owned(), node.to_owned());
        let bytes = bytes.map_err(|error| match error {
            BytesError::Read(source) => OptimizeError::Tensor { path, source },
            BytesError::NotFinite { index } => {
                OptimizeError::NotFinite { path, name: tensor, node, index, passes: passes::names(self.runs) }
            }
            BytesError::Overflow { index, value } => OptimizeError::Overflow { path, name: tensor, node, index, value },
        })?;
        Ok(TensorProto {
            name: name.into(),
            data_type: value.element.to_proto(),
            dims: weight.shape().iter().map(|&n| n as i64).collect(),
            raw_data: bytes.as_ref().to_vec().into(),
            ..Default::default()
        })
    }
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

/// What the nodes at these positions take beside their data.
fn parameters(model: &GraphProto, changed: &HashSet<usize>, gone: &HashSet<usize>) -> HashSet<String> {
    let nodes = changed.iter().chain(gone).filter_map(|&at| model.node.get(at));
    nodes.flat_map(|node| &node.input).cloned().collect()
}

/// Removes those of `parameters` that nothing uses any more, with the nodes that computed them of other constants, and
/// what was said of values that are gone. `constant` names what such nodes make.
fn drop_unused(model: &mut GraphProto, mut parameters: HashSet<String>, constant: &HashSet<String>) {
    let mut used: HashMap<String, usize> = HashMap::new();
    let mut count = |name: &str| *used.entry(name.to_owned()).or_default() += 1;
    model.output.iter().for_each(|output| count(&output.name));
    model.node.iter().for_each(|node| uses(node, &mut count));
    // From the end: a node that goes frees what the nodes before it made.
    let mut keeps = vec![true; model.node.len()];
    for (node, keeps) in model.node.iter().zip(&mut keeps).rev() {
        let [output] = &node.output[..] else { continue };
        if constant.contains(output) && parameters.contains(output) && !used.contains_key(output) {
            *keeps = false;
            uses(node, &mut |name| {
                if let Some(uses) = used.get_mut(name) {
                    *uses -= 1;
                    if *uses == 0 {
                        used.remove(name);
                    }
                }
                parameters.insert(name.to_owned());
            });
        }
    }
    let mut keeps = keeps.into_iter();
    model.node.retain(|_| keeps.next().unwrap_or(true));
    let unused = |name: &str| parameters.contains(name) && !used.contains_key(name);
    let dropped: HashSet<String> =
        model.initializer.iter().map(|tensor| tensor.name.clone()).filter(|name| unused(name)).collect();
    model.initializer.retain(|tensor| !dropped.contains(&tensor.name));
    // Without its initializer it would have to be fed.
    model.input.retain(|input| !dropped.contains(&input.name));
    let mut made: HashSet<&str> = model.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    made.extend(model.input.iter().map(|input| input.name.as_str()));
    made.extend(model.initializer.iter().map(|tensor| tensor.name.as_str()));
    model.value_info.retain(|value| made.contains(value.name.as_str()));
}

/// An initializer as an input.
fn declared(tensor: &TensorProto) -> ValueInfoProto {
    let value = |&dim: &i64| Dimension { value: Some(dimension::Value::DimValue(dim)), ..Default::default() };
    let shape = TensorShapeProto { dim: tensor.dims.iter().map(value).collect() };
    let tensor_type = type_proto::Tensor { elem_type: tensor.data_type, shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor_type)), ..Default::default() };
    ValueInfoProto { name: tensor.name.clone(), r#type: Some(r#type), ..Default::default() }
}
