//! The numbers of a constant.

use ndarray::{ArrayD, IxDyn};
use onnx_file::element::ElementType;
use onnx_file::proto::TensorProto;
use onnx_file::{raw, tensor};

use super::shapes::MAX_RANK;
use crate::weight::to_half;

/// Numbers and their type. f64 holds all that occurs: of integers beyond 2^53 only the ends of their range, which stand for
/// "to the end" in slices, and others that it does not round.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) element: ElementType,
    pub(super) numbers: ArrayD<f64>,
}

impl Value {
    pub(super) fn new(element: ElementType, dims: &[usize], numbers: Vec<f64>) -> Option<Self> {
        Some(Self { element, numbers: ArrayD::from_shape_vec(IxDyn(dims), numbers).ok()? })
    }

    pub(super) fn read(tensor: &TensorProto) -> Option<Self> {
        if tensor.dims.len() > MAX_RANK {
            return None;
        }
        let (element, ..) = tensor::extent(tensor).ok()?;
        let dims: Vec<usize> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        if !is_exact(tensor, element)? {
            return None;
        }
        Self::new(element, &dims, tensor::to_f64(tensor).ok()?)
    }

    /// As a tensor without a name, its numbers rounded to their type; `None` where an integer is out of range, which
    /// runtimes wrap each in their way.
    pub(super) fn write(&self) -> Option<TensorProto> {
        if !self.numbers.iter().all(|&n| fits(n, self.element)) {
            return None;
        }
        let mut raw = Vec::with_capacity(self.numbers.len() * self.element.size());
        for &n in &self.numbers {
            match self.element {
                ElementType::F32 => raw.extend((n as f32).to_le_bytes()),
                ElementType::F64 => raw.extend(n.to_le_bytes()),
                ElementType::F16 => raw.extend(to_half(n).to_le_bytes()),
                ElementType::BF16 => raw.extend(half::bf16::from_f64(n).to_le_bytes()),
                ElementType::I64 => raw.extend((n as i64).to_le_bytes()),
                ElementType::U64 => raw.extend((n as u64).to_le_bytes()),
                ElementType::I32 => raw.extend((n as i32).to_le_bytes()),
                ElementType::U32 => raw.extend((n as u32).to_le_bytes()),
                ElementType::I16 => raw.extend((n as i16).to_le_bytes()),
                ElementType::U16 => raw.extend((n as u16).to_le_bytes()),
                ElementType::I8 => raw.extend((n as i8).to_le_bytes()),
                ElementType::U8 => raw.push(n as u8),
                ElementType::Bool => raw.push(u8::from(n != 0.0)),
            }
        }
        Some(TensorProto {
            data_type: self.element.to_proto(),
            dims: self.numbers.shape().iter().map(|&n| n as i64).collect(),
            raw_data: raw.into(),
            ..Default::default()
        })
    }

    /// Its numbers as integers.
    pub(super) fn ints(&self) -> Vec<i64> {
        self.numbers.iter().map(|&n| n as i64).collect()
    }

    pub(super) fn with(&self, numbers: ArrayD<f64>) -> Self {
        Self { element: self.element, numbers }
    }

    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        Self::new(self.element, dims, self.numbers.iter().copied().collect())
    }
}

/// Whether f64 holds the integers of `tensor` as they are. The greatest of a type is read as the number after it, and written
/// as itself.
fn is_exact(tensor: &TensorProto, element: ElementType) -> Option<bool> {
    if !matches!(element, ElementType::I64 | ElementType::U64) {
        return Some(true);
    }
    let bytes = raw::bytes(tensor).ok()?;
    let words = bytes.as_chunks::<8>().0;
    Some(match element {
        ElementType::I64 => words.iter().map(|&word| i64::from_le_bytes(word)).all(|n| (n as f64) as i64 == n),
        _ => words.iter().map(|&word| u64::from_le_bytes(word)).all(|n| (n as f64) as u64 == n),
    })
}

/// Whether `n` is in the range of `element`. The least number beyond 64 bits stands for the greatest within, as which it
/// was read.
fn fits(n: f64, element: ElementType) -> bool {
    let (least, most) = match element {
        ElementType::I64 => (-(2f64.powi(63)), 2f64.powi(63)),
        ElementType::U64 => (0.0, 2f64.powi(64)),
        ElementType::I32 => (i32::MIN.into(), i32::MAX.into()),
        ElementType::U32 => (0.0, u32::MAX.into()),
        ElementType::I16 => (i16::MIN.into(), i16::MAX.into()),
        ElementType::U16 => (0.0, u16::MAX.into()),
        ElementType::I8 => (i8::MIN.into(), i8::MAX.into()),
        ElementType::U8 => (0.0, u8::MAX.into()),
        ElementType::F32 | ElementType::F64 | ElementType::F16 | ElementType::BF16 | ElementType::Bool => return true,
    };
    (least..=most).contains(&n)
}
