//! A weight's bytes in the file, and what rounding to f16 makes of all weights together.

use onnx_file::element::ElementType;
use serde::Serialize;

use crate::calibration::Activations;
use crate::weight::to_half;

/// A weight's little-endian bytes.
pub(crate) enum WeightBytes {
    Numbers(Vec<f32>),
    Bytes(Vec<u8>),
}

impl WeightBytes {
    /// f32, exact in f16 where `element` says so.
    pub(crate) fn new(data: Vec<f32>, element: ElementType) -> Self {
        match element {
            ElementType::F16 => Self::Bytes(data.iter().flat_map(|&v| to_half(f64::from(v)).to_le_bytes()).collect()),
            _ if cfg!(target_endian = "big") => Self::Bytes(data.iter().flat_map(|v| v.to_le_bytes()).collect()),
            _ => Self::Numbers(data),
        }
    }
}

impl AsRef<[u8]> for WeightBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Numbers(numbers) => bytemuck::cast_slice(numbers),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What is known of the safety of f16.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Safety {
    /// Nodes kept in f32.
    pub kept: Vec<String>,
    /// What rounding did to the weights.
    pub weights: Rounding,
    /// Ranges of values, where they were measured.
    pub activations: Option<Activations>,
}

/// What stands where the ranges of values were not measured.
pub const UNCHECKED: &str = "activation ranges unchecked; run resnext-run calibrate";

/// What rounding to f16 did to a model's weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rounding {
    /// Numbers rounded.
    pub numbers: u64,
    /// The largest magnitude among them.
    pub largest: f64,
    /// The weight that holds it.
    pub largest_in: String,
    /// Numbers, not zero, that became subnormal: below 2^-14, with less than eleven significant bits.
    pub subnormal: u64,
    /// Numbers, not zero, that became zero: up to 2^-25.
    pub to_zero: u64,
    /// L2 norm of all rounding errors over that of all numbers.
    pub relative_error: f64,
    #[serde(skip)]
    squares: [f64; 2],
}

impl Rounding {
    /// Rounds the weight `name`.
    ///
    /// # Errors
    /// The index of the first number that f16 cannot hold.
    pub(crate) fn round(&mut self, name: &str, exact: &[f64]) -> Result<WeightBytes, usize> {
        let mut bytes = Vec::with_capacity(2 * exact.len());
        for (index, &number) in exact.iter().enumerate() {
            let half = to_half(number);
            if !half.is_finite() {
                return Err(index);
            }
            let rounded = half.to_f64();
            self.subnormal += u64::from(half.classify() == std::num::FpCategory::Subnormal);
            self.to_zero += u64::from(rounded == 0.0 && number != 0.0);
            self.squares[0] += (rounded - number).powi(2);
            self.squares[1] += number.powi(2);
            if number.abs() > self.largest {
                self.largest = number.abs();
                self.largest_in = name.into();
            }
            bytes.extend(half.to_le_bytes());
        }
        self.numbers += exact.len() as u64;
        self.relative_error = if self.squares[1] > 0.0 { (self.squares[0] / self.squares[1]).sqrt() } else { 0.0 };
        Ok(WeightBytes::Bytes(bytes))
    }
}

impl std::fmt::Display for Rounding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { numbers, largest, largest_in, subnormal, to_zero, relative_error, .. } = self;
        if *numbers == 0 {
            return f.write_str("no weight is in f16");
        }
        write!(
            f,
            "largest weight {largest:.3} ({largest_in}; f16 ends at {limit}), rounding error {relative_error:.1e} ",
            limit = ElementType::F16.max_finite()
        )?;
        write!(f, "of all together, {subnormal} of {numbers} became subnormal and {to_zero} zero")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounding_loses_is_counted() {
        let mut rounding = Rounding::default();
        rounding.round("a", &[1.0, -3.0, 0.0, 1e-6, -1e-9]).unwrap();
        let rounded = rounding.round("b", &[2.0, 1.0 + 1.0 / 4096.0]).unwrap();
        assert_eq!(rounded.as_ref(), [0x00, 0x40, 0x00, 0x3c]);
        assert_eq!((rounding.numbers, rounding.subnormal, rounding.to_zero), (7, 1, 1));
        assert_eq!((rounding.largest, rounding.largest_in.as_str()), (3.0, "a"));
        let expected = (1.0 / 4096.0) / 15f64.sqrt();
        assert!((rounding.relative_error / expected - 1.0).abs() < 1e-3, "{}", rounding.relative_error);
    }

    #[test]
    fn what_f16_cannot_hold_is_refused_by_its_place() {
        let mut rounding = Rounding::default();
        assert!(rounding.round("a", &[ElementType::F16.max_finite(), 65519.9]).is_ok());
        assert_eq!(rounding.round("a", &[0.0, -65520.0, 1e9]).err(), Some(1));
    }
}
