//! From what a value was seen to be to the range that its integers cover: a wider range loses less at its ends, and a
//! narrower one has finer steps.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::histogram::Histogram;

/// How a value's range follows from what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RangeMethod {
    /// The smallest and the largest number seen.
    #[default]
    MinMax,
    /// So that this percentage of the numbers lies within, with an equal part beyond either end.
    Percentile(f64),
    /// So that the square error of rounding and of cutting off is least.
    Mse,
    /// So that the least is lost of the distribution of magnitudes, by relative entropy.
    Entropy,
}

impl FromStr for RangeMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percentile = |number: &str| number.parse().ok().filter(|percent| (50.0..100.0).contains(percent));
        match text.split_once('=') {
            None if text == "min-max" => Ok(Self::MinMax),
            None if text == "percentile" => Ok(Self::Percentile(99.99)),
            None if text == "mse" => Ok(Self::Mse),
            None if text == "entropy" => Ok(Self::Entropy),
            Some(("percentile", number)) => percentile(number)
                .map(Self::Percentile)
                .ok_or_else(|| "a percentile is a number from 50 to below 100, as in percentile=99.99".to_owned()),
            _ => Err("it must be min-max, percentile=99.99, mse or entropy".to_owned()),
        }
    }
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile={percent}"),
            Self::Mse => f.write_str("mse"),
            Self::Entropy => f.write_str("entropy"),
        }
    }
}

impl Serialize for RangeMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Ranges that are tried for the least square error: so many parts of each end.
const TRIED: u32 = 96;
/// Bins of equal width in which magnitudes are laid out for the relative entropy, and levels of one sign.
const EVEN_BINS: usize = 2048;
const LEVELS: usize = 128;

impl RangeMethod {
    /// The range of a value that was seen from `low` to `high`, within these.
    pub(super) fn bounds(self, [low, high]: [f64; 2], counts: &Histogram) -> [f64; 2] {
        let (bins, count) = (counts.bins(), counts.count());
        if bins.is_empty() {
            return [low, high];
        }
        let found = match self {
            Self::MinMax => [low, high],
            Self::Percentile(percent) => percentile(&bins, count * (1.0 - percent / 100.0), low < 0.0 && high > 0.0),
            Self::Mse => least_square_error(&bins, [low.min(0.0), high.max(0.0)]),
            Self::Entropy => {
                let largest = entropy(&bins, high.max(-low));
                [-largest, largest]
            }
        };
        // An end on the side of 0 that holds nothing is no end to cut.
        [if low < 0.0 { found[0].max(low) } else { low }, if high > 0.0 { found[1].min(high) } else { high }]
    }
}

/// The range beyond which at most `beyond` elements lie, half of them at either end where there are both signs.
fn percentile(bins: &[([f64; 2], f64)], beyond: f64, both: bool) -> [f64; 2] {
    let each = if both { beyond / 2.0 } else { beyond };
    let cut = |mut bins: Box<dyn Iterator<Item = &([f64; 2], f64)> + '_>| {
        let mut seen = 0.0;
        bins.find(|(_, count)| {
            seen += count;
            seen > each
        })
        .map_or([0.0; 2], |(ends, _)| *ends)
    };
    [cut(Box::new(bins.iter()))[0], cut(Box::new(bins.iter().rev()))[1]]
}

/// What rounding to 255 steps from `low` to `high` does to the elements, squared and summed.
fn square_error(bins: &[([f64; 2], f64)], [low, high]: [f64; 2]) -> f64 {
    let step = (high - low) / 255.0;
    let error = |([from, to], count): &([f64; 2], f64)| {
        let middle = f64::midpoint(*from, *to);
        // 0 is one of the steps.
        let rounded = if middle == 0.0 { 0.0 } else { step * step / 12.0 };
        let cut = (low - middle).max(middle - high).max(0.0);
        count * if cut > 0.0 { cut * cut } else { rounded }
    };
    bins.iter().map(error).sum()
}

/// One end after the other: what is cut off at the one hardly depends on the other.
fn least_square_error(bins: &[([f64; 2], f64)], ends: [f64; 2]) -> [f64; 2] {
    let mut best = ends;
    for end in [1, 0, 1] {
        let tried = (TRIED / 8..=TRIED).map(|part| {
            let mut range = best;
            range[end] = ends[end] * f64::from(part) / f64::from(TRIED);
            range
        });
        let least = tried.min_by(|a, b| square_error(bins, *a).total_cmp(&square_error(bins, *b)));
        best = least.unwrap_or(best);
    }
    best
}

/// The magnitude to end at: of all, that at which the distribution, with what is cut off at its end, is nearest to what
/// the levels make of it.
fn entropy(bins: &[([f64; 2], f64)], largest: f64) -> f64 {
    if largest <= 0.0 {
        return largest;
    }
    let width = largest / EVEN_BINS as f64;
    let mut even = vec![0.0; EVEN_BINS];
    for ([from, to], count) in bins {
        let (from, to) = (from.abs().min(to.abs()) / width, from.abs().max(to.abs()) / width);
        let place = |at: f64| (at as usize).min(EVEN_BINS - 1);
        let (first, last) = (place(from), place(to));
        // Zeros are exact whatever the range: they speak for none.
        for (bin, even) in even.iter_mut().enumerate().take(last + 1).skip(first).filter(|_| to > 0.0) {
            let part =
                if last == first { 1.0 } else { (to.min(bin as f64 + 1.0) - from.max(bin as f64)) / (to - from) };
            *even += count * part.max(0.0);
        }
    }
    let tried = (LEVELS..=EVEN_BINS).step_by(LEVELS / 8);
    let nearest = tried.min_by(|a, b| divergence(&even, *a).total_cmp(&divergence(&even, *b)));
    nearest.unwrap_or(EVEN_BINS) as f64 * width
}

/// Relative entropy of the first `kept` bins, what lies beyond added to the last, against themselves at `LEVELS` levels.
fn divergence(even: &[f64], kept: usize) -> f64 {
    let mut cut = even[..kept].to_vec();
    cut[kept - 1] += even[kept..].iter().sum::<f64>();
    let all: f64 = cut.iter().sum();
    let inside: f64 = even[..kept].iter().sum();
    if inside <= 0.0 {
        return f64::INFINITY;
    }
    let mut sum = 0.0;
    for level in 0..LEVELS {
        let (from, to) = (level * kept / LEVELS, (level + 1) * kept / LEVELS);
        let filled = even[from..to].iter().filter(|count| **count > 0.0).count().max(1) as f64;
        let mean = even[from..to].iter().sum::<f64>() / filled / inside;
        for count in cut[from..to].iter().map(|count| count / all).filter(|count| *count > 0.0) {
            // What is cut off has no counterpart where its bin was empty; a billionth stands for it.
            sum += count * (count / mean.max(1e-9)).ln();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bell of 200,000 numbers of deviation 1, with a few at 100.
    fn heavy() -> Histogram {
        let mut values: Vec<f32> = crate::random::standard_normal(1, "method", 200_000);
        values.extend([100.0; 3]);
        Histogram::of(&values, |v| v)
    }

    #[test]
    fn each_method_has_its_name_and_others_are_refused() {
        for name in ["min-max", "percentile=99.9", "mse", "entropy"] {
            assert_eq!(name.parse::<RangeMethod>().unwrap().to_string(), name);
        }
        assert_eq!("percentile".parse(), Ok(RangeMethod::Percentile(99.99)));
        for wrong in ["", "max", "percentile=", "percentile=100", "percentile=nan", "percentile=-1", "mse=3"] {
            assert!(wrong.parse::<RangeMethod>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_few_far_out_are_cut_off_where_that_costs_little() {
        let (counts, seen) = (heavy(), [-4.5, 100.0]);
        assert_eq!(RangeMethod::MinMax.bounds(seen, &counts), seen);
        let [low, high] = RangeMethod::Percentile(99.99).bounds(seen, &counts);
        assert!((-4.5..-3.6).contains(&low) && (3.6..4.6).contains(&high), "{low} {high}");
        let [_, high] = RangeMethod::Entropy.bounds(seen, &counts);
        assert!(high < 50.0, "{high}");
        // The square of 95, three times, against the rounding of 200,000.
        let [low, high] = RangeMethod::Mse.bounds(seen, &counts);
        let error = |range| square_error(&counts.bins(), range);
        assert!(error([low, high]) <= error(seen) && low <= -3.0, "{low} {high}");
        // Nothing reaches beyond what was seen, and what is 0 everywhere stays so.
        let nothing = Histogram { zeros: 5, ..Histogram::default() };
        for method in [RangeMethod::Percentile(99.9), RangeMethod::Mse, RangeMethod::Entropy] {
            let [low, high] = method.bounds([-1.0, 1.0], &counts);
            assert!(low >= -1.0 && high <= 1.0);
            assert_eq!(method.bounds([0.0, 0.0], &nothing), [0.0, 0.0], "{method}");
        }
    }

    #[test]
    fn a_value_of_one_sign_is_cut_at_its_one_end() {
        let values: Vec<f32> = (0..10_000).map(|n| n as f32 / 1000.0).collect();
        let counts = Histogram::of(&values, |v| v);
        let [low, high] = RangeMethod::Percentile(90.0).bounds([0.0, 9.999], &counts);
        assert!(low == 0.0 && (8.9..9.4).contains(&high), "{low} {high}");
        let [low, high] = RangeMethod::Mse.bounds([0.0, 9.999], &counts);
        assert!(low == 0.0 && high > 9.5, "even numbers are kept whole: {high}");
    }
}
