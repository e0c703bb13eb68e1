//! Element types of networks, and the numbers of a `TensorProto` in one of them.

use half::{bf16, f16};

use crate::proto::{TensorProto, tensor_proto::DataType};
use crate::raw;

/// Element types that a convolutional network's weights and values come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    BF16,
    /// IEEE 754 binary64.
    F64,
    /// Signed 64-bit integer (shapes, axes).
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
}

impl ElementType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// The number `TensorProto.data_type` and `TypeProto.Tensor.elem_type` use.
    pub const fn to_proto(self) -> i32 {
        (match self {
            Self::F32 => DataType::Float,
            Self::F16 => DataType::Float16,
            Self::BF16 => DataType::Bfloat16,
            Self::F64 => DataType::Double,
            Self::I64 => DataType::Int64,
            Self::I32 => DataType::Int32,
            Self::I8 => DataType::Int8,
            Self::U8 => DataType::Uint8,
        }) as i32
    }

    /// The reverse of [`ElementType::to_proto`]; `None` for types this crate does not handle and unknown numbers.
    pub fn from_proto(data_type: i32) -> Option<Self> {
        Some(match DataType::try_from(data_type).ok()? {
            DataType::Float => Self::F32,
            DataType::Float16 => Self::F16,
            DataType::Bfloat16 => Self::BF16,
            DataType::Double => Self::F64,
            DataType::Int64 => Self::I64,
            DataType::Int32 => Self::I32,
            DataType::Int8 => Self::I8,
            DataType::Uint8 => Self::U8,
            _ => return None,
        })
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I8 => "i8",
            Self::U8 => "u8",
        })
    }
}

/// Why a `TensorProto` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The element type is not one of [`ElementType`].
    #[error("tensor '{name}' has ONNX data type {data_type}, which is not supported here; re-export it as float")]
    Type {
        /// Tensor name.
        name: String,
        /// The number in the file.
        data_type: i32,
    },
    /// A dimension is negative or the product overflows.
    #[error("tensor '{name}' has the impossible shape {dims:?}; the file is damaged")]
    Shape {
        /// Tensor name.
        name: String,
        /// The dimensions in the file.
        dims: Vec<i64>,
    },
    /// The data is shorter or longer than the shape says.
    #[error("tensor '{name}' of shape {dims:?} needs {expected} bytes and holds {found}; the file is damaged")]
    Length {
        /// Tensor name.
        name: String,
        /// The dimensions in the file.
        dims: Vec<i64>,
        /// Bytes that the shape and type call for.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The data is not in the field that its type is stored in, or in several.
    #[error(
        "tensor '{name}' of ONNX data type {data_type} keeps its data in {found}, where {expected} or raw_data belongs; the file is damaged"
    )]
    Field {
        /// Tensor name.
        name: String,
        /// The number in the file.
        data_type: i32,
        /// The field of its type.
        expected: &'static str,
        /// Fields with data.
        found: String,
    },
    /// A number that its type cannot hold.
    #[error("tensor '{name}' of ONNX data type {data_type} holds {value} at index {index}; the file is damaged")]
    Entry {
        /// Tensor name.
        name: String,
        /// The number in the file.
        data_type: i32,
        /// Index in its field.
        index: usize,
        /// What is there.
        value: String,
    },
    /// The tensor's data lies in another file and was not loaded.
    #[error("the data of tensor '{name}' lies in another file; load it with the model's own folder as base")]
    External {
        /// Tensor name.
        name: String,
    },
}

/// Number of elements and bytes that `tensor`'s type and dimensions call for, checked against overflow.
///
/// # Errors
/// [`TensorError::Type`] and [`TensorError::Shape`].
pub fn extent(tensor: &TensorProto) -> Result<(ElementType, u64, u64), TensorError> {
    let element = ElementType::from_proto(tensor.data_type)
        .ok_or_else(|| TensorError::Type { name: tensor.name.clone(), data_type: tensor.data_type })?;
    Ok((element, raw::count(tensor)?, raw::len(tensor)?))
}

/// The elements of `tensor` as f64, whichever way and in whichever of the supported types they are stored.
///
/// # Errors
/// Any [`TensorError`].
pub fn to_f64(tensor: &TensorProto) -> Result<Vec<f64>, TensorError> {
    convert(tensor, |v| v, f64::from)
}

/// The elements of `tensor` as f32: exact from f32, f16, bf16 and small integers, rounded to nearest from f64 and i64.
///
/// # Errors
/// Any [`TensorError`].
pub fn to_f32(tensor: &TensorProto) -> Result<Vec<f32>, TensorError> {
    convert(tensor, |v| v as f32, |v| v)
}

/// Reads every stored form; `wide` takes what does not fit f32 exactly, `narrow` what does.
fn convert<T>(
    tensor: &TensorProto,
    wide: impl Fn(f64) -> T + Copy,
    narrow: impl Fn(f32) -> T + Copy,
) -> Result<Vec<T>, TensorError> {
    let (element, ..) = extent(tensor)?;
    if tensor.data_location == crate::proto::tensor_proto::DataLocation::External as i32 {
        return Err(TensorError::External { name: tensor.name.clone() });
    }
    let raw = &raw::bytes(tensor)?[..];
    Ok(match element {
        ElementType::F32 => raw.as_chunks::<4>().0.iter().map(|&b| narrow(f32::from_le_bytes(b))).collect(),
        ElementType::F64 => raw.as_chunks::<8>().0.iter().map(|&b| wide(f64::from_le_bytes(b))).collect(),
        ElementType::I64 => raw.as_chunks::<8>().0.iter().map(|&b| wide(i64::from_le_bytes(b) as f64)).collect(),
        ElementType::I32 => raw.as_chunks::<4>().0.iter().map(|&b| wide(f64::from(i32::from_le_bytes(b)))).collect(),
        ElementType::F16 => raw.as_chunks::<2>().0.iter().map(|&b| narrow(f16::from_le_bytes(b).to_f32())).collect(),
        ElementType::BF16 => raw.as_chunks::<2>().0.iter().map(|&b| narrow(bf16::from_le_bytes(b).to_f32())).collect(),
        ElementType::I8 => raw.iter().map(|&b| narrow(f32::from(b as i8))).collect(),
        ElementType::U8 => raw.iter().map(|&b| narrow(f32::from(b))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: ElementType, dims: &[i64], raw: Vec<u8>) -> TensorProto {
        TensorProto {
            name: "t".into(),
            dims: dims.to_vec(),
            data_type: data_type.to_proto(),
            raw_data: raw.into(),
            ..Default::default()
        }
    }

    #[test]
    fn raw_and_typed_fields_hold_the_same_numbers() {
        let raw = tensor(ElementType::F16, &[2], [0x00, 0x3c, 0x00, 0xc0].to_vec());
        let mut typed = tensor(ElementType::F16, &[2], vec![]);
        typed.int32_data = vec![0x3c00, 0xc000];
        assert_eq!(to_f32(&raw).unwrap(), [1.0, -2.0]);
        assert_eq!(to_f64(&typed).unwrap(), [1.0, -2.0]);
    }

    #[test]
    fn a_short_tensor_is_refused() {
        assert!(matches!(to_f32(&tensor(ElementType::F32, &[2], vec![0; 4])), Err(TensorError::Length { .. })));
        let mut typed = tensor(ElementType::F32, &[2], vec![]);
        typed.float_data = vec![1.0];
        assert!(matches!(to_f32(&typed), Err(TensorError::Length { .. })));
    }

    #[test]
    fn impossible_shapes_are_refused_before_anything_is_allocated() {
        for dims in [vec![-1], vec![i64::MAX, i64::MAX], vec![1 << 62, 4]] {
            assert!(matches!(to_f32(&tensor(ElementType::F32, &dims, vec![])), Err(TensorError::Shape { .. })));
        }
        assert!(matches!(to_f32(&tensor(ElementType::F32, &[1 << 40], vec![])), Err(TensorError::Length { .. })));
    }
}
