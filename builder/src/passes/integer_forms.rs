//! Forms of quantized convolutions that have faster integer kernels: grouped ones as several of one group (the paper's
//! form (b) on merged groups), and an image of three channels as one of four.
//!
//! Both work on integers that are settled: weights and biases are sliced or filled up with zeros after they were rounded,
//! values are sliced, joined and filled up as integers of unchanged parameters. So the result is the same, bit for bit,
//! whatever the form. A channel that is filled up holds the zero point, which means 0, and its weights are 0.
//!
//! Declined where a convolution is not between integers, or has more groups than asked for.

use std::collections::HashMap;

use onnx_file::element::ElementType::I64;

use super::names::Names;
use super::report::{Reason, Report};
use crate::graph::{Conv, Graph, Node, Op, Origin, Pass, Value, ValueId, fixed};
use crate::shape;
use crate::weight::Weight;

/// A convolution between integers.
struct Island {
    conv: Conv,
    /// Its node.
    at: usize,
    /// The DequantizeLinear nodes of its operands: data, weight, and bias where it has one.
    operands: Vec<usize>,
    /// What follows it up to its QuantizeLinear: nothing, or a Relu or Clip; the QuantizeLinear is last.
    tail: Vec<usize>,
}

/// Splits each quantized convolution of 2 to `at_most` groups into as many of one group.
pub fn ungroup(graph: &mut Graph, at_most: usize) -> Report {
    let mut report = Report::default();
    let mut islands = HashMap::new();
    let users = users(graph);
    let producers = graph.producers();
    for at in 0..graph.nodes.len() {
        let Op::Conv(conv) = graph.nodes[at].op else { continue };
        if conv.group < 2 {
            continue;
        }
        match island(graph, at, conv, &producers, &users) {
            _ if conv.group > at_most => report.decline(&graph.nodes[at], Reason::ManyGroups),
            Some(island) => drop(islands.insert(at, island)),
            None => report.decline(&graph.nodes[at], Reason::NotBetweenIntegers),
        }
    }
    let mut builder = Builder::of(graph, Pass::Ungroup);
    let gone: HashMap<usize, usize> =
        islands.values().flat_map(|island| island.tail.iter().map(|&tail| (tail, island.at))).collect();
    for (index, node) in builder.old.clone().into_iter().enumerate() {
        match (islands.get(&index), gone.contains_key(&index)) {
            (Some(island), _) => {
                builder.split(island);
                report.rewrites += 1;
            }
            (None, false) => builder.graph.nodes.push(node),
            (None, true) => {}
        }
    }
    drop_unused(graph);
    report
}

/// Gives each quantized convolution of one group that reads an input of the graph channels of zeros, up to a multiple of
/// `multiple`.
pub fn pad_image(graph: &mut Graph, multiple: usize) -> Report {
    let mut report = Report::default();
    let (users, producers) = (users(graph), graph.producers());
    let mut padded = HashMap::new();
    for at in 0..graph.nodes.len() {
        let Op::Conv(conv) = graph.nodes[at].op else { continue };
        let Some(island) = island(graph, at, conv, &producers, &users) else { continue };
        let quantize = producers[graph.nodes[island.operands[0]].inputs[0].0 as usize];
        let reads_input = quantize.is_some_and(|q| graph.inputs.contains(&graph.nodes[q].inputs[0]));
        if reads_input {
            padded.insert(at, island);
        }
    }
    let mut builder = Builder::of(graph, Pass::PadImage);
    for (index, node) in builder.old.clone().into_iter().enumerate() {
        if let Some(island) = padded.get(&index) {
            report.rewrites += usize::from(builder.pad(island, multiple));
        } else {
            builder.graph.nodes.push(node);
        }
    }
    drop_unused(graph);
    report
}

/// The nodes that take each value.
fn users(graph: &Graph) -> HashMap<ValueId, Vec<usize>> {
    let mut users: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|id| users.entry(*id).or_default().push(index));
    }
    users
}

/// The convolution at `at` with what surrounds it, where all of that is integers.
fn island(
    graph: &Graph,
    at: usize,
    conv: Conv,
    producers: &[Option<usize>],
    users: &HashMap<ValueId, Vec<usize>>,
) -> Option<Island> {
    let dequantize = |id: &ValueId| {
        let producer = producers[id.0 as usize]?;
        matches!(graph.nodes[producer].op, Op::DequantizeLinear { .. }).then_some(producer)
    };
    let operands: Vec<usize> = graph.nodes[at].inputs.iter().map(dequantize).collect::<Option<_>>()?;
    let mut tail = Vec::new();
    let mut output = graph.nodes[at].output;
    loop {
        let [next] = users.get(&output)?[..] else { return None };
        if graph.outputs.contains(&output) {
            return None;
        }
        tail.push(next);
        output = graph.nodes[next].output;
        match graph.nodes[next].op {
            Op::Relu | Op::Clip if tail.len() == 1 => {}
            Op::QuantizeLinear { .. } => return Some(Island { conv, at, operands, tail }),
            _ => return None,
        }
    }
}

/// Rebuilds the list of nodes.
struct Builder<'a> {
    old: Vec<Node>,
    graph: &'a mut Graph,
    names: Names,
    pass: Pass,
}

impl<'a> Builder<'a> {
    fn of(graph: &'a mut Graph, pass: Pass) -> Self {
        let old = std::mem::take(&mut graph.nodes);
        let names = Names::of(graph, &old);
        Self { old, graph, names, pass }
    }

    /// The convolution's parts side by side, joined as integers under the old name.
    fn split(&mut self, island: &Island) {
        let Island { conv, at, operands, tail } = island;
        let (node, data) = (self.old[*at].clone(), self.old[operands[0]].clone());
        let Some(last) = tail.last().map(|&last| self.old[last].clone()) else { return };
        let groups = conv.group;
        let outputs = self.extent(self.old[operands[1]].inputs[0], 0) / groups;
        let inputs = self.extent(self.old[operands[1]].inputs[0], 1);
        let mut parts = Vec::new();
        for group in 0..groups {
            let name = |what: &str| format!("{}.{what}{group}", node.name);
            let start = group * inputs;
            let places =
                [start, start + inputs, 1].map(|place| Weight::Numbers { shape: vec![1], values: vec![place as f64] });
            let mut taken = vec![data.inputs[0]];
            taken.extend(places.into_iter().zip(["starts", "ends", "axes"]).map(|(place, what)| {
                let place = Value { name: name(what), element: I64, shape: fixed(&[1]), weight: Some(place) };
                self.constant(place)
            }));
            let integers = self.node(&name("slice"), Op::Slice { start, len: inputs }, taken);
            let mut made = vec![self.like(&data, &name("data"), &[(0, integers)])];
            for &operand in &operands[1..] {
                let operand = self.old[operand].clone();
                let cut = |builder: &mut Self, (input, &id): (usize, &ValueId)| {
                    (input, builder.sliced(id, group * outputs, outputs, group))
                };
                let inputs: Vec<(usize, ValueId)> = operand.inputs.iter().enumerate().map(|i| cut(self, i)).collect();
                made.push(self.like(&operand, &format!("{}.{group}", operand.name), &inputs));
            }
            let mut value = self.node(&name("group"), Op::Conv(Conv { group: 1, ..*conv }), made);
            for &next in tail {
                let next = self.old[next].clone();
                value = self.like(&next, &format!("{}.{group}", next.name), &[(0, value)]);
            }
            parts.push(value);
        }
        // It makes what the QuantizeLinear made, and stands for the convolution.
        let Node { name, origin, .. } = node;
        self.graph.nodes.push(Node { name, op: Op::Concat, inputs: parts, output: last.output, origin });
    }

    /// The convolution with channels behind those of its data and its weight; false where it has enough.
    fn pad(&mut self, island: &Island, multiple: usize) -> bool {
        let mut node = self.old[island.at].clone();
        let (data, weight) = (self.old[island.operands[0]].clone(), self.old[island.operands[1]].clone());
        let channels = self.extent(weight.inputs[0], 1);
        let more = channels.next_multiple_of(multiple) - channels;
        if more == 0 || island.conv.group != 1 {
            self.graph.nodes.push(node);
            return false;
        }
        let mut pads = vec![0.0; 8];
        pads[5] = more as f64;
        let pads = Weight::Numbers { shape: vec![8], values: pads };
        let name = |what: &str| format!("{}.{what}", node.name);
        let pads = Value { name: name("pads"), element: I64, shape: fixed(&[8]), weight: Some(pads) };
        let pads = self.constant(pads);
        let padded = self.node(&name("pad"), Op::Pad { channels: more }, vec![data.inputs[0], pads, data.inputs[2]]);
        let real = self.like(&data, &name("padded"), &[(0, padded)]);
        let mut value = self.graph.value(weight.inputs[0]).clone();
        value.weight = value.weight.map(|of| Weight::Padded { of: Box::new(of), channels: channels + more });
        value.shape = value.weight.as_ref().map(|weight| fixed(&weight.shape())).unwrap_or_default();
        let padded = self.constant(value);
        let weight = self.like(&weight, &name("weight.padded"), &[(0, padded)]);
        (node.inputs[0], node.inputs[1]) = (real, weight);
        self.graph.nodes.push(node);
        true
    }

    fn extent(&self, id: ValueId, axis: usize) -> usize {
        self.graph.value(id).shape.get(axis).and_then(crate::graph::Dim::fixed).unwrap_or(1)
    }

    /// `len` indices of a constant along its first dimension, under the number of the part.
    fn sliced(&mut self, id: ValueId, start: usize, len: usize, part: usize) -> ValueId {
        let mut value = self.graph.value(id).clone();
        if value.shape.is_empty() {
            return id;
        }
        value.weight = value.weight.map(|of| of.slice(0, start, len));
        value.shape = value.weight.as_ref().map(|weight| fixed(&weight.shape())).unwrap_or_default();
        value.name = format!("{}.{part}", value.name);
        self.constant(value)
    }

    fn constant(&mut self, value: Value) -> ValueId {
        let name = self.names.fresh(&value.name);
        self.graph.add_value(Value { name, ..value })
    }

    /// Another node like `node`, with some of its inputs replaced.
    fn like(&mut self, node: &Node, name: &str, replaced: &[(usize, ValueId)]) -> ValueId {
        let mut inputs = node.inputs.clone();
        replaced.iter().for_each(|&(input, id)| inputs[input] = id);
        self.node(name, node.op, inputs)
    }

    fn node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>) -> ValueId {
        let name = self.names.fresh(name);
        let operands: Vec<&Value> = inputs.iter().map(|&id| self.graph.value(id)).collect();
        // Parts of what fits fit; validation would say otherwise.
        let shape = shape::infer(&name, &op, &operands).unwrap_or_default();
        let element = shape::element(&op, &operands);
        let output = self.graph.add_value(Value { name: name.clone(), element, shape, weight: None });
        self.graph.nodes.push(Node { name, op, inputs, output, origin: Origin::Added(self.pass) });
        output
    }
}

/// Removes the nodes of operands that were replaced.
fn drop_unused(graph: &mut Graph) {
    loop {
        let counts = graph.use_counts();
        let dead: Vec<bool> = graph.nodes.iter().map(|node| counts[node.output.0 as usize] == 0).collect();
        if !dead.contains(&true) {
            return;
        }
        graph.remove_nodes(&dead);
    }
}

#[cfg(test)]
#[path = "integer_forms/tests.rs"]
mod tests;
