//! From f64 to f16 in one rounding, and what that makes of many numbers.
//!
//! Rounding to f32 first and to f16 then rounds twice: a value a hair above the middle of two f16 becomes that middle, and
//! then goes to the even side instead of up. The `half` crate's own conversion from f64 does so too (through f32 where the
//! processor has F16C, and by dropping the lower 32 bits elsewhere). Here the first step rounds to odd: what is not exact
//! keeps a last bit that says so, and with 13 bits more than f16 has, the second step then rounds as from the exact value
//! (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums").

use std::fmt;

use half::f16;
use onnx_file::element::ElementType;
use serde::Serialize;

/// The f16 nearest to `value`, of two equally near the even one; infinite from 65520 on, as IEEE 754 has it.
pub fn to_half(value: f64) -> f16 {
    let near = value as f32;
    let exact = f64::from(near) == value || !value.is_finite();
    if exact || near.to_bits() & 1 == 1 {
        return f16::from_f32(near);
    }
    // An inexact result with an even last bit: its odd neighbour on the side of the exact value.
    let outside = f64::from(near).abs() > value.abs();
    f16::from_f32(f32::from_bits(if outside { near.to_bits() - 1 } else { near.to_bits() + 1 }))
}

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
    pub(crate) fn round(&mut self, name: &str, exact: &[f64]) -> Result<Vec<u8>, usize> {
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
        Ok(bytes)
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    use proptest::prelude::*;

    use super::*;

    /// The nearest f16 by looking at both neighbours, in arithmetic that is exact for f16 operands.
    fn nearest(value: f64) -> f16 {
        let all = (0..0x7c00u16).map(f16::from_bits);
        let magnitude = value.abs();
        // The step after the largest finite one stands for infinity.
        let candidates = all.chain([f16::INFINITY]).map(|h| (h, if h.is_finite() { h.to_f64() } else { 65536.0 }));
        let best = candidates.min_by(|(a, x), (b, y)| {
            let (near, far) = ((x - magnitude).abs(), (y - magnitude).abs());
            near.total_cmp(&far).then((a.to_bits() & 1).cmp(&(b.to_bits() & 1)))
        });
        let magnitude = best.map(|(h, _)| h).unwrap();
        if value.is_sign_negative() { -magnitude } else { magnitude }
    }

    #[test]
    fn a_hair_beside_the_middle_of_two_decides() {
        let middle = 1.0 + 1.0 / 2048.0;
        let hair = 2f64.powi(-40);
        assert_eq!(to_half(middle).to_f64(), 1.0, "the even one");
        assert_eq!(to_half(middle + hair).to_f64(), 1.0 + 1.0 / 1024.0);
        assert_eq!(to_half(middle - hair).to_f64(), 1.0);
        assert_eq!(f16::from_f32((middle + hair) as f32).to_f64(), 1.0, "what rounding twice makes of it");
        assert_eq!(to_half(-middle - hair).to_f64(), -1.0 - 1.0 / 1024.0);
    }

    #[test]
    fn the_ends_of_the_range_are_ieee_754s() {
        let largest = ElementType::F16.max_finite();
        assert_eq!(to_half(largest).to_f64(), largest);
        assert_eq!(to_half(65_519.999_999_999).to_f64(), largest);
        assert_eq!(to_half(65520.0), f16::INFINITY);
        assert_eq!(to_half(-1e300), f16::NEG_INFINITY);
        assert_eq!(to_half(2f64.powi(-25)).to_bits(), 0, "half of the smallest subnormal, to even");
        assert_eq!(to_half(2f64.powi(-25) * (1.0 + 1e-15)).to_bits(), 1);
        assert_eq!(to_half(-1e-300).to_bits(), 0x8000);
        assert_eq!(to_half(-0.0).to_bits(), 0x8000);
        assert!(to_half(f64::NAN).is_nan());
        assert_eq!(to_half(f64::INFINITY), f16::INFINITY);
    }

    #[test]
    fn what_rounding_loses_is_counted() {
        let mut rounding = Rounding::default();
        rounding.round("a", &[1.0, -3.0, 0.0, 1e-6, -1e-9]).unwrap();
        let rounded = rounding.round("b", &[2.0, 1.0 + 1.0 / 4096.0]).unwrap();
        assert_eq!(rounded[..], [0x00, 0x40, 0x00, 0x3c]);
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_value_becomes_its_nearest(
            bits in 0u16..0x7c00,
            step in 0u64..8,
            offset in -3i64..=3,
            shift in 0u32..52,
            negative in any::<bool>(),
        ) {
            // Eighths between two neighbours, and values next to them at every scale.
            let (low, high) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1));
            let high = if high.is_finite() { high.to_f64() } else { 65536.0 };
            let base = low + (high - low) * step as f64 / 8.0;
            let near = f64::from_bits(base.to_bits().saturating_add_signed(offset << shift.min(50)));
            let value = if negative { -near } else { near };
            prop_assume!(value.is_finite());
            prop_assert_eq!(to_half(value).to_bits(), nearest(value).to_bits(), "{}", value);
        }
    }
}
