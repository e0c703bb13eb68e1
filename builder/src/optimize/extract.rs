//! The part of a model that the passes understand: its convolutions and normalisations with constant parameters.

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::{GraphProto, NodeProto, TensorProto};
use onnx_file::tensor;

use crate::graph::{Dim, Graph, Op, Origin, ValueId};
use crate::import::{Attributes, Initializers, integers, label};
use crate::weight::Weight;

/// What was extracted, and from where.
pub(super) struct Extracted {
    /// Its nodes come from the model, and are named like there as far as names are unique.
    pub(super) graph: Graph,
    /// The constants that its weights are stored in.
    pub(super) weights: Initializers,
    /// Nodes that a pass was meant for and that could not be extracted.
    pub(super) unproven: Vec<Unproven>,
}

/// A node that could not be extracted.
pub(super) struct Unproven {
    pub(super) node: String,
    pub(super) op: String,
    pub(super) reason: String,
}

/// What is extracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Convolutions and normalisations: what the passes on numbers rewrite.
    Convolutions,
    /// Every operator that has a rule in integers, too; what has none is told.
    Integers,
}

/// Operators that move elements, or compute with shapes: there is nothing in them to quantize.
const BOOKKEEPING: [&str; 14] = [
    "Cast", "Concat", "Constant", "Dropout", "Flatten", "Gather", "Identity", "Reshape", "Shape", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
];

/// Extracts what can be proven.
pub(super) fn extract(model: &GraphProto, scope: Scope) -> Extracted {
    let mut extractor = Extractor {
        graph: Graph::default(),
        values: HashMap::new(),
        constants: constants(model),
        overridable: model.input.iter().map(|input| input.name.as_str()).collect(),
        names: HashSet::new(),
    };
    let mut extracted = HashSet::new();
    let mut unproven = Vec::new();
    for (index, node) in model.node.iter().enumerate() {
        match extractor.node(index, node) {
            Ok(true) => {
                extracted.insert(index);
            }
            Ok(false) => match extractor.other(index, node, scope) {
                Ok(true) => {
                    extracted.insert(index);
                }
                Ok(false) => {}
                Err(reason) => unproven.push(Unproven { node: label(node), op: node.op_type.clone(), reason }),
            },
            Err(reason) => unproven.push(Unproven { node: label(node), op: node.op_type.clone(), reason }),
        }
    }
    let Extractor { mut graph, values, constants, .. } = extractor;
    let rest = model.node.iter().enumerate().filter(|(index, _)| !extracted.contains(index)).map(|(_, node)| node);
    let mut used = HashSet::new();
    rest.for_each(|node| {
        uses(node, &mut |name| {
            used.insert(name.to_owned());
        });
    });
    used.extend(model.output.iter().map(|output| output.name.clone()));
    let made: HashSet<ValueId> = graph.nodes.iter().map(|node| node.output).collect();
    let mut outputs: Vec<ValueId> =
        used.iter().filter_map(|name| values.get(name).copied()).filter(|id| made.contains(id)).collect();
    outputs.sort_unstable();
    graph.outputs = outputs;
    let owned =
        |(name, tensor): (&str, &TensorProto)| (name.to_owned(), TensorProto { name: name.into(), ..tensor.clone() });
    let weights = constants.into_iter().map(owned).collect();
    Extracted { graph, weights: Initializers(weights), unproven }
}

/// Calls `visit` with every value that `node` uses, those of its inner graphs included.
pub(super) fn uses(node: &NodeProto, visit: &mut dyn FnMut(&str)) {
    node.input.iter().for_each(|name| visit(name));
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            graph.output.iter().for_each(|output| visit(&output.name));
            graph.node.iter().for_each(|inner| uses(inner, visit));
        }
    }
}

/// Every constant of the model: initializers, Constant nodes that hold a tensor, and other names of either.
fn constants(model: &GraphProto) -> HashMap<&str, &TensorProto> {
    let mut constants: HashMap<&str, &TensorProto> =
        model.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for node in &model.node {
        let ([output], true) = (&node.output[..], matches!(node.domain.as_str(), "" | "ai.onnx")) else { continue };
        let tensor = match (node.op_type.as_str(), &node.input[..]) {
            ("Constant", []) => node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref()),
            ("Identity", [source]) => constants.get(source.as_str()).copied(),
            _ => None,
        };
        if let Some(tensor) = tensor {
            constants.insert(output, tensor);
        }
    }
    constants
}

/// Why an operator stays as it is.
const NO_RULE: &str = "no rule for it in integers";

struct Extractor<'a> {
    graph: Graph,
    values: HashMap<String, ValueId>,
    constants: HashMap<&'a str, &'a TensorProto>,
    /// Inputs of the model: an initializer among them can be replaced at run time.
    overridable: HashSet<&'a str>,
    /// Names of the nodes so far; those of a model need not be unique.
    names: HashSet<String>,
}

impl<'a> Extractor<'a> {
    /// Extracts a node; `false` if no pass is meant for it.
    fn node(&mut self, index: usize, node: &'a NodeProto) -> Result<bool, String> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Ok(false);
        }
        let op = match node.op_type.as_str() {
            "Conv" | "BatchNormalization" => {
                let weight = node.input.get(1).and_then(|name| self.constants.get(name.as_str()));
                let weight = weight.map_or(&[][..], |tensor| &tensor.dims);
                Attributes(&node.attribute).op(&node.op_type, weight)?
            }
            _ => return Ok(false),
        };
        let ([output], [data, parameters @ ..]) = (&node.output[..], &node.input[..]) else {
            return Err("it should have one output".into());
        };
        let elements: Vec<ElementType> =
            parameters.iter().filter(|p| !p.is_empty()).map(|p| self.element(p)).collect::<Result<_, _>>()?;
        let Some(&element) = elements.first() else { return Err("it has no weight".into()) };
        if elements.iter().any(|other| *other != element) {
            return Err("its parameters are of different types".into());
        }
        match (element, op) {
            (ElementType::F16 | ElementType::BF16, Op::BatchNorm { .. }) => {
                return Err(format!("in {element} folding would round what is rounded already a second time"));
            }
            (ElementType::F16 | ElementType::BF16 | ElementType::F32 | ElementType::F64, _) => {}
            _ => return Err(format!("its parameters are {element}, no floating-point numbers")),
        }
        let mut operands = vec![ValueId(0)];
        for name in parameters.iter().filter(|p| !p.is_empty()) {
            operands.push(self.constant(name, element)?);
        }
        operands[0] = self.data(data, &op, operands[1], element)?;
        self.add(index, node, op, &operands, output)
    }

    /// Extracts a node of another operator that has a rule in integers.
    fn other(&mut self, index: usize, node: &'a NodeProto, scope: Scope) -> Result<bool, String> {
        if scope == Scope::Convolutions {
            return Ok(false);
        }
        let is_bookkeeping = BOOKKEEPING.contains(&&node.op_type[..]);
        let refused = || if is_bookkeeping { Ok(false) } else { Err(NO_RULE.to_owned()) };
        let ruled = ["Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool", "ReduceMean", "Flatten", "Concat", "Gemm"];
        if !matches!(node.domain.as_str(), "" | "ai.onnx") || !ruled.contains(&&node.op_type[..]) {
            return refused();
        }
        let ([output], [_, ..]) = (&node.output[..], &node.input[..]) else { return refused() };
        let op = match node.op_type.as_str() {
            "ReduceMean" if self.is_plane_mean(node) => Op::GlobalAveragePool,
            "ReduceMean" => return refused(),
            name => match Attributes(&node.attribute).op(name, &[]) {
                Ok(op) => op,
                Err(reason) => return if is_bookkeeping { Ok(false) } else { Err(reason) },
            },
        };
        let mut operands = Vec::new();
        let inputs = if op == Op::GlobalAveragePool { &node.input[..1] } else { &node.input[..] };
        for (index, name) in inputs.iter().enumerate() {
            let known = self.values.get(name).copied().filter(|&id| self.graph.value(id).weight.is_none());
            operands.push(match known {
                Some(id) if index < op.data_inputs(inputs.len()) => id,
                _ if index >= op.data_inputs(inputs.len()) => {
                    let element = self.element(name)?;
                    self.constant(name, element)?
                }
                _ if self.constants.contains_key(name.as_str()) => {
                    return Err(format!("it computes on the constant '{name}'"));
                }
                _ => match (op, inputs.iter().find_map(|input| self.values.get(input).copied())) {
                    (Op::Gemm, _) => self.features(name, node.input.get(1))?,
                    (Op::Add, Some(like)) => self.shaped_like(name, like),
                    _ if is_bookkeeping => return Ok(false),
                    _ => return Err("nothing that it takes can become integers".into()),
                },
            });
        }
        match self.add(index, node, op, &operands, output) {
            Err(_) if is_bookkeeping => Ok(false),
            added => added,
        }
    }

    /// A mean over height and width that keeps them as 1 x 1.
    fn is_plane_mean(&self, node: &NodeProto) -> bool {
        let attributes = Attributes(&node.attribute);
        let stored = node.input.get(1).and_then(|name| integers(self.constants.get(name.as_str())?));
        let axes = attributes.numbers("axes").or(stored);
        attributes.int("keepdims", 1) == 1 && matches!(axes.as_deref(), Some([2 | -2, 3 | -1] | [3 | -1, 2 | -2]))
    }

    /// A value that nothing extracted makes, with as many features as a linear layer's weight calls for.
    fn features(&mut self, name: &str, weight: Option<&String>) -> Result<ValueId, String> {
        let dims = weight.and_then(|weight| self.constants.get(weight.as_str())).map(|tensor| &tensor.dims[..]);
        let Some(&[_, features]) = dims else { return Err("its weight is computed, not a constant of the file".into()) };
        let features = usize::try_from(features).map_err(|_| "its weight has an impossible shape")?;
        let id = self.graph.add_input(name, vec![Dim::Unknown, Dim::Fixed(features)]);
        self.values.insert(name.to_owned(), id);
        Ok(id)
    }

    /// A value that nothing extracted makes, added to one like `like`.
    fn shaped_like(&mut self, name: &str, like: ValueId) -> ValueId {
        let shape = self.graph.value(like).shape.clone();
        let id = self.graph.add_input(name, shape);
        self.values.insert(name.to_owned(), id);
        id
    }

    fn add(
        &mut self,
        index: usize,
        node: &NodeProto,
        op: Op,
        operands: &[ValueId],
        output: &str,
    ) -> Result<bool, String> {
        let mut name = label(node);
        if self.names.contains(&name) {
            name = format!("{name}#{index}");
        }
        let first = self.graph.nodes.len();
        let id = self.graph.add_node(name.clone(), op, operands).map_err(|error| error.reason)?;
        self.graph.set_origin(first, Origin::Model(index));
        self.names.insert(name);
        self.graph.value_mut(id).name = output.to_owned();
        self.values.insert(output.to_owned(), id);
        Ok(true)
    }

    fn element(&self, name: &str) -> Result<ElementType, String> {
        let Some(tensor) = self.constants.get(name) else {
            return Err(format!("its parameter '{name}' is computed, not a constant of the file"));
        };
        if self.overridable.contains(name) {
            return Err(format!("its parameter '{name}' is also an input of the model, which may be fed"));
        }
        tensor::extent(tensor).map(|(element, ..)| element).map_err(|error| error.to_string())
    }

    fn constant(&mut self, name: &str, element: ElementType) -> Result<ValueId, String> {
        if let Some(&id) = self.values.get(name) {
            return Ok(id);
        }
        let dims = self.constants.get(name).map(|tensor| tensor.dims.clone()).unwrap_or_default();
        let shape: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let shape = shape.ok_or_else(|| format!("its parameter '{name}' has the shape {dims:?}"))?;
        let id = self.graph.add_weight(name, Weight::stored(name, &shape));
        self.graph.value_mut(id).element = element;
        self.values.insert(name.into(), id);
        Ok(id)
    }

    /// The value that a node works on: one made by a extracted node, or an input of the extracted part with as many channels
    /// as the weight calls for.
    fn data(&mut self, name: &str, op: &Op, weight: ValueId, element: ElementType) -> Result<ValueId, String> {
        if let Some(&id) = self.values.get(name) {
            let made = self.graph.value(id).element;
            let refusal = || format!("its input is {made} and its parameters are {element}");
            return if made == element { Ok(id) } else { Err(refusal()) };
        }
        let dims = &self.graph.value(weight).shape;
        let channels = match (op, &dims[..]) {
            (Op::Conv(conv), [_, Dim::Fixed(inner), _, _]) => inner.checked_mul(conv.group),
            (Op::Conv(_), _) => {
                return Err(format!("it convolves {} dimensions, not two", dims.len().saturating_sub(2)));
            }
            (_, [Dim::Fixed(channels)]) => Some(*channels),
            _ => None,
        };
        let channels = channels.ok_or("its weight has an impossible shape")?;
        let shape = vec![Dim::Unknown, Dim::Fixed(channels), Dim::Unknown, Dim::Unknown];
        let id = self.graph.add_input(name, shape);
        self.graph.value_mut(id).element = element;
        self.values.insert(name.into(), id);
        Ok(id)
    }
}

impl Extracted {
    /// The name in the model of a value that is there: passes name values for their own graph.
    pub(super) fn name(&self, id: ValueId) -> Option<&str> {
        (self.graph.value_count() > id.0 as usize).then(|| self.graph.value(id).name.as_str())
    }
}
