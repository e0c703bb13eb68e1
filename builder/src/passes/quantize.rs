//! Arithmetic in 8-bit integers, written as QuantizeLinear and DequantizeLinear around the operators that have integer
//! kernels: runtimes fuse each such island, and the file still means something everywhere else.
//!
//! Every value that is an integer is rounded once, behind the operator that makes it, and everybody takes it from there:
//! a provider fuses an operator only where nobody else needs its result unrounded. A Relu or Clip behind a convolution or
//! a sum is part of it, as the quantization that follows makes it redundant. Operators that choose or move elements
//! (MaxPool, Flatten) keep the parameters of what they take, and providers then drop the pair around them.
//!
//! What has no rule stays in f32 between a DequantizeLinear and a QuantizeLinear, and is declined with the reason.
//!
//! Why last but for the forms of integer convolutions: scales belong to the weights that the file will hold.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use onnx_file::element::ElementType::{self, F32, I8, I32};

use super::names::{Names, UnknownNode, check_kept};
use super::report::{Reason, Report};
use crate::graph::{Graph, Node, Op, Origin, Pass, Value, ValueId, fixed};
use crate::precision::int8::{Flavour, Int8, Parameters};
use crate::weight::{Integers, Part, Weight};

/// Quantizes `graph`; a rewrite is a node that computes in integers.
///
/// # Errors
/// [`UnknownNode`]; the graph is then as it was.
pub fn quantize(graph: &mut Graph, int8: &Int8) -> Result<Report, UnknownNode> {
    check_kept(graph, &int8.keep_f32)?;
    let mut plan = Plan::of(graph, int8);
    let old = std::mem::take(&mut graph.nodes);
    let names = Names::of(graph, &old);
    let mut rewriter = Rewriter { graph, names, flavour: int8.flavour, range: int8, integers: HashMap::new() };
    for id in rewriter.graph.inputs.clone() {
        rewriter.value(id, &plan);
    }
    for (index, node) in old.into_iter().enumerate() {
        rewriter.node(index, node, &plan);
    }
    if int8.flavour == Flavour::Unsigned {
        rewriter.outputs();
    }
    plan.report.rewrites = plan.integer.len();
    Ok(plan.report)
}

/// Which nodes compute in integers, and which values are rounded.
#[derive(Default)]
struct Plan {
    /// Nodes, by index.
    integer: HashSet<usize>,
    /// How values are rounded.
    rounded: HashMap<ValueId, Parameters>,
    /// Operands that are taken rounded: node and input.
    edges: HashSet<(usize, usize)>,
    report: Report,
}

/// What a plan is made from.
struct Facts<'a> {
    graph: &'a Graph,
    /// Parameters that a value has, whether it is rounded or not.
    known: HashMap<ValueId, Parameters>,
    producers: Vec<Option<usize>>,
    /// The only node that takes a value, where there is one and the value is no output.
    only_user: HashMap<ValueId, usize>,
    kept: HashSet<usize>,
}

impl<'a> Facts<'a> {
    fn of(graph: &'a Graph, int8: &'a Int8) -> Self {
        let producers = graph.producers();
        // A value that leaves has a name of its own; measured inside another graph it has its node's.
        let parameters = |id: ValueId| {
            let node = || producers[id.0 as usize].map(|producer| &graph.nodes[producer].name);
            let bounds = int8.bounds.get(&graph.value(id).name).or_else(|| int8.bounds.get(node()?))?;
            Some((id, int8.flavour.parameters(*bounds)))
        };
        let made = graph.nodes.iter().map(|node| node.output).chain(graph.inputs.iter().copied());
        let known = made.filter_map(parameters).collect();
        let counts = graph.use_counts();
        let mut only_user = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let only = |id: &&ValueId| counts[id.0 as usize] == 1;
            only_user.extend(node.inputs.iter().filter(only).map(|id| (*id, index)));
        }
        let keep: HashSet<&str> = int8.keep_f32.iter().map(String::as_str).collect();
        let kept = graph.nodes.iter().enumerate().filter(|(_, node)| keep.contains(node.name.as_str()));
        let kept = kept.map(|(index, _)| index).collect();
        Self { graph, known, producers, only_user, kept }
    }

    /// The value that stands behind a node once the Relu or Clip that follows it alone is taken with it, and that
    /// Relu or Clip.
    fn result(&self, index: usize) -> (ValueId, Option<usize>) {
        let output = self.graph.nodes[index].output;
        match self.only_user.get(&output) {
            Some(&next) if self.is_clamp(next) && !self.kept.contains(&next) => {
                (self.graph.nodes[next].output, Some(next))
            }
            _ => (output, None),
        }
    }

    fn is_clamp(&self, index: usize) -> bool {
        matches!(self.graph.nodes[index].op, Op::Relu | Op::Clip)
    }

    /// Whether weights and biases are f32 numbers of the file.
    fn parameters_are_f32(&self, node: &Node) -> Result<(), Reason> {
        let parameters = node.inputs[1..].iter().map(|&id| self.graph.value(id));
        parameters.into_iter().try_for_each(|value| match (&value.weight, value.element) {
            (None, _) => Err(Reason::Computed),
            (Some(_), F32) => Ok(()),
            _ => Err(Reason::NotF32),
        })
    }

    fn measured(&self, values: &[ValueId]) -> Result<(), Reason> {
        let f32_values = values.iter().all(|&id| self.graph.value(id).element == F32);
        if !f32_values {
            return Err(Reason::NotF32);
        }
        if values.iter().all(|id| self.known.contains_key(id)) { Ok(()) } else { Err(Reason::NoRange) }
    }
}

impl Plan {
    fn of(graph: &Graph, int8: &Int8) -> Self {
        let mut facts = Facts::of(graph, int8);
        let mut plan = Self::default();
        for index in 0..graph.nodes.len() {
            if facts.kept.contains(&index) || plan.integer.contains(&index) {
                continue;
            }
            let found = match int8.flavour {
                Flavour::Unsigned => plan.unsigned(index, &mut facts),
                Flavour::Symmetric => plan.symmetric(index, &facts),
            };
            if let Err(reason) = found {
                plan.report.decline(&graph.nodes[index], reason);
            }
        }
        if int8.flavour == Flavour::Unsigned {
            // Whoever takes a rounded value takes it rounded.
            for (index, node) in graph.nodes.iter().enumerate() {
                let rounded = node.inputs.iter().enumerate().filter(|(_, id)| plan.rounded.contains_key(id));
                plan.edges.extend(rounded.map(|(input, _)| (index, input)));
            }
        }
        plan
    }

    /// Integers around every operator that has a kernel for them.
    fn unsigned(&mut self, index: usize, facts: &mut Facts<'_>) -> Result<(), Reason> {
        let node = &facts.graph.nodes[index];
        let data = &node.inputs[..node.op.data_inputs(node.inputs.len())];
        match node.op {
            Op::Conv(_) | Op::Gemm | Op::Add | Op::Concat | Op::GlobalAveragePool => {
                if matches!(node.op, Op::Conv(_) | Op::Gemm) {
                    facts.parameters_are_f32(node)?;
                }
                facts.measured(data)?;
                let (result, clamp) = facts.result(index);
                // The scores leave as they are: the linear layer has a kernel that puts out f32.
                if node.op != Op::Gemm {
                    facts.measured(&[result])?;
                    self.round(result, facts);
                    self.integer.extend(clamp);
                }
                data.iter().for_each(|&id| self.round(id, facts));
                self.integer.insert(index);
                Ok(())
            }
            Op::MaxPool(_) | Op::Flatten => match self.rounded.get(&node.inputs[0]) {
                Some(&same) => {
                    facts.known.insert(node.output, same);
                    self.rounded.insert(node.output, same);
                    self.integer.insert(index);
                    Ok(())
                }
                None => Err(Reason::NotBetweenIntegers),
            },
            Op::Relu | Op::Clip => Err(Reason::NotBetweenIntegers),
            _ => Err(Reason::NoIntegerKernel),
        }
    }

    /// Integers at the inputs of convolutions and linear layers, and on one branch of a sum.
    fn symmetric(&mut self, index: usize, facts: &Facts<'_>) -> Result<(), Reason> {
        let node = &facts.graph.nodes[index];
        match node.op {
            Op::Conv(_) | Op::Gemm => {
                facts.parameters_are_f32(node)?;
                self.round_edge(index, 0, facts)?;
                self.integer.insert(index);
                Ok(())
            }
            Op::Add => {
                // The branch that ends in a convolution of its own fuses with it and stays unrounded.
                let fuses = |id: ValueId| {
                    let conv = facts.producers[id.0 as usize].map(|producer| facts.graph.nodes[producer].op);
                    matches!(conv, Some(Op::Conv(_))) && facts.only_user.contains_key(&id)
                };
                let branch = if fuses(node.inputs[0]) { 1 } else { 0 };
                self.round_edge(index, branch, facts)?;
                self.integer.insert(index);
                Ok(())
            }
            // They run in whatever type their neighbours have.
            Op::Relu | Op::Clip | Op::MaxPool(_) | Op::Flatten | Op::GlobalAveragePool => Ok(()),
            _ => Err(Reason::NoIntegerKernel),
        }
    }

    fn round_edge(&mut self, index: usize, input: usize, facts: &Facts<'_>) -> Result<(), Reason> {
        let id = facts.graph.nodes[index].inputs[input];
        facts.measured(&[id])?;
        self.round(id, facts);
        self.edges.insert((index, input));
        Ok(())
    }

    fn round(&mut self, id: ValueId, facts: &Facts<'_>) {
        if let Some(&parameters) = facts.known.get(&id) {
            self.rounded.entry(id).or_insert(parameters);
        }
    }
}

struct Rewriter<'a> {
    graph: &'a mut Graph,
    names: Names,
    flavour: Flavour,
    range: &'a Int8,
    /// Rounded values, as integers and dequantized, by what they were.
    integers: HashMap<ValueId, [ValueId; 2]>,
}

impl Rewriter<'_> {
    fn node(&mut self, index: usize, mut node: Node, plan: &Plan) {
        let data_scale = node.inputs.first().and_then(|id| plan.rounded.get(id)).map(|parameters| parameters.scale);
        let multiplies = matches!(node.op, Op::Conv(_) | Op::Gemm);
        let edge = |(input, _): &(usize, &mut ValueId)| plan.edges.contains(&(index, *input));
        for (_, id) in node.inputs.iter_mut().enumerate().filter(edge) {
            let Some(&[integers, real]) = self.integers.get(id) else { continue };
            let apart = multiplies && !plan.integer.contains(&index);
            let by_channel = plan.rounded.get(id).filter(|_| apart).and_then(|&p| self.by_channel(integers, p));
            *id = by_channel.unwrap_or(real);
        }
        if plan.integer.contains(&index)
            && let (Op::Conv(_) | Op::Gemm, Some(data_scale)) = (node.op, data_scale)
        {
            self.weights(&mut node, data_scale);
        }
        let output = node.output;
        self.graph.nodes.push(node);
        self.value(output, plan);
    }

    /// Weights and bias as integers, each behind its DequantizeLinear.
    fn weights(&mut self, node: &mut Node, data_scale: f32) {
        let recipe = |graph: &Graph, input: usize| {
            node.inputs.get(input).and_then(|&id| Some((graph.value(id).name.clone(), graph.value(id).weight.clone()?)))
        };
        let (weight, bias) = (recipe(self.graph, 1), recipe(self.graph, 2));
        let Some((name, weight)) = weight else { return };
        let out = weight.shape()[0];
        let integer_bias = bias.filter(|_| self.flavour == Flavour::Unsigned);
        let of = Arc::new(Integers {
            weight,
            bias: integer_bias.as_ref().map(|(_, bias)| bias.clone()),
            data_scale,
            range: self.range.weights,
        });
        let part = |part| Weight::Integer { of: Arc::clone(&of), part };
        let zeros = Weight::Numbers { shape: vec![out], values: vec![0.0; out] };
        let constants =
            [("", part(Part::Weights), I8), (".scale", part(Part::Scales), F32), (".zero_point", zeros, I8)];
        node.inputs[1] = self.dequantized_constant(&name, constants.to_vec());
        if let Some((name, _)) = integer_bias {
            let constants = [("", part(Part::Bias), I32), (".scale", part(Part::BiasScales), F32)];
            node.inputs[2] = self.dequantized_constant(&name, constants.to_vec());
        }
    }

    /// Constants called after `name`, and the DequantizeLinear that takes them.
    fn dequantized_constant(&mut self, name: &str, constants: Vec<(&str, Weight, ElementType)>) -> ValueId {
        let shape = constants[0].1.shape();
        let constant = |(suffix, weight, element): (&str, Weight, ElementType)| {
            let name = self.names.fresh(&format!("{name}.{element}{suffix}"));
            self.constant(name, weight, element)
        };
        let inputs: Vec<ValueId> = constants.into_iter().map(constant).collect();
        let name = self.names.fresh(&format!("{name}.dequantized"));
        self.added(name, Op::DequantizeLinear { axis: 0 }, inputs, F32, fixed(&shape))
    }

    fn constant(&mut self, name: String, weight: Weight, element: ElementType) -> ValueId {
        let shape = fixed(&weight.shape());
        self.graph.add_value(Value { name, element, shape, weight: Some(weight) })
    }

    /// Rounds the value `id` where the plan says so.
    fn value(&mut self, id: ValueId, plan: &Plan) {
        let Some(&Parameters { scale, zero_point }) = plan.rounded.get(&id) else { return };
        let (name, shape) = (self.graph.value(id).name.clone(), self.graph.value(id).shape.clone());
        let element = self.flavour.element();
        let parameter = |rewriter: &mut Self, suffix: &str, value: f64, element| {
            let name = rewriter.names.fresh(&format!("{name}.{suffix}"));
            rewriter.constant(name, Weight::number(value), element)
        };
        let scale = parameter(self, "scale", f64::from(scale), F32);
        let zero = parameter(self, "zero_point", f64::from(zero_point), element);
        let [quantized, dequantized] =
            ["quantized", "dequantized"].map(|suffix| self.names.fresh(&format!("{name}.{suffix}")));
        let to = Op::QuantizeLinear { axis: 1 };
        let integers = self.added(quantized, to, vec![id, scale, zero], element, shape.clone());
        let from = Op::DequantizeLinear { axis: 1 };
        let real = self.added(dequantized, from, vec![integers, scale, zero], F32, shape);
        self.integers.insert(id, [integers, real]);
    }

    /// `integers` for a convolution or linear layer that stays in f32, with one scale for each channel, all the same.
    ///
    /// Where a single scale stands in front of such a node and a QuantizeLinear behind it, onnxruntime rounds its weights by
    /// itself, all channels alike and up to 127 (`weight_bias_quantization.cc`), and runs it in integers.
    fn by_channel(&mut self, integers: ValueId, Parameters { scale, zero_point }: Parameters) -> Option<ValueId> {
        let Value { name, element, shape, .. } = self.graph.value(integers).clone();
        let channels = shape.get(1)?.fixed()?;
        let mut constant = |suffix: &str, value: f64, element| {
            let name = self.names.fresh(&format!("{name}.by_channel.{suffix}"));
            self.constant(name, Weight::Numbers { shape: vec![channels], values: vec![value; channels] }, element)
        };
        let scales = constant("scale", f64::from(scale), F32);
        let zeros = constant("zero_point", f64::from(zero_point), element);
        let name = self.names.fresh(&format!("{name}.by_channel"));
        Some(self.added(name, Op::DequantizeLinear { axis: 1 }, vec![integers, scales, zeros], F32, shape))
    }

    fn added(
        &mut self,
        name: String,
        op: Op,
        inputs: Vec<ValueId>,
        element: ElementType,
        shape: crate::graph::Shape,
    ) -> ValueId {
        let output = self.graph.add_value(Value { name: name.clone(), element, shape, weight: None });
        self.graph.nodes.push(Node { name, op, inputs, output, origin: Origin::Added(Pass::Quantize) });
        output
    }

    /// Lets every output that is rounded leave as it is taken inside, under its own name.
    fn outputs(&mut self) {
        for position in 0..self.graph.outputs.len() {
            let id = self.graph.outputs[position];
            let Some(&[_, real]) = self.integers.get(&id) else { continue };
            if self.graph.inputs.contains(&id) {
                continue;
            }
            let name = self.graph.value(id).name.clone();
            // Its node's name, as if it did not leave.
            let maker = self.graph.nodes.iter().find(|node| node.output == id).map(|node| node.name.clone());
            let values = &mut self.graph.nodes.iter().map(|node| &self.graph.value(node.output).name);
            let inner = match maker {
                Some(maker) if !values.any(|value| *value == maker) => maker,
                _ => self.names.fresh(&format!("{name}.inner")),
            };
            self.graph.value_mut(id).name = inner;
            self.graph.value_mut(real).name = name;
            self.graph.outputs[position] = real;
        }
    }
}

#[cfg(test)]
#[path = "quantize/tests.rs"]
mod tests;
