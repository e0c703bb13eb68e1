//! What a graph is made of: values with their types and shapes, and the operators that make them.
//!
//! Nothing here knows the graph, so that shapes can be inferred (`shape.rs`) before a node is in one.

use std::fmt;

use onnx_file::element::ElementType;

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
    /// Real numbers to 8-bit integers (ONNX QuantizeLinear-13): x / scale rounded half to even, plus the zero point,
    /// saturated. Inputs: data, scale, zero point, which has the type of the result. Scale and zero point are one number,
    /// or one for each index along `axis`.
    QuantizeLinear {
        /// The dimension that scales belong to, where there are several.
        axis: usize,
    },
    /// Integers to real numbers (ONNX DequantizeLinear-13): (x - zero point) * scale. Inputs: data, scale, and the zero
    /// point where it is not 0; as in [`Op::QuantizeLinear`].
    DequantizeLinear {
        /// The dimension that scales belong to, where there are several.
        axis: usize,
    },
    /// Neighbouring channels of a value (ONNX Slice-13 along axis 1); inputs: data, starts, ends, axes.
    Slice {
        /// First channel kept.
        start: usize,
        /// Number of channels kept.
        len: usize,
    },
    /// More channels behind those of a value (ONNX Pad-13); inputs: data, pads, the number to fill them with.
    Pad {
        /// Channels added.
        channels: usize,
    },
    /// min(max(x, low), high) (ONNX Clip-13); inputs: data, low, high.
    Clip,
}

impl Op {
    /// How many of `operands` inputs are data; what follows are parameters.
    pub const fn data_inputs(&self, operands: usize) -> usize {
        match self {
            Op::Add | Op::Sum | Op::Concat => operands,
            _ => 1,
        }
    }

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
            Op::QuantizeLinear { .. } => "QuantizeLinear",
            Op::DequantizeLinear { .. } => "DequantizeLinear",
            Op::Slice { .. } => "Slice",
            Op::Pad { .. } => "Pad",
            Op::Clip => "Clip",
        }
    }
}
