//! The part of a model that the passes understand: its convolutions and normalisations with constant parameters.

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::{GraphProto, NodeProto, ValueInfoProto, type_proto};
use onnx_file::tensor;

use super::result::Obstacle;
use crate::constants::{Constants, Known, exact};
use crate::graph::{Dim, Graph, Op, Origin, ValueId};
use crate::import::{Attributes, Initializers, Plane, label, uses};
use crate::weight::Weight;

/// Operators whose results are of the type that they take.
const OF_ONE_TYPE: [&str; 14] = [
    "Conv",
    "BatchNormalization",
    "Relu",
    "Clip",
    "Sigmoid",
    "Add",
    "Mul",
    "Sum",
    "Concat",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Identity",
    "Flatten",
];

/// What was extracted, and from where.
pub(super) struct Extracted {
    /// Its nodes come from the model, and are named like there as far as names are unique.
    pub(super) graph: Graph,
    /// The constants that its weights are stored in.
    pub(super) weights: Initializers,
    /// Nodes that a pass was meant for and that could not be extracted.
    pub(super) unproven: Vec<Unproven>,
    /// Positions of the nodes that make constants of constants.
    pub(super) constant: HashSet<usize>,
}

/// A node that could not be extracted.
pub(super) struct Unproven {
    pub(super) node: String,
    pub(super) op: String,
    pub(super) because: Obstacle,
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
    "Cast",
    "Concat",
    "Constant",
    "Dropout",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Extracts what can be proven. Initializers that are also inputs are constants only where `inputs_are_constant`.
pub(super) fn extract(model: &GraphProto, inputs_are_constant: bool, scope: Scope) -> Extracted {
    let inputs: HashSet<&str> = model.input.iter().map(|input| input.name.as_str()).collect();
    let overridable = |name: &str| !inputs_are_constant && inputs.contains(name);
    let stored = model.initializer.iter().filter(|tensor| !overridable(&tensor.name)).cloned();
    let declared = model.input.iter().chain(&model.value_info);
    let mut extractor = Extractor {
        graph: Graph::default(),
        values: HashMap::new(),
        constants: Constants::of(stored),
        overridable: inputs.iter().copied().filter(|name| overridable(name)).collect(),
        elements: declared.filter_map(|value| Some((value.name.as_str(), element(value)?))).collect(),
        made_by: HashMap::new(),
        made: HashSet::new(),
        names: HashSet::new(),
    };
    let mut extracted = HashSet::new();
    let mut constant = HashSet::new();
    let mut unproven = Vec::new();
    for (index, node) in model.node.iter().enumerate() {
        let known = |name: &str| Known { element: extractor.elements.get(name).copied(), shape: None };
        let folded = extractor.constants.fold(node, &known).unwrap_or_else(|error| {
            unproven.push(Unproven {
                node: label(node),
                op: node.op_type.clone(),
                because: Obstacle::Form { reason: error.to_string() },
            });
            false
        });
        if folded {
            constant.insert(index);
        } else {
            let taken = match extractor.node(index, node) {
                Ok(false) => extractor.other(index, node, scope),
                taken => taken,
            };
            match taken {
                Ok(true) => {
                    extracted.insert(index);
                }
                Ok(false) => {}
                Err(because) => unproven.push(Unproven { node: label(node), op: node.op_type.clone(), because }),
            }
        }
        extractor.note(node);
    }
    let Extractor { mut graph, values, constants, made, .. } = extractor;
    let rest = model.node.iter().enumerate().filter(|(index, _)| !extracted.contains(index)).map(|(_, node)| node);
    let mut used = HashSet::new();
    rest.for_each(|node| {
        uses(node, &mut |name| {
            used.insert(name.to_owned());
        });
    });
    used.extend(model.output.iter().map(|output| output.name.clone()));
    let mut outputs: Vec<ValueId> =
        used.iter().filter_map(|name| values.get(name).copied()).filter(|id| made.contains(id)).collect();
    outputs.sort_unstable();
    graph.outputs = outputs;
    Extracted { graph, weights: Initializers(constants.into_tensors()), unproven, constant }
}

/// The type that a value is declared with.
fn element(value: &ValueInfoProto) -> Option<ElementType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => ElementType::from_proto(tensor.elem_type),
        _ => None,
    }
}

struct Extractor<'a> {
    graph: Graph,
    values: HashMap<String, ValueId>,
    constants: Constants,
    /// Inputs of the model whose initializers can be replaced at run time.
    overridable: HashSet<&'a str>,
    /// Types of values, as far as they are known.
    elements: HashMap<&'a str, ElementType>,
    /// The operator that makes each value so far.
    made_by: HashMap<&'a str, &'a str>,
    /// What the extracted nodes make.
    made: HashSet<ValueId>,
    /// Names of the nodes so far; those of a model need not be unique.
    names: HashSet<String>,
}

impl<'a> Extractor<'a> {
    /// Extracts a node; `false` if no pass is meant for it.
    fn node(&mut self, index: usize, node: &'a NodeProto) -> Result<bool, Obstacle> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Ok(false);
        }
        let op = match node.op_type.as_str() {
            "Conv" | "BatchNormalization" => {
                let weight = node.input.get(1).and_then(|name| self.constants.get(name));
                let weight = weight.map_or(&[][..], |tensor| &tensor.dims);
                let op = Attributes(&node.attribute).op(&node.op_type, weight, Plane::Irrelevant);
                op.map_err(|reason| Obstacle::Form { reason })?
            }
            "Mul" | "Add" | "Sub" | "Div" => return self.per_channel(index, node),
            _ => return Ok(false),
        };
        let ([output], [data, parameters @ ..]) = (&node.output[..], &node.input[..]) else {
            return Err(Obstacle::Form { reason: "it should have one output".into() });
        };
        let given: Vec<&String> = parameters.iter().filter(|name| !name.is_empty()).collect();
        let elements: Vec<ElementType> = given.iter().map(|name| self.element(name)).collect::<Result<_, _>>()?;
        let Some(&element) = elements.first() else { return Err(Obstacle::NoWeight) };
        if elements.iter().any(|other| *other != element) {
            return Err(Obstacle::MixedTypes);
        }
        match (element, op) {
            (ElementType::F16 | ElementType::BF16, Op::BatchNorm { .. }) => return Err(Obstacle::Rounded { element }),
            (ElementType::F16 | ElementType::BF16 | ElementType::F32 | ElementType::F64, _) => {}
            _ => return Err(Obstacle::Integers { element }),
        }
        let dequantized = |name: &str| self.made_by.get(name) == Some(&"DequantizeLinear");
        if dequantized(data) && given.first().is_some_and(|name| dequantized(name)) {
            return Err(Obstacle::Quantized);
        }
        let mut operands = vec![ValueId(0)];
        for name in given {
            operands.push(self.constant(name, element)?);
        }
        operands[0] = self.data(data, &op, operands[1], element)?;
        self.add(index, node, output, op, &operands)?;
        Ok(true)
    }

    /// Extracts a node of another operator that has a rule in integers.
    fn other(&mut self, index: usize, node: &'a NodeProto, scope: Scope) -> Result<bool, Obstacle> {
        if scope == Scope::Convolutions {
            return Ok(false);
        }
        let is_bookkeeping = BOOKKEEPING.contains(&node.op_type.as_str());
        let refused = || if is_bookkeeping { Ok(false) } else { Err(Obstacle::NoRule) };
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return refused();
        }
        let ([output], [_, ..]) = (&node.output[..], &node.input[..]) else { return refused() };
        let op = match self.ruled(node) {
            Ok(Some(op)) => op,
            Ok(None) => return refused(),
            Err(reason) => return if is_bookkeeping { Ok(false) } else { Err(Obstacle::Form { reason }) },
        };
        let inputs = if op == Op::GlobalAveragePool { &node.input[..1] } else { &node.input[..] };
        let data = op.data_inputs(inputs.len());
        let mut operands = Vec::new();
        for (index, name) in inputs.iter().enumerate() {
            operands.push(if index >= data {
                let element = self.element(name)?;
                self.constant(name, element)?
            } else if self.constants.get(name).is_some() {
                return if is_bookkeeping { Ok(false) } else { Err(Obstacle::OnConstant { operand: name.clone() }) };
            } else {
                match (self.values.get(name), op, inputs.iter().find_map(|input| self.values.get(input).copied())) {
                    (Some(&known), ..) => known,
                    (None, Op::Gemm, _) => self.features(name, node.input.get(1))?,
                    (None, Op::Add, Some(like)) => self.shaped_like(name, like),
                    _ => return if is_bookkeeping { Ok(false) } else { Err(Obstacle::NothingExtracted) },
                }
            });
        }
        match self.add(index, node, output, op, &operands) {
            Err(_) if is_bookkeeping => Ok(false),
            added => added.map(|()| true),
        }
    }

    /// The operator of a node that has a rule in integers.
    fn ruled(&self, node: &NodeProto) -> Result<Option<Op>, String> {
        let attributes = Attributes(&node.attribute);
        let is_one = |name: &str| attributes.get(name).is_none_or(|a| a.f == 1.0);
        match node.op_type.as_str() {
            "Relu" | "Add" | "MaxPool" | "GlobalAveragePool" | "Concat" | "Clip" => {
                attributes.op(&node.op_type, &[], Plane::Irrelevant).map(Some)
            }
            "Flatten" if attributes.int("axis", 1) == 1 => Ok(Some(Op::Flatten)),
            "Gemm" if !is_one("alpha") || !is_one("beta") => Err("it scales its operands".into()),
            "Gemm" if attributes.int("transA", 0) != 0 || attributes.int("transB", 0) != 1 => {
                Err("its weight is not [outputs, inputs]".into())
            }
            "Gemm" => Ok(Some(Op::Gemm)),
            "ReduceMean" => {
                let stored = node.input.get(1).and_then(|name| self.constants.integers(name));
                let axes = attributes.get("axes").map(|attribute| attribute.ints.clone()).or(stored);
                let plane = matches!(axes.as_deref(), Some([2 | -2, 3 | -1] | [3 | -1, 2 | -2]));
                Ok((plane && attributes.int("keepdims", 1) == 1).then_some(Op::GlobalAveragePool))
            }
            _ => Ok(None),
        }
    }

    /// A value that nothing extracted makes, with as many features as a linear layer's weight calls for.
    fn features(&mut self, name: &str, weight: Option<&String>) -> Result<ValueId, Obstacle> {
        let dims = weight.and_then(|weight| self.constants.get(weight)).map(|tensor| &tensor.dims[..]);
        let Some(&[_, features]) = dims else {
            return Err(Obstacle::Computed { parameter: weight.cloned().unwrap_or_default() });
        };
        let impossible = |_| Obstacle::Form { reason: "its weight has an impossible shape".into() };
        let features = usize::try_from(features).map_err(impossible)?;
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

    /// Remembers what a node made.
    fn note(&mut self, node: &'a NodeProto) {
        for output in &node.output {
            self.made_by.insert(output, &node.op_type);
        }
        let of_first = OF_ONE_TYPE.contains(&node.op_type.as_str());
        let element =
            node.input.first().filter(|_| of_first).and_then(|name| self.elements.get(name.as_str())).copied();
        if let (Some(output), Some(element)) = (node.output.first(), element) {
            self.elements.entry(output).or_insert(element);
        }
    }

    fn add(
        &mut self,
        index: usize,
        node: &NodeProto,
        output: &str,
        op: Op,
        operands: &[ValueId],
    ) -> Result<(), Obstacle> {
        let mut name = label(node);
        if self.names.contains(&name) {
            name = format!("{name}#{index}");
        }
        let first = self.graph.nodes.len();
        let id = self.graph.add_node(name.clone(), op, operands);
        let id = id.map_err(|error| Obstacle::Form { reason: error.reason })?;
        self.graph.set_origin(first, Origin::Model(index));
        self.names.insert(name);
        self.made.insert(id);
        output.clone_into(&mut self.graph.value_mut(id).name);
        self.values.insert(output.to_owned(), id);
        Ok(())
    }

    /// Arithmetic with a constant for each channel of what an extracted node makes: a normalisation without statistics.
    /// It stands in the graph as one whose mean is 0 and variance 1.
    fn per_channel(&mut self, index: usize, node: &'a NodeProto) -> Result<bool, Obstacle> {
        let ([output], [first, second]) = (&node.output[..], &node.input[..]) else { return Ok(false) };
        let op = node.op_type.as_str();
        let (data, constant) = match (self.values.get(first), self.values.get(second)) {
            (Some(&data), None) => (data, second),
            (None, Some(&data)) if matches!(op, "Mul" | "Add") => (data, first),
            _ => return Ok(false),
        };
        let value = self.graph.value(data);
        let (element, made) = (value.element, self.made.contains(&data));
        let Some(channels) = value.shape.get(1).and_then(Dim::fixed).filter(|_| made) else { return Ok(false) };
        let Some(tensor) = self.constants.get(constant).filter(|tensor| tensor.data_type == element.to_proto()) else {
            return Ok(false);
        };
        let Ok(numbers) = tensor::to_f64(tensor) else { return Ok(false) };
        // One number, or one for each channel, aligned before height and width.
        let numbers = match (&numbers[..], &tensor.dims[..]) {
            (&[number], dims) if dims.len() <= 4 => vec![number; channels],
            (_, &[n, 1, 1] | &[1, n, 1, 1]) if n == channels as i64 => numbers,
            _ => return Ok(false),
        };
        if element.size() < 4 {
            return Err(Obstacle::Rounded { element });
        }
        let (scale, bias) = match op {
            "Mul" => (numbers, vec![0.0; channels]),
            "Div" => (numbers.iter().map(|n| 1.0 / n).collect(), vec![0.0; channels]),
            "Sub" => (vec![1.0; channels], numbers.iter().map(|n| -n).collect()),
            _ => (vec![1.0; channels], numbers),
        };
        let mut operands = vec![data];
        for (part, numbers) in
            [("scale", scale), ("bias", bias), ("mean", vec![0.0; channels]), ("variance", vec![1.0; channels])]
        {
            // Names in a model hold no NUL.
            let name = format!("{index}\0{part}");
            self.constants.insert(exact(&name, &[channels], numbers));
            let id = self.graph.add_weight(&name, Weight::stored(&name, &[channels]));
            self.graph.value_mut(id).element = element;
            operands.push(id);
        }
        self.add(index, node, output, Op::BatchNorm { epsilon: 0.0 }, &operands)?;
        Ok(true)
    }

    fn element(&self, name: &str) -> Result<ElementType, Obstacle> {
        let parameter = || name.to_owned();
        if self.overridable.contains(name) {
            return Err(Obstacle::Overridable { parameter: parameter() });
        }
        let tensor = self.constants.get(name).ok_or_else(|| Obstacle::Computed { parameter: parameter() })?;
        let extent = tensor::extent(tensor);
        extent.map(|(element, ..)| element).map_err(|error| Obstacle::Form { reason: error.to_string() })
    }

    fn constant(&mut self, name: &str, element: ElementType) -> Result<ValueId, Obstacle> {
        if let Some(&id) = self.values.get(name) {
            return Ok(id);
        }
        let dims = self.constants.get(name).map(|tensor| tensor.dims.clone()).unwrap_or_default();
        let shape: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let shape =
            shape.ok_or_else(|| Obstacle::Form { reason: format!("its parameter '{name}' has the shape {dims:?}") })?;
        let id = self.graph.add_weight(name, Weight::stored(name, &shape));
        self.graph.value_mut(id).element = element;
        self.values.insert(name.into(), id);
        Ok(id)
    }

    /// The value that a node works on: one made by an extracted node, or an input of the extracted part with as many channels
    /// as the weight calls for.
    fn data(&mut self, name: &str, op: &Op, weight: ValueId, element: ElementType) -> Result<ValueId, Obstacle> {
        if let Some(&id) = self.values.get(name) {
            let made = self.graph.value(id).element;
            return if made == element {
                Ok(id)
            } else {
                Err(Obstacle::OtherType { input: made, parameters: element })
            };
        }
        let dims = &self.graph.value(weight).shape;
        let channels = match (op, &dims[..]) {
            (Op::Conv(conv), [_, Dim::Fixed(inner), _, _]) => inner.checked_mul(conv.group),
            (Op::Conv(_), _) => return Err(Obstacle::Dimensions { dimensions: dims.len().saturating_sub(2) }),
            (_, [Dim::Fixed(channels)]) => Some(*channels),
            _ => None,
        };
        let channels =
            channels.ok_or_else(|| Obstacle::Form { reason: "its weight has an impossible shape".into() })?;
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
