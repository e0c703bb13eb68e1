//! A node at a time from the model to the graph.

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::{NodeProto, ValueInfoProto};
use onnx_file::tensor;

use super::attributes::{Attributes, Plane};
use super::error::ImportError;
use super::nodes::{label, uses};
use crate::constants::{Constants, Known, exact};
use crate::graph::{Dim, Graph, Op, Shape, ValueId};
use crate::weight::Weight;

/// A value of the model: one of the graph, in the same order of elements.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) id: ValueId,
    /// Its extents, where they are others than the graph's value has: `[N, C]` of `[N, C, 1, 1]`.
    pub(super) dims: Option<Vec<usize>>,
}

/// What has been read so far.
pub(super) struct Importer {
    pub(super) graph: Graph,
    pub(super) constants: Constants,
    /// The model's values by name.
    pub(super) values: HashMap<String, View>,
    /// The constants that are in the graph already.
    parameters: HashMap<String, ValueId>,
    /// How often nodes and outputs of the model use each value.
    uses: HashMap<String, usize>,
    /// Names that are given, in the model or in the graph.
    names: HashSet<String>,
    /// The nodes' own among them: a node and a value may have the same.
    labels: HashSet<String>,
}

impl Importer {
    pub(super) fn new(constants: Constants, nodes: &[NodeProto], outputs: &[ValueInfoProto]) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut count = |name: &str| *counts.entry(name.to_owned()).or_default() += 1;
        nodes.iter().for_each(|node| uses(node, &mut count));
        outputs.iter().for_each(|output| count(&output.name));
        let mut names: HashSet<String> = counts.keys().cloned().collect();
        names.extend(nodes.iter().flat_map(|node| node.output.iter().cloned()));
        Self {
            graph: Graph::default(),
            constants,
            values: HashMap::new(),
            parameters: HashMap::new(),
            uses: counts,
            names,
            labels: HashSet::new(),
        }
    }

    /// Adds the input.
    pub(super) fn input(&mut self, name: &str, shape: Shape, element: ElementType) {
        let id = self.graph.add_input(name, shape);
        self.graph.value_mut(id).element = element;
        self.values.insert(name.to_owned(), View { id, dims: None });
    }

    /// Makes the model's output `name` one of the graph.
    pub(super) fn output(&mut self, name: &str) -> Result<(), ImportError> {
        let missing = |what: &str| ImportError::Input { found: format!("an output '{name}' {what}") };
        if !self.values.contains_key(name) {
            return Err(missing("that nothing makes, or that is a constant"));
        }
        let node = NodeProto { name: name.to_owned(), ..Default::default() };
        let id = self.data(&node, name).map_err(|reason| missing(&reason))?;
        // Through an alias it may have been made under another name.
        let is_made = !self.graph.inputs.contains(&id) && !self.graph.outputs.contains(&id);
        if is_made && self.graph.value(id).name != name && self.names.contains(name) {
            self.graph.value_mut(id).name = name.to_owned();
        }
        self.graph.outputs.push(id);
        Ok(())
    }

    /// Reads one node.
    pub(super) fn node(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let wrong = |reason: String| ImportError::Node { node: label(node), op: node.op_type.clone(), reason };
        let used = |output: &&String| self.uses.contains_key(output.as_str());
        let used: Vec<&String> = node.output.iter().filter(used).collect();
        let output = match used[..] {
            // What nobody uses need not be understood.
            [] => return Ok(()),
            [output] if node.output.first() == Some(output) => output.clone(),
            _ => return Err(wrong("only its first output should be used".into())),
        };
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(wrong(format!("its domain '{}' is not ONNX's own", node.domain)));
        }
        let (graph, values) = (&self.graph, &self.values);
        let known = |name: &str| values.get(name).map_or_else(Known::default, |view| known(graph, view));
        if self.constants.fold(node, &known).map_err(|error| wrong(error.to_string()))? {
            return Ok(());
        }
        let view = match self.view(node, &output).map_err(wrong)? {
            Some(view) => view,
            None => View { id: self.operation(node, &output)?, dims: None },
        };
        self.values.insert(output, view);
        Ok(())
    }

    /// A node that one of the graph stands for.
    fn operation(&mut self, node: &NodeProto, output: &str) -> Result<ValueId, ImportError> {
        let wrong = |reason: String| ImportError::Node { node: label(node), op: node.op_type.clone(), reason };
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let attributes = Attributes(&node.attribute);
        let weight = inputs.get(1).and_then(|name| self.constants.get(name)).map(|tensor| tensor.dims.clone());
        let plane = inputs.first().map_or(Plane::Of([None; 2]), |name| self.plane(name));
        let op = attributes.op(&node.op_type, &weight.unwrap_or_default(), plane).map_err(wrong)?;
        let op = self.settled(op, &inputs).map_err(wrong)?;
        let data = op.data_inputs(inputs.len());
        let mut operands = Vec::new();
        for (index, name) in inputs.iter().enumerate() {
            let operand = if index < data { self.data(node, name) } else { self.parameter(name) };
            operands.push(operand.map_err(wrong)?);
        }
        let id = self.add(node, output, op, &operands)?;
        if op == Op::Cast {
            self.graph.value_mut(id).element = attributes.cast_to().map_err(wrong)?;
        }
        Ok(id)
    }

    /// The operator with what its constant inputs say: where a Slice starts and ends, and how much a Pad adds.
    fn settled(&self, op: Op, inputs: &[&str]) -> Result<Op, String> {
        let integers = |input: usize| self.constants.integers(inputs.get(input)?);
        match op {
            Op::Slice { .. } => match (integers(1).as_deref(), integers(2).as_deref(), integers(3).as_deref()) {
                (Some(&[start]), Some(&[end]), Some([1])) if inputs.len() == 4 && (0..end).contains(&start) => {
                    Ok(Op::Slice { start: start as usize, len: (end - start) as usize })
                }
                _ => Err("only channels next to each other, by constants, are understood".into()),
            },
            Op::Pad { .. } => match integers(1).as_deref() {
                Some(&[0, 0, 0, 0, 0, channels, 0, 0]) if channels >= 0 => Ok(Op::Pad { channels: channels as usize }),
                _ => Err("only channels behind the others are understood".into()),
            },
            op => Ok(op),
        }
    }

    /// Appends an operation that makes the value called `output`, for the model's node `node`.
    pub(super) fn add(
        &mut self,
        node: &NodeProto,
        output: &str,
        op: Op,
        operands: &[ValueId],
    ) -> Result<ValueId, ImportError> {
        let mut name = label(node);
        while !self.labels.insert(name.clone()) {
            name.push('\'');
        }
        let id = self.graph.add_node(name, op, operands)?;
        self.graph.value_mut(id).name = output.to_owned();
        Ok(id)
    }

    /// A name like `stem` that nothing has.
    pub(super) fn fresh(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        while !self.names.insert(name.clone()) {
            name.push('\'');
        }
        name
    }

    /// Extents of a value of the model, where all are fixed.
    pub(super) fn dims(&self, view: &View) -> Option<Vec<usize>> {
        known(&self.graph, view).shape
    }

    /// Height and width of the value called `name`.
    fn plane(&self, name: &str) -> Plane {
        let shape = self.values.get(name).map(|view| &self.graph.value(view.id).shape[..]);
        match shape {
            Some([_, _, height, width]) => Plane::Of([height.fixed(), width.fixed()]),
            _ => Plane::Of([None; 2]),
        }
    }

    /// Whether more than one node or output uses the value `id`, by whichever of its names.
    pub(super) fn is_shared(&self, id: ValueId) -> bool {
        let names = self.values.iter().filter(|(_, view)| view.id == id).map(|(name, _)| name);
        let count = |(names, uses), name: &String| (names + 1, uses + self.uses.get(name).unwrap_or(&0));
        let (names, uses) = names.fold((0, 0), count);
        // Each name but the first was given by a node that used one of the others.
        uses > names
    }

    /// What a node computes on.
    pub(super) fn data(&mut self, node: &NodeProto, name: &str) -> Result<ValueId, String> {
        let Some(view) = self.values.get(name).cloned() else {
            return Err(match self.constants.get(name) {
                Some(_) => format!("it computes on the constant '{name}'; fold constants first"),
                None => format!("nothing before it makes '{name}'"),
            });
        };
        let Some(dims) = &view.dims else { return Ok(view.id) };
        let own: Vec<Option<usize>> = self.graph.value(view.id).shape.iter().map(Dim::fixed).collect();
        match (&own[..], &dims[..]) {
            (own, dims) if own.iter().copied().eq(dims.iter().map(|&n| Some(n))) => Ok(view.id),
            (&[Some(batch), Some(channels), Some(1), Some(1)], dims) if *dims == [batch, channels] => {
                let flat = self.fresh(&format!("{name}/flat"));
                let made_by = NodeProto { name: format!("{}/flat", label(node)), ..Default::default() };
                let id = self.add(&made_by, &flat, Op::Flatten, &[view.id]).map_err(|error| error.to_string())?;
                self.values.insert(name.to_owned(), View { id, dims: None });
                Ok(id)
            }
            _ => Err(format!("its input '{name}' has the shape {dims:?}, in which no part of a ResNet computes")),
        }
    }

    /// A constant operand.
    pub(super) fn parameter(&mut self, name: &str) -> Result<ValueId, String> {
        if let Some(&id) = self.parameters.get(name) {
            return Ok(id);
        }
        if self.values.contains_key(name) {
            return Err(format!("its parameter '{name}' is computed; fold constants first"));
        }
        let tensor = self.constants.get(name).ok_or_else(|| format!("nothing before it makes '{name}'"))?;
        let (element, ..) = tensor::extent(tensor).map_err(|error| error.to_string())?;
        let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
        let id = self.graph.add_weight(name, Weight::stored(name, &shape));
        self.graph.value_mut(id).element = element;
        self.parameters.insert(name.into(), id);
        Ok(id)
    }

    /// A new constant of these numbers, which counts as one of type `element`.
    pub(super) fn computed(&mut self, stem: &str, dims: &[usize], numbers: Vec<f64>, element: ElementType) -> ValueId {
        let name = self.fresh(stem);
        self.constants.insert(exact(&name, dims, numbers));
        let id = self.graph.add_weight(&name, Weight::stored(&name, dims));
        self.graph.value_mut(id).element = element;
        id
    }

    /// The numbers of the constant called `name`, and their shape.
    pub(super) fn numbers(&self, name: &str) -> Result<(Vec<f64>, Vec<usize>), String> {
        let tensor = self.constants.get(name).ok_or_else(|| format!("its parameter '{name}' is computed"))?;
        let numbers = tensor::to_f64(tensor).map_err(|error| error.to_string())?;
        Ok((numbers, tensor.dims.iter().map(|&d| d as usize).collect()))
    }
}

/// What the graph knows of a value.
fn known(graph: &Graph, view: &View) -> Known {
    let value = graph.value(view.id);
    let shape = view.dims.clone().or_else(|| value.shape.iter().map(Dim::fixed).collect());
    Known { element: Some(value.element), shape }
}
