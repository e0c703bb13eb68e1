//! Inputs and outputs of a model: their types and shapes, and whether they are for images.

use onnx_file::proto::tensor_proto::DataType;
use onnx_file::proto::tensor_shape_proto::dimension;
use onnx_file::proto::{ValueInfoProto, type_proto};
use serde::Serialize;

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// ONNX FLOAT.
    F32,
    /// ONNX FLOAT16.
    F16,
    /// ONNX BFLOAT16.
    Bf16,
    /// ONNX DOUBLE.
    F64,
    /// ONNX INT64.
    I64,
    /// ONNX INT8.
    I8,
    /// ONNX UINT8.
    U8,
    /// Any other.
    Other,
}

impl ElementType {
    /// The type of an ONNX element type number.
    pub(super) fn of(onnx: i32) -> Self {
        match DataType::try_from(onnx) {
            Ok(DataType::Float) => ElementType::F32,
            Ok(DataType::Float16) => ElementType::F16,
            Ok(DataType::Bfloat16) => ElementType::Bf16,
            Ok(DataType::Double) => ElementType::F64,
            Ok(DataType::Int64) => ElementType::I64,
            Ok(DataType::Int8) => ElementType::I8,
            Ok(DataType::Uint8) => ElementType::U8,
            _ => ElementType::Other,
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::Bf16 => "bf16",
            ElementType::F64 => "f64",
            ElementType::I64 => "i64",
            ElementType::I8 => "i8",
            ElementType::U8 => "u8",
            ElementType::Other => "other",
        })
    }
}

/// Arithmetic carried by a file, coarser last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of significand or more.
    F32,
    /// Tensor-core arithmetic with 11 bits on f32 operands.
    Tf32,
    /// 11 bits.
    F16,
    /// 8 bits.
    Bf16,
    /// Quantized to 8-bit integers.
    Int8,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        })
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub element_type: ElementType,
    /// Its extents, `None` where dynamic; no shape at all where the file gives none.
    pub shape: Option<Vec<Option<usize>>>,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.element_type)?;
        let Some(shape) = &self.shape else { return write!(f, " of unknown shape") };
        let extents: Vec<String> =
            shape.iter().map(|extent| extent.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
        write!(f, " [{}]", extents.join(", "))
    }
}

/// The one input that takes images, `[N, 3, H, W]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageInput {
    /// Its name.
    pub name: String,
    /// F32 or F16.
    pub element_type: ElementType,
    /// Fixed batch size, if it is fixed.
    pub batch: Option<usize>,
    /// Fixed height in pixels, if it is fixed.
    pub height: Option<usize>,
    /// Fixed width in pixels, if it is fixed.
    pub width: Option<usize>,
}

impl Port {
    /// Describes a value of the graph.
    pub(super) fn of(value: &ValueInfoProto) -> Port {
        let tensor = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
            Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
            _ => None,
        };
        let extent = |value: &Option<dimension::Value>| match value {
            Some(dimension::Value::DimValue(n)) => usize::try_from(*n).ok(),
            _ => None,
        };
        Port {
            name: value.name.clone(),
            element_type: tensor.map_or(ElementType::Other, |tensor| ElementType::of(tensor.elem_type)),
            shape: tensor
                .and_then(|tensor| tensor.shape.as_ref())
                .map(|shape| shape.dim.iter().map(|dim| extent(&dim.value)).collect()),
        }
    }
}

/// The port as an input for images, if it can be one.
pub(super) fn as_image(port: &Port) -> Option<ImageInput> {
    if !matches!(port.element_type, ElementType::F32 | ElementType::F16) {
        return None;
    }
    let [batch, channels, height, width] = port.shape.as_deref()? else { return None };
    // A dynamic channel count is taken for 3: a fully dynamic export says no more.
    if channels.is_some_and(|channels| channels != 3) {
        return None;
    }
    Some(ImageInput {
        name: port.name.clone(),
        element_type: port.element_type,
        batch: *batch,
        height: *height,
        width: *width,
    })
}

/// Whether the port takes images with the channels last.
pub(super) fn is_channels_last(port: &Port) -> bool {
    matches!(port.shape.as_deref(), Some([_, _, _, Some(3)]))
}
