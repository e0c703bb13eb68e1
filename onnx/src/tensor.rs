//! The numbers of a `TensorProto`, whichever way they are stored.

use half::{bf16, f16};

use crate::element::ElementType;
use crate::proto::{TensorProto, tensor_proto::DataLocation};
use crate::raw::{self, TensorError};

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

/// The elements of `tensor` as f32: exact from f32, f16, bf16 and small integers, rounded to nearest from
/// f64 and the integers of 32 and 64 bits.
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
    if tensor.data_location == DataLocation::External as i32 {
        return Err(TensorError::External { name: tensor.name.clone() });
    }
    let raw = &raw::bytes(tensor)?[..];
    Ok(match element {
        ElementType::F32 => raw.as_chunks::<4>().0.iter().map(|&b| narrow(f32::from_le_bytes(b))).collect(),
        ElementType::F64 => raw.as_chunks::<8>().0.iter().map(|&b| wide(f64::from_le_bytes(b))).collect(),
        ElementType::I64 => raw.as_chunks::<8>().0.iter().map(|&b| wide(i64::from_le_bytes(b) as f64)).collect(),
        ElementType::U64 => raw.as_chunks::<8>().0.iter().map(|&b| wide(u64::from_le_bytes(b) as f64)).collect(),
        ElementType::I32 => raw.as_chunks::<4>().0.iter().map(|&b| wide(f64::from(i32::from_le_bytes(b)))).collect(),
        ElementType::U32 => raw.as_chunks::<4>().0.iter().map(|&b| wide(f64::from(u32::from_le_bytes(b)))).collect(),
        ElementType::I16 => raw.as_chunks::<2>().0.iter().map(|&b| narrow(f32::from(i16::from_le_bytes(b)))).collect(),
        ElementType::U16 => raw.as_chunks::<2>().0.iter().map(|&b| narrow(f32::from(u16::from_le_bytes(b)))).collect(),
        ElementType::F16 => raw.as_chunks::<2>().0.iter().map(|&b| narrow(f16::from_le_bytes(b).to_f32())).collect(),
        ElementType::BF16 => raw.as_chunks::<2>().0.iter().map(|&b| narrow(bf16::from_le_bytes(b).to_f32())).collect(),
        ElementType::I8 => raw.iter().map(|&b| narrow(f32::from(b as i8))).collect(),
        ElementType::U8 | ElementType::Bool => raw.iter().map(|&b| narrow(f32::from(b))).collect(),
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
