//! A named, dense, row-major tensor on the host: what goes into a model and what comes out.

use half::f16;
use onnx_file::element::ElementType;

/// Element storage, one variant for each ONNX element type the harness moves.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// ONNX FLOAT.
    F32(Vec<f32>),
    /// ONNX FLOAT16.
    F16(Vec<f16>),
    /// ONNX DOUBLE.
    F64(Vec<f64>),
    /// ONNX INT64.
    I64(Vec<i64>),
    /// ONNX UINT8.
    U8(Vec<u8>),
    /// ONNX INT8.
    I8(Vec<i8>),
    /// ONNX INT32.
    I32(Vec<i32>),
    /// ONNX BOOL.
    Bool(Vec<bool>),
}

impl Data {
    /// The elements as f64, which holds every f16, f32 and u8 exactly and integers up to 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Data::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Data::F16(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Data::F64(values) => values.clone(),
            Data::I64(values) => values.iter().map(|&value| value as f64).collect(),
            Data::U8(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Data::I8(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Data::I32(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Data::Bool(values) => values.iter().map(|&value| f64::from(u8::from(value))).collect(),
        }
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Data::F32(_) => ElementType::F32,
            Data::F16(_) => ElementType::F16,
            Data::F64(_) => ElementType::F64,
            Data::I64(_) => ElementType::I64,
            Data::U8(_) => ElementType::U8,
            Data::I8(_) => ElementType::I8,
            Data::I32(_) => ElementType::I32,
            Data::Bool(_) => ElementType::Bool,
        }
    }
}

/// A tensor with its name; `shape` in elements, outermost first, its product equal to the number of elements in `data`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name of the model input or output.
    pub name: String,
    /// Extent of each dimension, for images `[N, 3, H, W]`.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Data,
}
