//! The network as data: values joined by nodes, every weight a recipe over the tensors of a source.
//!
//! Typed ids make the edges; names only label. A node has one output. Nodes stand in an order in which each value is
//! made before it is used. Weights are not held here: a [`Weight`] says how to compute one from named tensors, so that
//! a pass over a 3 GB network costs microseconds and the exporter can stream.

pub(crate) mod op;
pub(crate) mod origin;

use std::fmt;

use onnx_file::element::ElementType;

pub use op::{Conv, Dim, Op, Pool, Shape, Value, ValueId, fixed};
pub use origin::{Origin, Part, Pass};

use crate::shape::{self, ShapeError};
use crate::weight::Weight;

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique among the nodes.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its operands, in ONNX order.
    pub inputs: Vec<ValueId>,
    /// Its result.
    pub output: ValueId,
    /// Where it comes from; a pass that changes a node leaves this as it is.
    pub origin: Origin,
}

/// A network. Values are never removed, only left without a use; the exporter writes what the outputs need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    values: Vec<Value>,
    /// In an order in which every value is made before it is used.
    pub nodes: Vec<Node>,
    /// What the caller supplies.
    pub inputs: Vec<ValueId>,
    /// What the caller receives.
    pub outputs: Vec<ValueId>,
}

impl Graph {
    /// Adds a value that no node makes: an input, or the target of a later edit.
    pub fn add_value(&mut self, value: Value) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        id
    }

    /// Adds an input.
    pub fn add_input(&mut self, name: &str, shape: Shape) -> ValueId {
        let id = self.add_value(Value { name: name.into(), element: ElementType::F32, shape, weight: None });
        self.inputs.push(id);
        id
    }

    /// Adds a constant of type f32.
    pub fn add_weight(&mut self, name: impl Into<String>, weight: Weight) -> ValueId {
        let shape = fixed(&weight.shape());
        self.add_value(Value { name: name.into(), element: ElementType::F32, shape, weight: Some(weight) })
    }

    /// Appends a node and the value it makes, both called `name`; the value's type follows from the operands.
    ///
    /// # Errors
    /// [`ShapeError`] if the operator cannot take these inputs.
    pub fn add_node(&mut self, name: impl Into<String>, op: Op, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        let name = name.into();
        let operands: Vec<&Value> = inputs.iter().map(|&id| self.value(id)).collect();
        let shape = shape::infer(&name, &op, &operands)?;
        let element = shape::element(&op, &operands);
        let output = self.add_value(Value { name: name.clone(), element, shape, weight: None });
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, origin: Origin::default() });
        Ok(output)
    }

    /// Says of every node from the one at `first` on where it comes from.
    pub fn set_origin(&mut self, first: usize, origin: Origin) {
        self.nodes.iter_mut().skip(first).for_each(|node| node.origin = origin);
    }

    /// The value behind an id of this graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// The value behind an id of this graph, to be edited.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// Number of values, used or not.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// How often each value is used, as a node's input or as a graph output, by [`ValueId`].
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        for id in self.nodes.iter().flat_map(|n| &n.inputs).chain(&self.outputs) {
            counts[id.0 as usize] += 1;
        }
        counts
    }

    /// The index of the node that makes each value, by [`ValueId`].
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            producers[node.output.0 as usize] = Some(index);
        }
        producers
    }

    /// The constants that nodes use, in order of first use.
    pub fn weights(&self) -> Vec<ValueId> {
        let mut seen = vec![false; self.values.len()];
        let mut weights = Vec::new();
        for &id in self.nodes.iter().flat_map(|n| &n.inputs) {
            if self.value(id).weight.is_some() && !std::mem::replace(&mut seen[id.0 as usize], true) {
                weights.push(id);
            }
        }
        weights
    }

    /// Replaces the nodes at the marked places by none and keeps the rest.
    pub fn remove_nodes(&mut self, dead: &[bool]) {
        let mut marks = dead.iter();
        self.nodes.retain(|_| !marks.next().copied().unwrap_or(false));
    }
}

impl fmt::Display for Graph {
    /// One line a node: `layer1.0.conv2 f32 [N, 128, 56, 56] = Conv(layer1.0.relu1, layer1.0.conv2.weight)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let output = self.value(node.output);
            let dims: Vec<String> = output.shape.iter().map(Dim::to_string).collect();
            let inputs: Vec<&str> = node.inputs.iter().map(|&id| self.value(id).name.as_str()).collect();
            let (name, element, dims) = (&output.name, output.element, dims.join(", "));
            writeln!(f, "{name} {element} [{dims}] = {}({})", node.op.name(), inputs.join(", "))?;
        }
        Ok(())
    }
}
