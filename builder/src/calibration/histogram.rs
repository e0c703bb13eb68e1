//! How often a value has which magnitude: counts on a grid that is the same for every value and every run.
//!
//! 32 bins for each power of two, for either sign: a float's sign, exponent and first five digits are its bin. So counts
//! of parts add up to those of the whole, exactly, however inputs are divided among batches, threads and machines.

use serde::{Deserialize, Serialize};

/// Bins for each power of two, as a power of two.
const FINENESS: u32 = 5;
/// What is smaller counts as 0: 2^-24, the smallest subnormal of f16.
const LEAST: f32 = 1.0 / (1 << 24) as f32;

/// Counts of a value's elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Elements that are 0 or next to it.
    pub zeros: u64,
    /// Negative ones by magnitude, from 2^-24 on.
    pub negative: Vec<u64>,
    /// Positive ones likewise.
    pub positive: Vec<u64>,
}

impl Histogram {
    /// The counts of `values`, each brought to f32; what is not finite is left out.
    pub fn of<T: Copy>(values: &[T], to_f32: impl Fn(T) -> f32) -> Self {
        let mut counts = Self::default();
        for &value in values {
            let value = to_f32(value);
            let magnitude = value.abs();
            if magnitude < LEAST {
                counts.zeros += 1;
            } else if magnitude.is_finite() {
                let bin = bin(magnitude);
                let side = if value < 0.0 { &mut counts.negative } else { &mut counts.positive };
                if side.len() <= bin {
                    side.resize(bin + 1, 0);
                }
                side[bin] += 1;
            }
        }
        counts
    }

    /// Adds the counts of other elements of the same value.
    pub fn merge(&mut self, other: &Self) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        for (mine, others) in [(&mut self.negative, &other.negative), (&mut self.positive, &other.positive)] {
            if mine.len() < others.len() {
                mine.resize(others.len(), 0);
            }
            mine.iter_mut().zip(others).for_each(|(mine, other)| *mine = mine.saturating_add(*other));
        }
    }

    /// All elements.
    pub fn count(&self) -> f64 {
        let side = |side: &[u64]| side.iter().map(|&count| count as f64).sum::<f64>();
        self.zeros as f64 + side(&self.negative) + side(&self.positive)
    }

    /// Every bin that holds something, from the least to the largest: its ends, and how many elements it holds.
    pub fn bins(&self) -> Vec<([f64; 2], f64)> {
        let filled = |side: &[u64], sign: f64| -> Vec<([f64; 2], f64)> {
            let filled = side.iter().enumerate().filter(|(_, count)| **count > 0);
            filled.map(|(bin, &count)| ([sign * edge(bin), sign * edge(bin + 1)], count as f64)).collect()
        };
        let mut bins: Vec<_> = filled(&self.negative, -1.0).into_iter().map(|([a, b], n)| ([b, a], n)).rev().collect();
        bins.extend((self.zeros > 0).then_some(([0.0; 2], self.zeros as f64)));
        bins.extend(filled(&self.positive, 1.0));
        bins
    }

    /// Whether the counts are those of a file that this program could have written.
    pub(super) fn is_sound(&self) -> bool {
        let most = bin(f32::MAX) + 1;
        self.negative.len() <= most && self.positive.len() <= most
    }
}

/// The bin of a magnitude of at least 2^-24.
fn bin(magnitude: f32) -> usize {
    let shift = f32::MANTISSA_DIGITS - 1 - FINENESS;
    ((magnitude.to_bits() >> shift) - (LEAST.to_bits() >> shift)) as usize
}

/// Where a bin begins.
fn edge(bin: usize) -> f64 {
    let steps = f64::from(1u32 << FINENESS);
    let (octave, step) = (bin >> FINENESS, bin & ((1 << FINENESS) - 1));
    f64::from(LEAST) * (octave as f64).exp2() * (1.0 + step as f64 / steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_element_is_between_the_ends_of_its_bin_and_parts_add_up(
            values in prop::collection::vec(-1e6f32..1e6, 1..40), small in prop::collection::vec(-1e-3f32..1e-3, 0..40),
            cut in 0usize..40,
        ) {
            let values: Vec<f32> = values.into_iter().chain(small).collect();
            let whole = Histogram::of(&values, |v| v);
            let (first, rest) = values.split_at(cut.min(values.len()));
            let mut merged = Histogram::of(rest, |v| v);
            merged.merge(&Histogram::of(first, |v| v));
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(whole.count(), values.len() as f64);
            let bins = whole.bins();
            prop_assert!(bins.windows(2).all(|pair| pair[0].0[1] <= pair[1].0[0]));
            for value in values.iter().map(|&value| f64::from(value)).filter(|value| value.abs() >= f64::from(LEAST)) {
                let inside = |([low, high], _): &([f64; 2], f64)| *low <= value && value <= *high;
                prop_assert!(bins.iter().any(inside), "{value}: {bins:?}");
            }
        }
    }

    #[test]
    fn a_bin_is_a_thirty_second_of_a_power_of_two() {
        assert_eq!((bin(LEAST), bin(1.0), bin(1.03), bin(1.04)), (0, 24 * 32, 24 * 32, 24 * 32 + 1));
        assert_eq!((edge(24 * 32), edge(24 * 32 + 1), edge(25 * 32)), (1.0, 1.0 + 1.0 / 32.0, 2.0));
        let odd = Histogram::of(&[f32::NAN, f32::INFINITY, 0.0, -0.0, 1e-30], |v| v);
        assert_eq!(odd, Histogram { zeros: 3, ..Histogram::default() });
        assert!(Histogram::of(&[f32::MAX, f32::MIN], |v| v).is_sound());
        assert!(!Histogram { positive: vec![0; 9000], ..odd }.is_sound());
    }
}
