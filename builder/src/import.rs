//! From an ONNX model back to a graph: ours, and other exporters' classifiers of the same operators.
//!
//! Every node must be understood wholly; what is not is an error that names the node, never a guess.

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension,
    type_proto,
};
use onnx_file::raw::TensorError;
use onnx_file::tensor;

use crate::graph::{Conv, Dim, Graph, Op, Origin, Pool, Shape, ValueId};
use crate::shape::ShapeError;
use crate::weight::{Read, Weight};

/// Why a model could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A node that the graph has no operator for, or in a form it does not know.
    #[error("node '{node}' ({op}): {reason}")]
    Node {
        /// The node, or its first output where it has no name.
        node: String,
        /// Its operator.
        op: String,
        /// What is not understood.
        reason: String,
    },
    /// The model does not take one image.
    #[error("the model should have one input [N, 3, H, W]; it has {found}")]
    Input {
        /// What it has.
        found: String,
    },
    /// An initializer.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Operands do not fit.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A model as a graph, with its weights.
#[derive(Debug)]
pub struct Imported {
    /// The graph; its weights are [`Weight::Stored`] by initializer name.
    pub graph: Graph,
    /// The initializers.
    pub weights: Initializers,
}

/// A model's weights by name.
#[derive(Debug, Default)]
pub struct Initializers(pub(crate) HashMap<String, TensorProto>);

impl Read for Initializers {
    type Error = TensorError;

    fn read_f32(&mut self, name: &str, _shape: &[usize]) -> Result<Vec<f32>, TensorError> {
        tensor::to_f32(self.0.get(name).unwrap_or(&TensorProto::default()))
    }

    fn read_f64(&mut self, name: &str, _shape: &[usize]) -> Result<Vec<f64>, TensorError> {
        tensor::to_f64(self.0.get(name).unwrap_or(&TensorProto::default()))
    }
}

/// Reads `model`, whose external data is loaded, as a graph. With `open`, input extents that the model leaves to run
/// time become these.
///
/// # Errors
/// [`ImportError`], naming the first node that is not understood.
pub fn import(model: ModelProto, open: Option<[usize; 4]>) -> Result<Imported, ImportError> {
    let GraphProto { node, initializer, input, output, .. } = model.graph.unwrap_or_default();
    let weights: HashMap<String, TensorProto> = initializer.into_iter().map(|t| (t.name.clone(), t)).collect();
    let mut importer =
        Importer { graph: Graph::default(), values: HashMap::new(), weights, dequantized: HashSet::new() };
    let images: Vec<&ValueInfoProto> = input.iter().filter(|i| !importer.weights.contains_key(&i.name)).collect();
    let [image] = images[..] else {
        let names: Vec<&str> = images.iter().map(|p| p.name.as_str()).collect();
        return Err(ImportError::Input { found: format!("{} ({})", names.len(), names.join(", ")) });
    };
    let shape = declared_shape(image).filter(|s| s.len() == 4);
    let shape = shape.ok_or_else(|| ImportError::Input { found: format!("'{}' of another shape", image.name) })?;
    let settle = |(axis, dim): (usize, Dim)| match (dim, open) {
        (Dim::Named(_) | Dim::Unknown, Some(open)) => Dim::Fixed(open[axis]),
        (dim, _) => dim,
    };
    let shape = shape.into_iter().enumerate().map(settle).collect();
    let id = importer.graph.add_input(&image.name, shape);
    importer.graph.value_mut(id).element = declared_element(image)?;
    importer.values.insert(image.name.clone(), id);
    for (position, node) in node.iter().enumerate() {
        let first = importer.graph.nodes.len();
        importer.node(node)?;
        importer.graph.set_origin(first, Origin::Model(position));
    }
    for output in &output {
        let id = importer.values.get(&output.name).copied();
        let id =
            id.ok_or_else(|| ImportError::Input { found: format!("an output '{}' that nothing makes", output.name) })?;
        importer.graph.outputs.push(id);
    }
    Ok(Imported { graph: importer.graph, weights: Initializers(importer.weights) })
}

fn declared_element(image: &ValueInfoProto) -> Result<ElementType, ImportError> {
    let number = match image.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type,
        _ => 0,
    };
    let element = ElementType::from_proto(number);
    element.ok_or_else(|| ImportError::Input { found: format!("'{}' of ONNX type {number}", image.name) })
}

fn declared_shape(value: &ValueInfoProto) -> Option<Shape> {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref()?.value.as_ref() else { return None };
    let dim = |dim: &onnx_file::proto::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(n)) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Fixed),
        Some(dimension::Value::DimParam(name)) => Dim::Named(name.clone()),
        None => Dim::Unknown,
    };
    Some(tensor.shape.as_ref()?.dim.iter().map(dim).collect())
}

struct Importer {
    graph: Graph,
    values: HashMap<String, ValueId>,
    weights: HashMap<String, TensorProto>,
    /// Values that a DequantizeLinear makes of constants: weights in another form.
    dequantized: HashSet<ValueId>,
}

impl Importer {
    fn node(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let wrong = |reason: String| ImportError::Node { node: label(node), op: node.op_type.clone(), reason };
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(wrong(format!("its domain '{}' is not ONNX's own", node.domain)));
        }
        let output = match node.output.iter().filter(|o| !o.is_empty()).collect::<Vec<_>>()[..] {
            [output] => output.clone(),
            _ => return Err(wrong("it should have one output".into())),
        };
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).filter(|i| !i.is_empty()).collect();
        if node.op_type == "Identity"
            && let [source] = inputs[..]
        {
            return self.identity(source, output).map_err(wrong);
        }
        if self.alias_or_constant(node, &inputs, &output).map_err(wrong)? {
            return Ok(());
        }
        if self.tail(node, &inputs, &output).map_err(wrong)? {
            return Ok(());
        }
        let weight = inputs.get(1).and_then(|name| self.weights.get(*name)).map(|tensor| tensor.dims.clone());
        let op = Attributes(&node.attribute).op(&node.op_type, &weight.unwrap_or_default()).map_err(wrong)?;
        let operands = inputs.iter().map(|name| self.operand(name)).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        self.check_constants(&op, &operands).map_err(wrong)?;
        let op = self.settled(op, node).map_err(wrong)?;
        let id = self.graph.add_node(output.clone(), op, &operands)?;
        if matches!(op, Op::DequantizeLinear { .. }) && self.graph.value(operands[0]).weight.is_some() {
            self.dequantized.insert(id);
        }
        if op == Op::Cast {
            self.graph.value_mut(id).element = Attributes(&node.attribute).cast_to().map_err(wrong)?;
        }
        self.values.insert(output, id);
        Ok(())
    }

    /// A constant in a node of its own, or a node that changes nothing once a network is trained.
    fn alias_or_constant(&mut self, node: &NodeProto, inputs: &[&str], output: &str) -> Result<bool, String> {
        match (node.op_type.as_str(), inputs) {
            ("Constant", []) => {
                let value = Attributes(&node.attribute).get("value").and_then(|attribute| attribute.t.clone());
                let value = value.ok_or("a constant without a tensor")?;
                self.weights.insert(output.to_owned(), TensorProto { name: output.to_owned(), ..value });
                Ok(true)
            }
            ("Dropout", [source, ..]) => self.identity(source, output.to_owned()).map(|()| true),
            _ => Ok(false),
        }
    }

    /// The forms in which exporters write the end of a classifier: a mean over height and width as ReduceMean, and the
    /// step from `[N, C, 1, 1]` to `[N, C]` as Reshape or Squeeze. `false` for all else.
    fn tail(&mut self, node: &NodeProto, inputs: &[&str], output: &str) -> Result<bool, String> {
        let attributes = Attributes(&node.attribute);
        let Some(&id) = inputs.first().and_then(|name| self.values.get(*name)) else { return Ok(false) };
        let shape: Vec<Option<usize>> = self.graph.value(id).shape.iter().map(Dim::fixed).collect();
        let numbers = |name: &str| -> Option<Vec<i64>> {
            let given = attributes.get(name).map(|attribute| attribute.ints.clone());
            given.or_else(|| integers(self.weights.get(*inputs.get(1)?)?))
        };
        let is_flat = matches!(shape[..], [_, _, Some(1), Some(1)]);
        let is_plane = |axes: &[i64]| {
            let axes: Vec<i64> = axes.iter().map(|axis| if *axis < 0 { axis + 4 } else { *axis }).collect();
            shape.len() == 4 && matches!(axes[..], [2, 3] | [3, 2])
        };
        let refusal = |what: &str| Err(format!("{what}; only what a classifier ends in is understood"));
        match node.op_type.as_str() {
            "ReduceMean" => {
                attributes.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
                if !numbers("axes").is_some_and(|axes| is_plane(&axes)) {
                    return refusal("it takes the mean over other axes than height and width");
                }
                let keeps = attributes.int("keepdims", 1) == 1;
                let mean = if keeps { output.to_owned() } else { format!("{output}/mean") };
                let mut id = self.graph.add_node(mean, Op::GlobalAveragePool, &[id]).map_err(|e| e.to_string())?;
                if !keeps {
                    id = self.graph.add_node(output, Op::Flatten, &[id]).map_err(|e| e.to_string())?;
                }
                self.values.insert(output.to_owned(), id);
            }
            "Reshape" | "Squeeze" => {
                let (batch, channels) = (shape.first().copied().flatten(), shape.get(1).copied().flatten());
                let is =
                    |number: i64, extent: Option<usize>| usize::try_from(number).ok() == extent && extent.is_some();
                let fits = match (node.op_type.as_str(), numbers("axes").as_deref()) {
                    ("Squeeze", Some(axes)) => is_plane(axes),
                    ("Reshape", Some([first, second])) => {
                        let first_fits = matches!(first, 0 | -1) || is(*first, batch);
                        let second_fits = *second == -1 || is(*second, channels);
                        first_fits && second_fits && (*first, *second) != (-1, -1)
                    }
                    _ => false,
                };
                if !fits || !(is_flat || shape.len() == 2 && node.op_type == "Reshape") {
                    return refusal("it gives another shape than [N, C]");
                }
                let id = if shape.len() == 2 {
                    id
                } else {
                    self.graph.add_node(output, Op::Flatten, &[id]).map_err(|e| e.to_string())?
                };
                self.values.insert(output.to_owned(), id);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An alias: of a value, or of a weight under a second name.
    fn identity(&mut self, source: &str, output: String) -> Result<(), String> {
        match (self.values.get(source).copied(), self.weights.get(source)) {
            (Some(id), _) => drop(self.values.insert(output, id)),
            (None, Some(weight)) => {
                let weight = TensorProto { name: output.clone(), ..weight.clone() };
                self.weights.insert(output, weight);
            }
            (None, None) => return Err(format!("nothing before it makes '{source}'")),
        }
        Ok(())
    }

    /// The operator with what its constant inputs say: where a Slice starts and ends, and how much a Pad adds.
    fn settled(&self, op: Op, node: &NodeProto) -> Result<Op, String> {
        let numbers = |input: usize| node.input.get(input).and_then(|name| integers(self.weights.get(name)?));
        match op {
            Op::Slice { .. } => match (numbers(1).as_deref(), numbers(2).as_deref(), numbers(3).as_deref()) {
                (Some(&[start]), Some(&[end]), Some([1])) if node.input.len() == 4 && (0..end).contains(&start) => {
                    Ok(Op::Slice { start: start as usize, len: (end - start) as usize })
                }
                _ => Err("only channels next to each other, by constants, are understood".into()),
            },
            Op::Pad { .. } => match numbers(1).as_deref() {
                Some(&[0, 0, 0, 0, 0, channels, 0, 0]) if channels >= 0 => Ok(Op::Pad { channels: channels as usize }),
                _ => Err("only channels behind the others are understood".into()),
            },
            op => Ok(op),
        }
    }

    /// Refuses a parameter that is computed, and an operator on a constant: nothing here folds them.
    fn check_constants(&self, op: &Op, operands: &[ValueId]) -> Result<(), String> {
        if matches!(op, Op::DequantizeLinear { .. }) && operands.iter().all(|id| self.graph.value(*id).weight.is_some())
        {
            return Ok(());
        }
        let data = op.data_inputs(operands.len());
        for (index, &id) in operands.iter().enumerate() {
            let value = self.graph.value(id);
            match (index < data, value.weight.is_some() || self.dequantized.contains(&id)) {
                (true, true) => {
                    return Err(format!("it computes on the constant '{}'; fold constants first", value.name));
                }
                (false, false) => {
                    return Err(format!("its parameter '{}' is computed; fold constants first", value.name));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn operand(&mut self, name: &str) -> Result<ValueId, String> {
        if let Some(&id) = self.values.get(name) {
            return Ok(id);
        }
        let tensor = self.weights.get(name).ok_or_else(|| format!("nothing before it makes '{name}'"))?;
        let (element, ..) = tensor::extent(tensor).map_err(|error| error.to_string())?;
        let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
        let id = self.graph.add_weight(name, Weight::stored(name, &shape));
        self.graph.value_mut(id).element = element;
        self.values.insert(name.into(), id);
        Ok(id)
    }
}

/// A constant of 64-bit integers.
pub(crate) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != ElementType::I64.to_proto() {
        return None;
    }
    if !tensor.int64_data.is_empty() {
        return Some(tensor.int64_data.clone());
    }
    Some(tensor.raw_data.chunks_exact(8).filter_map(|c| c.try_into().ok()).map(i64::from_le_bytes).collect())
}

/// A node's name, or its first output's where it has none.
pub(crate) fn label(node: &NodeProto) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// A node's attributes; each must be known to the operator that has it.
pub(crate) struct Attributes<'a>(pub(crate) &'a [AttributeProto]);

impl Attributes<'_> {
    /// The operator called `name` with these attributes, or why it is not understood.
    /// `weight` is the shape of its second input, which a convolution's window follows where it is not written.
    pub(crate) fn op(&self, name: &str, weight: &[i64]) -> Result<Op, String> {
        match name {
            "Conv" => {
                self.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
                let group = usize::try_from(self.int("group", 1)).map_err(|_| "a negative group")?;
                let window = match *weight {
                    [_, _, height, width] => usize::try_from(height).ok().zip(usize::try_from(width).ok()),
                    _ => None,
                };
                let kernel = self.sizes("kernel_shape", window.map(|(height, width)| [height, width]))?;
                let padding = self.padding()?;
                let [stride, dilation] = [self.sizes("strides", Some([1; 2]))?, self.sizes("dilations", Some([1; 2]))?];
                Ok(Op::Conv(Conv { group, kernel, stride, padding, dilation }))
            }
            "BatchNormalization" => {
                self.only(&["epsilon", "momentum", "training_mode", "spatial"])?;
                self.expect("training_mode", 0)?;
                let stored = self.get("epsilon").map_or(1e-5, |a| f64::from(a.f));
                // The attribute is a binary32; 1e-5 means the decimal that every framework computes with.
                Ok(Op::BatchNorm { epsilon: if stored == f64::from(1e-5f32) { 1e-5 } else { stored } })
            }
            "Relu" => self.only(&[]).map(|()| Op::Relu),
            "Add" => self.only(&[]).map(|()| Op::Add),
            "Sum" => self.only(&[]).map(|()| Op::Sum),
            "Concat" => {
                self.only(&["axis"])?;
                self.expect("axis", 1).map(|()| Op::Concat)
            }
            "MaxPool" => {
                self.only(&["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"])?;
                self.expect("ceil_mode", 0)?;
                if self.sizes("dilations", Some([1; 2]))? != [1; 2] {
                    return Err("dilated pooling".into());
                }
                let (kernel, stride) = (self.sizes("kernel_shape", None)?, self.sizes("strides", Some([1; 2]))?);
                Ok(Op::MaxPool(Pool { kernel, stride, padding: self.padding()? }))
            }
            "GlobalAveragePool" => self.only(&[]).map(|()| Op::GlobalAveragePool),
            "Flatten" => {
                self.only(&["axis"])?;
                if self.int("axis", 1) == 1 { Ok(Op::Flatten) } else { Err("it should flatten from axis 1".into()) }
            }
            "Gemm" => {
                self.only(&["alpha", "beta", "transA", "transB"])?;
                for scale in ["alpha", "beta"] {
                    if self.get(scale).is_some_and(|a| a.f != 1.0) {
                        return Err(format!("{scale} should be 1"));
                    }
                }
                if self.int("transA", 0) != 0 || self.int("transB", 0) != 1 {
                    return Err("it should be x W^T + b".into());
                }
                Ok(Op::Gemm)
            }
            "QuantizeLinear" | "DequantizeLinear" => {
                self.only(&["axis", "block_size", "output_dtype", "saturate"])?;
                for (attribute, usual) in [("block_size", 0), ("output_dtype", 0)] {
                    self.expect(attribute, usual)?;
                }
                let axis = usize::try_from(self.int("axis", 1)).map_err(|_| "an axis counted from the end")?;
                let quantize = name == "QuantizeLinear";
                Ok(if quantize { Op::QuantizeLinear { axis } } else { Op::DequantizeLinear { axis } })
            }
            // Where it starts and how much it adds stands in constants.
            "Slice" => self.only(&[]).map(|()| Op::Slice { start: 0, len: 0 }),
            "Pad" => {
                self.only(&["mode"])?;
                match self.get("mode") {
                    Some(mode) if &mode.s[..] != b"constant" => Err("only a constant is filled in".into()),
                    _ => Ok(Op::Pad { channels: 0 }),
                }
            }
            "Clip" => self.only(&[]).map(|()| Op::Clip),
            // To which type is for the value it makes to say. `saturate` is about float8.
            "Cast" => self.only(&["to", "saturate"]).map(|()| Op::Cast),
            _ => Err("no operator of a ResNet or ResNeXt".into()),
        }
    }

    /// The type that a Cast converts to.
    fn cast_to(&self) -> Result<ElementType, String> {
        let number = self.int("to", 0);
        let element = i32::try_from(number).ok().and_then(ElementType::from_proto);
        element.ok_or_else(|| format!("it converts to ONNX type {number}, which is not known here"))
    }

    /// An attribute of several integers.
    pub(crate) fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        self.get(name).map(|attribute| attribute.ints.clone())
    }

    fn get(&self, name: &str) -> Option<&AttributeProto> {
        self.0.iter().find(|a| a.name == name)
    }

    fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(attribute) => Err(format!("its attribute '{}' is not understood", attribute.name)),
            None => Ok(()),
        }
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |a| a.i)
    }

    fn expect(&self, name: &str, value: i64) -> Result<(), String> {
        let found = self.int(name, value);
        if found == value { Ok(()) } else { Err(format!("{name} is {found}, not {value}")) }
    }

    fn ints<const N: usize>(&self, name: &str, default: Option<[usize; N]>) -> Result<[usize; N], String> {
        let Some(attribute) = self.get(name) else { return default.ok_or_else(|| format!("it lacks '{name}'")) };
        let sizes: Option<Vec<usize>> =
            attribute.ints.iter().map(|&n| usize::try_from(n).ok().filter(|n| *n < 1 << 16)).collect();
        sizes
            .and_then(|s| s.try_into().ok())
            .ok_or_else(|| format!("{name} is {:?}; two dimensions are needed", attribute.ints))
    }

    /// Extents of a window: at least 1.
    fn sizes(&self, name: &str, default: Option<[usize; 2]>) -> Result<[usize; 2], String> {
        let sizes = self.ints(name, default)?;
        if sizes.contains(&0) { Err(format!("{name} holds a zero")) } else { Ok(sizes) }
    }

    fn padding(&self) -> Result<[usize; 4], String> {
        let automatic = self.get("auto_pad").is_some_and(|a| !matches!(&a.s[..], b"NOTSET" | b""));
        if automatic {
            Err("automatic padding; export with explicit pads".into())
        } else {
            self.ints("pads", Some([0; 4]))
        }
    }
}
