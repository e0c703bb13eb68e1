//! Arithmetic in f16, carried by the graph: weights and values become f16, but for the nodes kept in f32.
//!
//! The only pass that changes the function, and by how much is known: each number x becomes x (1 + d) with |d| <= 2^-11
//! where 2^-14 <= |x| <= 65504, moves by at most 2^-25 below (subnormal, down to zero), and is lost above. A weight is
//! rounded once, from its exact recipe. What is above is refused: weights when they are materialized, values where a
//! calibration gives their ranges (`calibration.rs`). Neither says anything of the partial sums inside a node, which
//! providers keep in f32 or in f16.
//!
//! Why last: what is rounded must be the folded weight, not its factors; and widening's zeros are exact in f16.
//!
//! A value has one type, that of the node that makes it; a Cast stands before the first node that takes it in the other
//! one, and serves all of them. So nodes kept side by side exchange f32, and no Cast undoes another. A
//! BatchNormalization gets all its parameters in f16: ONNX 17 lets scale and bias, and mean and variance, have types of
//! their own (T1, T2), but opset 13 does not, nor has onnxruntime's CUDA provider a kernel for it (`batch_norm.cc`).

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType::{self, F16, F32};

use super::names::{Names, UnknownNode, check_kept};
use super::report::Report;
use crate::graph::{Graph, Node, Op, Origin, Pass, Value, ValueId};
use crate::precision::Half;
use crate::weight::Weight;

/// Turns `graph` to f16; a rewrite is a node that computes in it.
///
/// # Errors
/// [`UnknownNode`]; the graph is then as it was.
pub fn to_f16(graph: &mut Graph, half: &Half) -> Result<Report, UnknownNode> {
    let kept: HashSet<&str> = half.keep_f32.iter().map(String::as_str).collect();
    check_kept(graph, &half.keep_f32)?;
    let ends = if half.keep_io_types { F32 } else { F16 };
    for id in graph.inputs.clone() {
        graph.value_mut(id).element = ends;
    }
    let old = std::mem::take(&mut graph.nodes);
    let names = Names::of(graph, &old);
    let mut rewriter = Rewriter { graph, names, weights: HashMap::new(), casts: HashMap::new() };
    let mut report = Report::default();
    for node in old {
        let element = if kept.contains(node.name.as_str()) { F32 } else { F16 };
        report.rewrites += usize::from(element == F16);
        rewriter.node(node, element);
    }
    for position in 0..rewriter.graph.outputs.len() {
        rewriter.output(position, ends);
    }
    Ok(report)
}

struct Rewriter<'a> {
    graph: &'a mut Graph,
    names: Names,
    /// Constants by what they were and the type they are needed in.
    weights: HashMap<(ValueId, ElementType), ValueId>,
    /// Values by what they are made as and the type they are needed in.
    casts: HashMap<(ValueId, ElementType), ValueId>,
}

impl Rewriter<'_> {
    fn node(&mut self, mut node: Node, element: ElementType) {
        for input in &mut node.inputs {
            let is_weight = self.graph.value(*input).weight.is_some();
            *input = if is_weight { self.weight(*input, element) } else { self.cast(*input, element) };
        }
        self.graph.value_mut(node.output).element = element;
        self.graph.nodes.push(node);
    }

    /// The constant `id` in the type asked for; one that nodes need in both types becomes two.
    fn weight(&mut self, id: ValueId, element: ElementType) -> ValueId {
        if let Some(&done) = self.weights.get(&(id, element)) {
            return done;
        }
        let other = if element == F16 { F32 } else { F16 };
        let mut value = self.graph.value(id).clone();
        let exact = match value.weight.take() {
            Some(Weight::Half { of }) => Some(*of),
            exact => exact,
        };
        value.element = element;
        value.weight = exact.map(|of| if element == F16 { Weight::Half { of: Box::new(of) } } else { of });
        let done = if self.weights.contains_key(&(id, other)) {
            value.name = self.names.fresh(&format!("{}.{element}", value.name));
            self.graph.add_value(value)
        } else {
            *self.graph.value_mut(id) = value;
            id
        };
        self.weights.insert((id, element), done);
        done
    }

    /// The value `id` in the type asked for, through a Cast where it is made in another.
    fn cast(&mut self, id: ValueId, element: ElementType) -> ValueId {
        let value = self.graph.value(id);
        if value.element == element {
            return id;
        }
        if let Some(&done) = self.casts.get(&(id, element)) {
            return done;
        }
        let (shape, name) = (value.shape.clone(), format!("{}.{element}", value.name));
        let name = self.names.fresh(&name);
        let output = self.graph.add_value(Value { name: name.clone(), element, shape, weight: None });
        self.graph.nodes.push(Node {
            name,
            op: Op::Cast,
            inputs: vec![id],
            output,
            origin: Origin::Added(Pass::ToF16),
        });
        self.casts.insert((id, element), output);
        output
    }

    /// Gives an output the type asked for; it keeps its name, and what is made in the other type takes its node's.
    fn output(&mut self, position: usize, element: ElementType) {
        let id = self.graph.outputs[position];
        if self.graph.value(id).element == element {
            return;
        }
        let made_by = self.graph.nodes.iter().find(|node| node.output == id).map(|node| node.name.clone());
        let name = self.graph.value(id).name.clone();
        let taken = self.graph.nodes.iter().any(|node| Some(&self.graph.value(node.output).name) == made_by.as_ref());
        let inner = made_by.filter(|_| !taken).unwrap_or_else(|| self.names.fresh(&format!("{name}.inner")));
        self.graph.value_mut(id).name = inner;
        let output = self.cast(id, element);
        self.graph.value_mut(output).name = name;
        self.graph.outputs[position] = output;
    }
}

#[cfg(test)]
#[path = "to_f16/tests.rs"]
mod tests;
