//! Pure arithmetic on samples: what may be claimed from measurements, and how surely.
//!
//! Nothing here knows what was measured: samples are in any unit, and every result is in the same unit. No sample is
//! ever dropped; outliers are flagged.

pub mod change;
pub mod percentile;
pub mod proportion;
pub mod random;
pub mod range;
pub mod ranking;
pub mod ratio;
#[cfg(test)]
mod simulated;

use serde::Serialize;

use crate::stats::percentile::{Percentile, percentile};

/// Largest modified z-score that is not an outlier. Iglewicz and Hoaglin (1993) take 3.5; 14.8 (ten standard
/// deviations of a normal distribution, what hyperfine takes) leaves the ordinary right tail of a latency alone.
pub const OUTLIER_SCORE: f64 = 14.8;

/// Coefficient of variation above which a measurement deserves a warning.
pub const NOISY_CV: f64 = 0.025;

/// Description of a set of samples, in the unit of the samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of samples.
    pub n: usize,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with n - 1; 0 for a single sample.
    pub sd: f64,
    /// Standard deviation divided by the mean.
    pub cv: f64,
    /// Median: the middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// 95% order-statistic interval of the median; `None` below 6 samples.
    pub median_interval: Option<[f64; 2]>,
    /// The percentiles asked for, in the order asked.
    pub percentiles: Vec<Percentile>,
    /// Positions (in the order measured) of samples whose modified z-score exceeds [`OUTLIER_SCORE`].
    pub outliers: Vec<usize>,
}

impl Summary {
    /// Describes `samples` (any order); `percentiles` in percent, such as 99.9. `None` where there is no sample or one
    /// is not finite.
    pub fn of(samples: &[f64], percentiles: &[f64]) -> Option<Summary> {
        if samples.is_empty() || samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let sorted = sorted(samples);
        let n = samples.len();
        let mean = samples.iter().sum::<f64>() / n as f64;
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        let sd = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
        Some(Summary {
            n,
            min: sorted[0],
            max: sorted[n - 1],
            mean,
            sd,
            cv: if mean == 0.0 { 0.0 } else { sd / mean },
            median: median_of_sorted(&sorted),
            median_interval: percentile::interval(&sorted, 0.5),
            percentiles: percentiles.iter().map(|&p| percentile(&sorted, p)).collect(),
            outliers: outliers(samples),
        })
    }
}

/// The samples in ascending order.
pub fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Median of samples in any order; `None` without samples.
pub fn median(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| median_of_sorted(&sorted(samples)))
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Positions of the samples whose modified z-score, `0.6745 (x - median) / MAD`, exceeds [`OUTLIER_SCORE`] in size.
///
/// Where more than half of the samples are equal the MAD is 0; the mean absolute deviation then takes its place, with
/// the factor 0.7979 (Iglewicz and Hoaglin, as in IBM's definition of the score).
pub fn outliers(samples: &[f64]) -> Vec<usize> {
    let Some(center) = median(samples) else { return Vec::new() };
    let deviations: Vec<f64> = samples.iter().map(|sample| (sample - center).abs()).collect();
    let mad = median(&deviations).unwrap_or(0.0) / 0.6745;
    let scale = if mad > 0.0 {
        mad
    } else {
        deviations.iter().sum::<f64>() / deviations.len() as f64 / 0.797_884_560_802_865_4
    };
    if scale == 0.0 {
        return Vec::new();
    }
    (0..samples.len()).filter(|&i| deviations[i] / scale > OUTLIER_SCORE).collect()
}

/// Median of the last third of the blocks relative to that of the first third, minus 1: how far the machine drifted
/// while it was measured. `None` below three blocks.
pub fn drift(blocks: &[Vec<f64>]) -> Option<f64> {
    let third = blocks.len() / 3;
    if third == 0 {
        return None;
    }
    let first = median(&blocks[..third].concat())?;
    let last = median(&blocks[blocks.len() - third..].concat())?;
    (first > 0.0).then(|| last / first - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_known_samples_has_the_known_values() {
        let summary = Summary::of(&[4.0, 2.0, 8.0, 6.0], &[50.0]).unwrap();
        assert_eq!((summary.n, summary.min, summary.max), (4, 2.0, 8.0));
        assert_eq!((summary.mean, summary.median), (5.0, 5.0));
        assert!((summary.sd - (20.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((summary.cv - summary.sd / 5.0).abs() < 1e-15);
        assert_eq!(summary.median_interval, None, "four samples bound no median");
    }

    #[test]
    fn one_sample_has_no_spread_and_none_has_no_summary() {
        let one = Summary::of(&[3.0], &[]).unwrap();
        assert_eq!((one.sd, one.median, one.cv), (0.0, 3.0, 0.0));
        assert_eq!(Summary::of(&[], &[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN], &[]), None);
        assert_eq!(Summary::of(&[1.0, f64::INFINITY], &[]), None);
    }

    #[test]
    fn an_outlier_is_flagged_where_it_was_measured_and_stays_in_the_summary() {
        let mut samples: Vec<f64> = (0..50).map(|i| 10.0 + f64::from(i % 5) * 0.1).collect();
        samples[17] = 30.0;
        let summary = Summary::of(&samples, &[]).unwrap();
        assert_eq!(summary.outliers, [17]);
        assert_eq!((summary.n, summary.max), (50, 30.0));
    }

    #[test]
    fn equal_samples_have_no_outliers_and_a_lone_different_one_is_found() {
        assert_eq!(outliers(&[2.0; 20]), Vec::<usize>::new());
        let mut samples = vec![2.0; 200];
        samples[3] = 9.0;
        assert_eq!(outliers(&samples), [3]);
    }

    #[test]
    fn a_right_tail_of_ordinary_length_is_no_outlier() {
        let samples: Vec<f64> = (1..200).map(|i| -(f64::from(i) / 200.0).ln()).collect();
        assert_eq!(outliers(&samples), Vec::<usize>::new());
    }

    #[test]
    fn an_outlier_is_14_8_deviations_away_as_the_median_deviation_tells_them() {
        let with = |far: f64| outliers(&[[-1.0, 1.0].repeat(10), vec![far, -far]].concat());
        assert_eq!(with(21.9), [0; 0], "14.8 / 0.6745 = 21.94");
        assert_eq!(with(22.0), [20, 21]);
    }

    #[test]
    fn an_outlier_among_equals_is_14_8_deviations_away_as_the_mean_deviation_tells_them() {
        let lone = |others: usize| outliers(&[vec![2.0; others], vec![9.0]].concat());
        assert_eq!(lone(17), [0; 0], "14.8 / 0.7979 = 18.55 samples");
        assert_eq!(lone(18), [18]);
    }

    #[test]
    fn drift_is_the_change_from_the_first_third_to_the_last() {
        let blocks: Vec<Vec<f64>> = [10.0, 10.0, 10.5, 10.5, 11.0, 11.0].iter().map(|&v| vec![v; 3]).collect();
        assert!((drift(&blocks).unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(drift(&blocks[..2]), None);
    }
}
