//! From a recipe to the bytes in a file: the only way there, for new models and rewritten ones alike.

use onnx_file::element::ElementType;

use super::recipe::{Read, Weight};
use super::rounding::Rounding;

/// A weight's little-endian bytes.
pub(crate) enum WeightBytes {
    /// f32 on a little-endian machine, where the numbers are the bytes.
    Numbers(Vec<f32>),
    Bytes(Vec<u8>),
}

impl AsRef<[u8]> for WeightBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Numbers(numbers) => bytemuck::cast_slice(numbers),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Why a recipe has no bytes.
#[derive(Debug)]
pub(crate) enum BytesError<E> {
    /// A tensor could not be read.
    Read(E),
    /// The number at this flat index is infinite or not a number.
    NotFinite { index: usize },
    /// f16 cannot hold the number at this flat index.
    Overflow { index: usize, value: f64 },
}

/// Computes the recipe `weight` of the tensor `name` as numbers of type `element`, rounded once from f64 where that is
/// f16; `rounding` counts what this loses.
///
/// # Errors
/// [`BytesError`].
pub(crate) fn materialize<R: Read>(
    name: &str,
    weight: &Weight,
    element: ElementType,
    source: &mut R,
    rounding: &mut Rounding,
) -> Result<WeightBytes, BytesError<R::Error>> {
    match (element, weight) {
        (ElementType::F16, _) => {
            let recipe = if let Weight::Half { of } = weight { of } else { weight };
            let exact = recipe.eval_f64(source).map_err(BytesError::Read)?;
            check_finite(&exact, |v| v.is_finite())?;
            let rounded = rounding.round(name, &exact);
            rounded.map(WeightBytes::Bytes).map_err(|index| BytesError::Overflow { index, value: exact[index] })
        }
        (ElementType::I8 | ElementType::U8 | ElementType::I32 | ElementType::I64, _) => {
            let exact = weight.eval_f64(source).map_err(BytesError::Read)?;
            check_finite(&exact, |v| v.is_finite())?;
            Ok(WeightBytes::Bytes(integer_bytes(&exact, element)))
        }
        (ElementType::F64, _) => {
            let data = weight.eval_f64(source).map_err(BytesError::Read)?;
            check_finite(&data, |v| v.is_finite())?;
            Ok(WeightBytes::Bytes(data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        }
        _ => {
            let data = weight.eval_f32(source).map_err(BytesError::Read)?;
            check_finite(&data, |v| v.is_finite())?;
            Ok(match element {
                // Of bf16 weights only widening makes new ones, which rounds nothing.
                ElementType::BF16 => {
                    let bytes = data.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes());
                    WeightBytes::Bytes(bytes.collect())
                }
                _ if cfg!(target_endian = "big") => {
                    WeightBytes::Bytes(data.iter().flat_map(|v| v.to_le_bytes()).collect())
                }
                _ => WeightBytes::Numbers(data),
            })
        }
    }
}

/// Whole numbers, which recipes keep within their type's range.
fn integer_bytes(numbers: &[f64], element: ElementType) -> Vec<u8> {
    match element {
        ElementType::I8 => numbers.iter().map(|&n| (n as i8) as u8).collect(),
        ElementType::U8 => numbers.iter().map(|&n| n as u8).collect(),
        ElementType::I32 => numbers.iter().flat_map(|&n| (n as i32).to_le_bytes()).collect(),
        _ => numbers.iter().flat_map(|&n| (n as i64).to_le_bytes()).collect(),
    }
}

fn check_finite<T: Copy, E>(data: &[T], is_finite: impl Fn(T) -> bool) -> Result<(), BytesError<E>> {
    match data.iter().position(|&v| !is_finite(v)) {
        Some(index) => Err(BytesError::NotFinite { index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One tensor, whatever its name.
    struct Numbers(Vec<f64>);

    impl Read for Numbers {
        type Error = ();
        fn read_f32(&mut self, _: &str, _: &[usize]) -> Result<Vec<f32>, ()> {
            Ok(self.0.iter().map(|&v| v as f32).collect())
        }
        fn read_f64(&mut self, _: &str, _: &[usize]) -> Result<Vec<f64>, ()> {
            Ok(self.0.clone())
        }
    }

    fn bytes(element: ElementType, numbers: &[f64]) -> Result<Vec<u8>, BytesError<()>> {
        let stored = Weight::stored("w", &[numbers.len()]);
        let mut rounding = Rounding::default();
        let made = materialize("w", &stored, element, &mut Numbers(numbers.to_vec()), &mut rounding);
        assert_eq!(rounding.numbers > 0, element == ElementType::F16 && made.is_ok());
        made.map(|bytes| bytes.as_ref().to_vec())
    }

    #[test]
    fn every_type_has_its_little_endian_bytes() {
        assert_eq!(bytes(ElementType::F32, &[1.0]).unwrap(), 1f32.to_le_bytes());
        assert_eq!(bytes(ElementType::F64, &[0.1]).unwrap(), 0.1f64.to_le_bytes());
        assert_eq!(bytes(ElementType::BF16, &[1.0]).unwrap(), [0x80, 0x3f]);
        assert_eq!(bytes(ElementType::I8, &[-128.0, 1.0]).unwrap(), [0x80, 1]);
        assert_eq!(bytes(ElementType::U8, &[255.0]).unwrap(), [255]);
        assert_eq!(bytes(ElementType::I32, &[-2.0]).unwrap(), (-2i32).to_le_bytes());
        assert_eq!(bytes(ElementType::I64, &[i64::from(i32::MAX) as f64]).unwrap(), i64::from(i32::MAX).to_le_bytes());
        // A hair above the middle of two f16: rounding to f32 first would give the one below.
        let hair = 1.0 + 1.0 / 2048.0 + 2f64.powi(-40);
        assert_eq!(bytes(ElementType::F16, &[hair]).unwrap(), [0x01, 0x3c]);
    }

    #[test]
    fn what_is_not_finite_is_refused_in_every_type() {
        for element in [ElementType::I8, ElementType::F16, ElementType::BF16, ElementType::F32, ElementType::F64] {
            for broken in [f64::NAN, f64::INFINITY] {
                let error = bytes(element, &[0.0, broken]).unwrap_err();
                assert!(matches!(error, BytesError::NotFinite { index: 1 }), "{element}: {error:?}");
            }
        }
    }

    #[test]
    fn what_f16_cannot_hold_is_refused_with_its_place_and_value() {
        let error = bytes(ElementType::F16, &[0.0, 65520.0]).unwrap_err();
        assert!(matches!(error, BytesError::Overflow { index: 1, value: 65520.0 }), "{error:?}");
    }
}
