//! Percentiles, given only where there are enough samples for them, with order-statistic intervals.
//!
//! Two rules, both from the binomial distribution of the number of samples beyond a quantile:
//! - a value needs at least as many samples as MLPerf's early-stopping criterion asks when a single sample lies
//!   beyond it (confidence 0.99): p90 64, p95 130, p99 662, p99.9 6,636;
//! - a 95% interval needs order statistics on both sides with at most 2.5% in each tail: p50 6, p90 36, p95 72,
//!   p99 368, p99.9 3,688.

use serde::Serialize;

/// Probability that the true quantile is not beyond what [`smallest_n`] samples show.
const CONFIDENCE: f64 = 0.99;
/// Probability in each tail of an interval.
const TAIL: f64 = 0.025;
/// No search for a sufficient number of samples goes beyond this.
const MOST_SAMPLES: usize = 100_000_000;

/// One percentile of a set of samples, in their unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Percentile {
    /// Which percentile, in percent.
    pub percent: f64,
    /// Its value, by linear interpolation between order statistics; `None` below `needed` samples.
    pub value: Option<f64>,
    /// 95% order-statistic interval; `None` where the samples do not bound it on both sides.
    pub interval: Option<[f64; 2]>,
    /// Samples at hand.
    pub n: usize,
    /// Samples needed before a value is given.
    pub needed: usize,
}

/// The percentile `percent` (0 to 100) of samples in ascending order.
pub fn percentile(sorted: &[f64], percent: f64) -> Percentile {
    let p = (percent / 100.0).clamp(0.0, 1.0);
    let needed = smallest_n(p);
    let enough = sorted.len() >= needed;
    Percentile {
        percent,
        value: enough.then(|| interpolate(sorted, p)),
        interval: if enough { interval(sorted, p) } else { None },
        n: sorted.len(),
        needed,
    }
}

/// Linear interpolation between order statistics, numpy's default (type 7 of Hyndman and Fan 1996).
fn interpolate(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// Samples needed before the quantile `p` (0 to 1) is given a value: the smallest n for which at most one sample
/// beyond the quantile has probability `1 - 0.99` or less. The median needs one; the minimum and the maximum, which
/// no number of samples reveals, are what was seen.
pub fn smallest_n(p: f64) -> usize {
    let tail = p.min(1.0 - p);
    if tail <= 0.0 || (p - 0.5).abs() < 1e-12 {
        return 1;
    }
    let at_most_one_beyond = |n: usize| {
        let n = n as f64;
        (n * (-tail).ln_1p()).exp() + n * tail * ((n - 1.0) * (-tail).ln_1p()).exp()
    };
    smallest(|n| at_most_one_beyond(n) <= 1.0 - CONFIDENCE)
}

/// Samples needed before the quantile `p` has a finite 95% interval.
pub fn smallest_n_for_interval(p: f64) -> usize {
    let inner = p.max(1.0 - p);
    if inner >= 1.0 {
        return MOST_SAMPLES;
    }
    smallest(|n| (n as f64 * inner.ln()).exp() <= TAIL)
}

/// Smallest n that satisfies a condition which stays true once it is true.
fn smallest(enough: impl Fn(usize) -> bool) -> usize {
    let mut high = 1;
    while high < MOST_SAMPLES && !enough(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}

/// 95% interval of the quantile `p` from samples in ascending order: the innermost order statistics with at most 2.5%
/// outside on each side, whatever the distribution of the samples.
pub fn interval(sorted: &[f64], p: f64) -> Option<[f64; 2]> {
    let n = sorted.len();
    if !(0.0..1.0).contains(&p) || p == 0.0 || n < smallest_n_for_interval(p) {
        return None;
    }
    // With B samples below the quantile, B is binomial (n, p). The k-th smallest (from 1) lies above the quantile
    // where B < k, below it where B >= k.
    let mut below = 0.0;
    let mut lower = None;
    let mut upper = None;
    for (count, mass) in binomial(n, p).enumerate() {
        if below <= TAIL && count > 0 {
            lower = Some(count); // P(B < count) is `below`
        }
        below += mass;
        if upper.is_none() && 1.0 - below <= TAIL && count < n {
            upper = Some(count + 1); // P(B >= count + 1) is 1 - `below`
        }
    }
    Some([sorted[lower? - 1], sorted[upper? - 1]])
}

/// Probabilities of 0, 1, ..., n successes out of n, each with probability `p` strictly between 0 and 1.
pub(crate) fn binomial(n: usize, p: f64) -> impl Iterator<Item = f64> {
    let odds = (p / (1.0 - p)).ln();
    let mut log_mass = n as f64 * (-p).ln_1p();
    (0..=n).map(move |count| {
        let mass = log_mass.exp();
        log_mass += ((n - count) as f64 / (count + 1) as f64).ln() + odds;
        mass
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::SplitMix64;

    #[test]
    fn the_smallest_numbers_of_samples_are_the_published_ones() {
        let needed: Vec<usize> = [0.9, 0.95, 0.99, 0.999].map(smallest_n).to_vec();
        assert_eq!(needed, [64, 130, 662, 6636]);
        let bounded: Vec<usize> = [0.5, 0.9, 0.95, 0.99, 0.999].map(smallest_n_for_interval).to_vec();
        assert_eq!(bounded, [6, 36, 72, 368, 3688]);
        assert_eq!(smallest_n(0.5), 1);
        assert_eq!(smallest_n(0.1), 64, "low percentiles need as many as high ones");
    }

    #[test]
    fn a_percentile_is_refused_one_sample_below_its_number_and_given_at_it() {
        for (percent, needed) in [(90.0, 64), (95.0, 130), (99.0, 662)] {
            let samples: Vec<f64> = (0..needed).map(|i| i as f64).collect();
            let refused = percentile(&samples[1..], percent);
            assert_eq!((refused.value, refused.interval, refused.needed), (None, None, needed));
            assert!(percentile(&samples, percent).value.is_some());
        }
    }

    #[test]
    fn interpolation_is_numpys() {
        let samples: Vec<f64> = (0..64).map(|i| f64::from(i * i)).collect();
        assert!((percentile(&samples, 90.0).value.unwrap() - 3215.1).abs() < 1e-9, "numpy.percentile(i**2, 90)");
        assert_eq!(percentile(&samples, 100.0).value, Some(3969.0));
        assert_eq!(percentile(&samples, 0.0).value, Some(0.0));
        assert_eq!(percentile(&[7.0], 50.0).value, Some(7.0));
    }

    #[test]
    fn the_interval_of_a_median_is_the_tabulated_pair_of_order_statistics() {
        // Tables of the sign test, 95%: n = 6 (1, 6), n = 10 (2, 9), n = 20 (6, 15), n = 100 (40, 61).
        for (n, pair) in [(6, [1.0, 6.0]), (10, [2.0, 9.0]), (20, [6.0, 15.0]), (100, [40.0, 61.0])] {
            let samples: Vec<f64> = (1..=n).map(f64::from).collect();
            assert_eq!(interval(&samples, 0.5), Some(pair), "n = {n}");
        }
        assert_eq!(interval(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.5), None);
    }

    #[test]
    fn binomial_masses_sum_to_one_for_large_numbers() {
        for (n, p) in [(10, 0.5), (1000, 0.99), (100_000, 0.999), (5_000, 0.01)] {
            let total: f64 = binomial(n, p).sum();
            assert!((total - 1.0).abs() < 1e-6, "n {n} p {p}: {total}");
        }
    }

    #[test]
    fn an_interval_covers_the_true_quantile_at_least_95_times_in_100() {
        let mut random = SplitMix64::new(7);
        for p in [0.5, 0.9] {
            let covered = (0..2000)
                .filter(|_| {
                    let samples: Vec<f64> = (0..80).map(|_| random.uniform()).collect();
                    let [low, high] = interval(&crate::stats::sorted(&samples), p).unwrap();
                    low <= p && p <= high
                })
                .count();
            assert!((1890..=1999).contains(&covered), "p {p}: {covered} of 2000");
        }
    }
}
