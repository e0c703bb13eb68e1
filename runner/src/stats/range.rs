//! Smallest and largest of many numbers, in pieces and in any order, without losing sight of NaN and infinities.

use onnx_file::element::ElementType::F16;
use serde::{Deserialize, Serialize};

/// Smallest normal number of binary16, 2^-14: below it digits are lost, and below 2^-25 the number.
pub const F16_NORMAL: f64 = 1.0 / 16_384.0;

/// What is known of a set of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest and largest of the finite ones; `None` where none is finite.
    pub bounds: Option<[f64; 2]>,
    /// How many there are.
    pub count: u64,
    /// How many are NaN or infinite.
    pub non_finite: u64,
    /// How many are not zero and smaller in magnitude than [`F16_NORMAL`].
    pub below_normal: u64,
}

impl Range {
    /// The range of `values`, each brought to f64 by `exact`.
    pub fn of<T: Copy>(values: &[T], exact: impl Fn(T) -> f64) -> Range {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut non_finite, mut below_normal) = (0, 0);
        for &value in values {
            let value = exact(value);
            let magnitude = value.abs();
            // Neither comparison holds for NaN, and the second holds for no infinity.
            let finite = magnitude < f64::INFINITY;
            low = if finite && value < low { value } else { low };
            high = if finite && value > high { value } else { high };
            non_finite += u64::from(!finite);
            below_normal += u64::from(magnitude > 0.0 && magnitude < F16_NORMAL);
        }
        let bounds = (low <= high).then_some([low, high]);
        Range { bounds, count: values.len() as u64, non_finite, below_normal }
    }

    /// Adds other numbers of the same set.
    pub fn merge(&mut self, other: &Range) {
        self.bounds = match (self.bounds, other.bounds) {
            (Some([low, high]), Some([other_low, other_high])) => Some([low.min(other_low), high.max(other_high)]),
            (mine, others) => mine.or(others),
        };
        self.count += other.count;
        self.non_finite += other.non_finite;
        self.below_normal += other.below_normal;
    }

    /// Largest magnitude among the finite ones.
    pub fn max_abs(&self) -> Option<f64> {
        self.bounds.map(|[low, high]| low.abs().max(high.abs()))
    }

    /// Whether every number fits into binary16: all finite, none beyond its largest number. True of an empty set.
    pub fn fits_f16(&self) -> bool {
        self.non_finite == 0 && self.max_abs().is_none_or(|largest| largest <= F16.max_finite())
    }
}

/// How many times larger the magnitude `largest` could be and still fit into binary16; `None` for 0, which always does.
pub fn f16_headroom(largest: f64) -> Option<f64> {
    (largest > 0.0).then(|| F16.max_finite() / largest)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn range(values: &[f32]) -> Range {
        Range::of(values, f64::from)
    }

    #[test]
    fn nan_and_infinities_are_counted_and_hide_nothing() {
        let nan = f32::NAN;
        for values in [[nan, -3.0, 2.0, f32::INFINITY], [2.0, f32::NEG_INFINITY, nan, -3.0]] {
            let found = range(&values);
            assert_eq!((found.bounds, found.non_finite, found.count), (Some([-3.0, 2.0]), 2, 4));
            assert!(!found.fits_f16());
        }
        let none = range(&[nan, f32::INFINITY]);
        assert_eq!((none.bounds, none.max_abs(), none.non_finite), (None, None, 2));
        assert!(!none.fits_f16());
    }

    #[test]
    fn an_empty_set_has_no_bounds_and_changes_none() {
        let empty = range(&[]);
        assert_eq!(empty, Range::default());
        assert!(empty.fits_f16());
        let mut merged = range(&[-1.0, 4.0]);
        merged.merge(&empty);
        assert_eq!(merged, range(&[-1.0, 4.0]));
        let mut from_nothing = empty;
        from_nothing.merge(&merged);
        assert_eq!(from_nothing, merged);
    }

    #[test]
    fn pieces_of_any_size_give_what_the_whole_gives() {
        let mut values = crate::input::noise::noise(1000, 7);
        values[13] = f32::NAN;
        values[400] = 1e-5;
        values[999] = -70_000.0;
        let whole = range(&values);
        assert_eq!((whole.max_abs(), whole.non_finite), (Some(70_000.0), 1));
        for size in [1, 7, 64, 999, 1000, 5000] {
            let mut merged = Range::default();
            values.chunks(size).for_each(|piece| merged.merge(&range(piece)));
            assert_eq!(merged, whole, "pieces of {size}");
        }
    }

    #[test]
    fn the_edges_of_f16_are_where_the_format_has_them() {
        assert_eq!(f16_headroom(1.0), Some(f64::from(f16::MAX)));
        assert_eq!(F16_NORMAL, f64::from(f16::MIN_POSITIVE));
        assert!(range(&[65_504.0, -65_504.0]).fits_f16());
        assert!(!range(&[65_504.01]).fits_f16() && !range(&[-65_505.0]).fits_f16());
        let edges = [0.0, -0.0, 6.103_515_6e-5, -6.103_515_6e-5, 6.1e-5, -6.1e-5, 1e-30];
        assert_eq!(range(&edges).below_normal, 3);
        assert_eq!(Range::of(&[f16::MAX, f16::INFINITY], f64::from).non_finite, 1);
        assert_eq!((f16_headroom(65_504.0), f16_headroom(131_008.0), f16_headroom(0.0)), (Some(1.0), Some(0.5), None));
    }
}
