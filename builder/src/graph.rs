//! The network as data: values joined by nodes, every weight a recipe over the tensors of a source.
//!
//! Typed ids make the edges; names only label. A node has one output. Nodes stand in an order in which each value is
//! made before it is used. Weights are not held here: a [`Weight`] says how to compute one from named tensors, so that
//! a pass over a 3 GB network costs microseconds and the exporter can stream.

use std::fmt;

use onnx_file::element::ElementType;

use crate::shape::{self, ShapeError};
use crate::weight::Weight;

/// Index of a [`Value`] in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

/// Extent of one dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// Rationale at run time, under this name.
    Named(String),
    /// Follows from dimensions chosen at run time.
    Unknown,
}

impl Dim {
    /// The extent, where it is known.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Dim::Fixed(n) => Some(*n),
            Dim::Named(_) | Dim::Unknown => None,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Named(name) => f.write_str(name),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// Dimensions, outermost first; images and feature maps are `[N, C, H, W]`.
pub type Shape = Vec<Dim>;

/// A fixed shape.
pub fn fixed(dims: &[usize]) -> Shape {
    dims.iter().map(|&n| Dim::Fixed(n)).collect()
}

/// An edge of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique in the graph.
    pub name: String,
    /// Type of its elements.
    pub element: ElementType,
    /// Its dimensions.
    pub shape: Shape,
    /// How to compute it, if it is a constant.
    pub weight: Option<Weight>,
}

/// Geometry of a two-dimensional convolution (ONNX Conv-11). The weight is
/// `[out_channels, in_channels / group, kH, kW]`, the optional bias `[out_channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Number of groups: the cardinality, where it is a ResNeXt block's 3x3.
    pub group: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros added at top, left, bottom, right.
    pub padding: [usize; 4],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
}

impl Conv {
    /// A square kernel with the same stride and padding on every side.
    pub const fn square(kernel: usize, stride: usize, padding: usize, group: usize) -> Self {
        Self { group, kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2] }
    }
}

/// Geometry of a two-dimensional pooling window (ONNX MaxPool-12, ceil_mode 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding at top, left, bottom, right.
    pub padding: [usize; 4],
}

/// The operators a ResNeXt is made of. Inputs are in ONNX order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Inputs: data, weight, optional bias.
    Conv(Conv),
    /// Inference-mode BatchNormalization-15; inputs: data, scale, bias, mean, variance, each `[C]`.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// max(x, 0).
    Relu,
    /// Element-wise sum of two values of one shape.
    Add,
    /// Element-wise sum of any number of values of one shape (ONNX Sum-13).
    Sum,
    /// Joins values along the channels (axis 1).
    Concat,
    /// Maximum over windows.
    MaxPool(Pool),
    /// Mean over H and W, which stay as 1 x 1.
    GlobalAveragePool,
    /// `[N, C, 1, 1]` to `[N, C]`.
    Flatten,
    /// y = x W^T + b with W `[out, in]` (ONNX Gemm-13, transB = 1); inputs: data, weight, bias.
    Gemm,
    /// Converts the elements to the type of the output value.
    Cast,
}

impl Op {
    /// The ONNX operator's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::BatchNorm { .. } => "BatchNormalization",
            Op::Relu => "Relu",
            Op::Add => "Add",
            Op::Sum => "Sum",
            Op::Concat => "Concat",
            Op::MaxPool(_) => "MaxPool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Flatten => "Flatten",
            Op::Gemm => "Gemm",
            Op::Cast => "Cast",
        }
    }
}

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

    /// Appends a node and the value it makes, both called `name`; the value's type is that of the first input.
    ///
    /// # Errors
    /// [`ShapeError`] if the operator cannot take these inputs.
    pub fn add_node(&mut self, name: impl Into<String>, op: Op, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        let name = name.into();
        let operands: Vec<&Value> = inputs.iter().map(|&id| self.value(id)).collect();
        let shape = shape::infer(&name, &op, &operands)?;
        let element = operands.first().map_or(ElementType::F32, |v| v.element);
        let output = self.add_value(Value { name: name.clone(), element, shape, weight: None });
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output });
        Ok(output)
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
