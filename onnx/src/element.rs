//! Types of the elements of tensors: of weights, of what goes through a network, of a checkpoint's tensors.

use serde::{Deserialize, Serialize};

use crate::proto::tensor_proto::DataType;

/// Type of a tensor's elements: those that ONNX, torch's checkpoints and safetensors files have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// A byte that is 0 or 1.
    Bool,
}

impl ElementType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F64,
        Self::I64,
        Self::U64,
        Self::I32,
        Self::U32,
        Self::I16,
        Self::U16,
        Self::I8,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether its numbers are floating-point ones, as those of weights are.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Its largest finite number; of a 64-bit integer, the nearest that f64 holds.
    pub const fn max_finite(self) -> f64 {
        match self {
            Self::F32 => f32::MAX as f64,
            // 2^15 * (2 - 2^-10), IEEE 754-2019 table 3.5.
            Self::F16 => 65504.0,
            // f32's exponents with 8 bits of significand: 2^127 * (2 - 2^-7).
            Self::BF16 => 3.3895313892515355e38,
            Self::F64 => f64::MAX,
            Self::I64 => i64::MAX as f64,
            Self::U64 => u64::MAX as f64,
            Self::I32 => i32::MAX as f64,
            Self::U32 => u32::MAX as f64,
            Self::I16 => i16::MAX as f64,
            Self::U16 => u16::MAX as f64,
            Self::I8 => i8::MAX as f64,
            Self::U8 => u8::MAX as f64,
            Self::Bool => 1.0,
        }
    }

    /// `f32`, `bf16`, `i64`: what messages, JSON and options call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
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
            Self::U64 => DataType::Uint64,
            Self::I32 => DataType::Int32,
            Self::U32 => DataType::Uint32,
            Self::I16 => DataType::Int16,
            Self::U16 => DataType::Uint16,
            Self::I8 => DataType::Int8,
            Self::U8 => DataType::Uint8,
            Self::Bool => DataType::Bool,
        }) as i32
    }

    /// The reverse of [`ElementType::to_proto`]; `None` for types this crate does not handle and unknown numbers.
    pub fn from_proto(data_type: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.to_proto() == data_type)
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::TensorProto;
    use crate::raw;

    #[test]
    fn numbers_names_and_sizes_are_those_of_the_format() {
        for element in ElementType::ALL {
            assert_eq!(ElementType::from_proto(element.to_proto()), Some(element));
            assert_eq!(serde_json::to_string(&element).unwrap(), format!("\"{element}\""));
            let tensor = TensorProto { dims: vec![3], data_type: element.to_proto(), ..Default::default() };
            assert_eq!(raw::len(&tensor).unwrap(), 3 * element.size() as u64, "{element}");
        }
        assert_eq!(ElementType::from_proto(DataType::Int4 as i32), None);
        assert_eq!(ElementType::from_proto(-1), None);
        assert_eq!(format!("{:>5}|{:<5}|", ElementType::F16, ElementType::Bool), "  f16|bool |");
    }

    #[test]
    fn the_largest_numbers_are_those_of_the_types() {
        assert_eq!(ElementType::F16.max_finite(), half::f16::MAX.to_f64());
        assert_eq!(ElementType::BF16.max_finite(), half::bf16::MAX.to_f64());
        assert_eq!(ElementType::F32.max_finite() as f32, f32::MAX);
        assert_eq!(ElementType::I8.max_finite(), 127.0);
        let floats = ElementType::ALL.into_iter().filter(|element| element.is_float());
        assert_eq!(floats.map(ElementType::size).sum::<usize>(), 4 + 2 + 2 + 8);
    }
}
