//! Splices what the passes changed into the model.

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::tensor_shape_proto::{Dimension, dimension};
use onnx_file::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, type_proto,
};

use super::extract::Extracted;
use super::result::{Form, OptimizeError, Rewrite};
use crate::export;
use crate::graph::{Conv, Dim, Graph, Node, Op, Origin, Pass, ValueId};
use crate::import::uses;
use crate::passes::{self, PassRun};
use crate::weight::{BytesError, Rounding, Weight, largest_pair, materialize};

/// What became of the model's nodes.
pub(super) struct Changes {
    pub(super) rewritten: Vec<Rewrite>,
    /// Positions of the nodes that are gone or not as they were.
    pub(super) touched: HashSet<usize>,
    /// The largest sum of two weights of one sign that a kernel may add in 16 bits.
    pub(super) largest_pair: i32,
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
    let before: HashMap<usize, Node> =
        extracted.graph.nodes.iter().filter_map(|node| Some((position(node)?, node.clone()))).collect();
    let names = Names::of(model);
    let mut splicer =
        Splicer { names, values: HashMap::new(), initializers: Vec::new(), largest_pair: 0, lowered, runs, path };
    splicer.rename_outputs(extracted);
    let producers = lowered.producers();
    let mut rewritten = Vec::new();
    let mut changed = HashSet::new();
    let mut gone = HashSet::new();
    for old in &extracted.graph.nodes {
        let Some(at) = position(old) else { continue };
        let proto = &model.node[at];
        let from = form(&extracted.graph, old, proto, false);
        let to = match now.get(&at) {
            None => {
                gone.insert(at);
                Form::Folded
            }
            Some(new) if *new != old || splicer.values.contains_key(&new.output) => {
                changed.insert(at);
                // A convolution that folds a normalisation makes what that one made.
                let folded = || form(lowered, new, proto, new.output != old.output);
                integers(lowered, new, old, &producers).unwrap_or_else(folded)
            }
            Some(_) => continue,
        };
        // A node may change for the names of what it takes and makes alone.
        if from != to {
            rewritten.push(Rewrite { node: old.name.clone(), from, to });
        }
    }
    let parameters = parameters(model, &changed, &gone);
    // Names of what the nodes that compute constants make: positions move.
    let makes = |&at: &usize| model.node[at].output.first().cloned();
    let constant: HashSet<String> = extracted.constant.iter().filter_map(makes).collect();
    // Nodes that passes added stand before the first that takes what they make.
    let mut added: HashMap<String, &Node> = HashMap::new();
    for node in lowered.nodes.iter().filter(|node| position(node).is_none()) {
        added.insert(splicer.value(node.output, &node.name, extracted), node);
    }
    let mut nodes = Vec::with_capacity(model.node.len());
    for (at, mut node) in std::mem::take(&mut model.node).into_iter().enumerate() {
        if gone.contains(&at) {
            continue;
        }
        if let (true, Some(old), Some(new)) = (changed.contains(&at), before.get(&at), now.get(&at)) {
            splicer.changed(&mut node, old, new, extracted)?;
        }
        let mut taken = Vec::new();
        uses(&node, &mut |name| taken.push(name.to_owned()));
        splicer.place(&taken, &mut added, &mut nodes, extracted)?;
        nodes.push(node);
    }
    let outputs: Vec<String> = model.output.iter().map(|output| output.name.clone()).collect();
    splicer.place(&outputs, &mut added, &mut nodes, extracted)?;
    model.node = nodes;
    if ir_version < 4 {
        model.input.extend(splicer.initializers.iter().map(declared));
    }
    model.initializer.append(&mut splicer.initializers);
    let largest_pair = splicer.largest_pair;
    drop_unused(model, parameters, &constant);
    changed.extend(gone);
    Ok(Changes { rewritten, touched: changed, largest_pair })
}

/// What a node is that computes between integers.
fn integers(lowered: &Graph, new: &Node, old: &Node, producers: &[Option<usize>]) -> Option<Form> {
    let quantized = |id: &ValueId| {
        let producer = producers[id.0 as usize].map(|at| lowered.nodes[at].origin);
        matches!(producer, Some(Origin::Added(Pass::Quantize | Pass::Ungroup | Pass::PadImage)))
    };
    // A convolution that stays f32 takes rounded values, and its own weights as they are.
    let f32_weights = || matches!(old.op, Op::Conv(_) | Op::Gemm) && new.inputs.get(1).is_some_and(|id| !quantized(id));
    (new.inputs.iter().any(quantized) && !f32_weights()).then(|| Form::Integers(old.op.name()))
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
    /// Names of the values that the model did not have, or that have another name there now.
    values: HashMap<ValueId, String>,
    initializers: Vec<TensorProto>,
    largest_pair: i32,
    lowered: &'a Graph,
    runs: &'a [PassRun],
    path: &'a str,
}

impl Splicer<'_> {
    /// Where a pass lets another value leave in the place of an old one, that one takes the name, since the rest of the
    /// model asks for it.
    fn rename_outputs(&mut self, extracted: &Extracted) {
        for (&old, &new) in extracted.graph.outputs.iter().zip(&self.lowered.outputs) {
            if let (true, Some(name)) = (old != new, extracted.name(old)) {
                let inner = self.names.fresh("", &format!("{name}.inner"));
                self.values.insert(old, inner);
                self.values.insert(new, name.to_owned());
            }
        }
    }

    /// The name in the model of a value; a new one like `otherwise` where it has none yet.
    fn value(&mut self, id: ValueId, otherwise: &str, extracted: &Extracted) -> String {
        if let Some(name) = self.values.get(&id).map(String::as_str).or(extracted.name(id)) {
            return name.to_owned();
        }
        let name = self.names.fresh("", otherwise);
        self.values.insert(id, name.clone());
        name
    }

    /// Puts what makes the values `taken`, as far as passes added it, behind `nodes`.
    fn place(
        &mut self,
        taken: &[String],
        added: &mut HashMap<String, &Node>,
        nodes: &mut Vec<NodeProto>,
        extracted: &mut Extracted,
    ) -> Result<(), OptimizeError> {
        for name in taken {
            let Some(node) = added.remove(name) else { continue };
            let proto = NodeProto {
                op_type: node.op.name().into(),
                input: self.inputs(node, &[], extracted)?,
                output: vec![name.clone()],
                attribute: export::attributes(self.lowered, node),
                name: node.name.clone(),
                ..Default::default()
            };
            self.place(&proto.input, added, nodes, extracted)?;
            nodes.push(proto);
        }
        Ok(())
    }

    /// Makes the model's node `proto`, which was extracted as `old`, compute what `new` does.
    fn changed(
        &mut self,
        proto: &mut NodeProto,
        old: &Node,
        new: &Node,
        extracted: &mut Extracted,
    ) -> Result<(), OptimizeError> {
        if proto.op_type != old.op.name() && new.op == old.op && new.inputs[1..] == old.inputs[1..] {
            // Another way to write what was extracted, such as a product for a normalisation: only what it takes is
            // another value now.
            let was = extracted.name(old.inputs[0]).unwrap_or_default().to_owned();
            let is = self.value(new.inputs[0], &new.name, extracted);
            proto.input.iter_mut().filter(|name| **name == was).for_each(|name| name.clone_from(&is));
            proto.output = vec![self.value(new.output, &new.name, extracted)];
            return Ok(());
        }
        let before = std::mem::take(&mut proto.input);
        proto.input = self.inputs(new, &before, extracted)?;
        proto.output = vec![self.value(new.output, &new.name, extracted)];
        if proto.op_type != new.op.name() {
            proto.op_type = new.op.name().into();
            proto.attribute = export::attributes(self.lowered, new);
        } else if let Op::Conv(conv) = new.op {
            set(proto, "group", |attribute| attribute.i = conv.group as i64, AttributeType::Int);
            let strides = conv.stride.map(|stride| stride as i64);
            set(proto, "strides", |attribute| attribute.ints = strides.to_vec(), AttributeType::Ints);
        }
        Ok(())
    }

    /// The names of what `node` takes; its new weights are called after the names in their places `before`.
    fn inputs(
        &mut self,
        node: &Node,
        before: &[String],
        extracted: &mut Extracted,
    ) -> Result<Vec<String>, OptimizeError> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (input, &id) in node.inputs.iter().enumerate() {
            let is_new = extracted.name(id).is_none() && !self.values.contains_key(&id);
            if is_new && self.lowered.value(id).weight.is_some() {
                let before = before.get(input).map_or("", String::as_str);
                let name = self.names.fresh(before, &format!("{}.{input}", node.name));
                let weight = self.weight(id, &name, &node.name, extracted)?;
                self.initializers.push(weight);
                self.values.insert(id, name);
            }
            inputs.push(self.value(id, &format!("{}.{input}", node.name), extracted));
        }
        Ok(inputs)
    }

    /// The bytes of a new weight of the node `node`.
    fn weight(
        &mut self,
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
        if value.element == ElementType::I8 {
            let pair = largest_pair(bytemuck::cast_slice(bytes.as_ref()), &weight.shape());
            self.largest_pair = self.largest_pair.max(pair);
        }
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
