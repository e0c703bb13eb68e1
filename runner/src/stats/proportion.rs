//! Counts of successes: Wilson's interval of a proportion and McNemar's test of two paired classifiers.

use serde::Serialize;

use super::percentile::binomial;

/// 97.5% quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Differing pairs beyond which the exact test gives way to the normal approximation.
const MOST_EXACT: usize = 1_000_000;

/// A proportion of successes with its 95% Wilson score interval (Wilson 1927), which stays within 0 and 1 and is
/// honest for few trials and for proportions near the ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wilson {
    /// Successes.
    pub successes: usize,
    /// Trials.
    pub trials: usize,
    /// Successes divided by trials.
    pub proportion: f64,
    /// 95% interval.
    pub interval: [f64; 2],
}

/// Wilson's interval; `None` without trials.
pub fn wilson(successes: usize, trials: usize) -> Option<Wilson> {
    if trials == 0 || successes > trials {
        return None;
    }
    let n = trials as f64;
    let proportion = successes as f64 / n;
    let center = (proportion + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z * (proportion * (1.0 - proportion) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
    // At the ends the bound is the proportion itself; rounding must not move it past.
    let low = if successes == 0 { 0.0 } else { (center - half).max(0.0) };
    let high = if successes == trials { 1.0 } else { (center + half).min(1.0) };
    Some(Wilson { successes, trials, proportion, interval: [low, high] })
}

/// McNemar's test on the pairs on which exactly one of two classifiers is right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Pairs on which only the first is right.
    pub only_first: usize,
    /// Pairs on which only the second is right.
    pub only_second: usize,
    /// Two-sided p-value: how often equally good classifiers would differ this much or more.
    pub p_value: f64,
    /// Whether `p_value` is below 0.05.
    pub difference_shown: bool,
}

/// What the share of pairs lost, less those gained, is below with 95% confidence: Wald's bound of a difference of paired
/// proportions after adding half a pair to each count of disagreements (Agresti and Min 2005), so that no loss among few
/// pairs is no proof.
pub fn loss_bound(lost: usize, gained: usize, pairs: usize) -> f64 {
    // The 95th percentile of the normal distribution.
    const Z: f64 = 1.644_853_626_951_472_7;
    let (lost, gained, pairs) = (lost as f64 + 0.5, gained as f64 + 0.5, pairs as f64 + 2.0);
    let difference = lost - gained;
    (difference + Z * (lost + gained - difference * difference / pairs).sqrt()) / pairs
}

/// The exact (binomial) two-sided McNemar test.
pub fn mcnemar(only_first: usize, only_second: usize) -> McNemar {
    let n = only_first + only_second;
    let fewer = only_first.min(only_second);
    let p_value = if n == 0 {
        1.0
    } else if n <= MOST_EXACT {
        let tail: f64 = binomial(n, 0.5).take(fewer + 1).sum();
        (2.0 * tail).min(1.0)
    } else {
        normal_two_sided((only_first.abs_diff(only_second) as f64 - 1.0).max(0.0) / (n as f64).sqrt())
    };
    McNemar { only_first, only_second, p_value, difference_shown: p_value < 0.05 }
}

/// Probability that a standard normal variable is at least `z` in size, by Abramowitz and Stegun 7.1.26 (error below
/// 1.5e-7).
fn normal_two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let coefficients = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = coefficients.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    polynomial * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }

    #[test]
    fn a_loss_is_below_its_bound_and_no_loss_among_few_pairs_is_no_proof() {
        // 300 pairs, none different: (0 + 1.6449 sqrt(1)) / 302.
        close(loss_bound(0, 0, 300), 1.644_853_626_951_472_7 / 302.0, 1e-15);
        close(loss_bound(5, 1, 300), (4.0 + 1.644_853_626_951_472_7 * (7.0f64 - 16.0 / 302.0).sqrt()) / 302.0, 1e-15);
        assert!(loss_bound(0, 0, 10) > 0.1 && loss_bound(0, 9, 100) < 0.0);
    }

    #[test]
    fn wilson_intervals_are_those_of_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        for (successes, trials, low, high) in [
            (8, 10, 0.490_162_471_536_641_8, 0.943_317_848_545_624_8),
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_9, 1.0),
            (776, 1000, 0.749_131_065_976_960_6, 0.800_756_563_339_012_8),
        ] {
            let found = wilson(successes, trials).unwrap();
            close(found.interval[0], low, 1e-12);
            close(found.interval[1], high, 1e-12);
        }
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn a_wilson_interval_holds_its_proportion_and_narrows_with_trials() {
        for trials in [1, 2, 5, 50, 5000] {
            for successes in [0, trials / 2, trials] {
                let found = wilson(successes, trials).unwrap();
                let [low, high] = found.interval;
                assert!(0.0 <= low && low <= found.proportion && found.proportion <= high && high <= 1.0);
            }
        }
        let width = |n| wilson(n / 2, n).map(|w| w.interval[1] - w.interval[0]).unwrap();
        assert!(width(10) > width(100) && width(100) > width(1000));
    }

    #[test]
    fn mcnemars_exact_p_values_are_the_binomial_ones() {
        close(mcnemar(0, 5).p_value, 0.0625, 1e-12);
        close(mcnemar(1, 9).p_value, 22.0 / 1024.0, 1e-12);
        close(mcnemar(5, 5).p_value, 1.0, 1e-12);
        assert_eq!(mcnemar(0, 0).p_value, 1.0);
        assert!(mcnemar(1, 9).difference_shown && !mcnemar(0, 5).difference_shown);
        assert_eq!(mcnemar(3, 8).p_value, mcnemar(8, 3).p_value);
    }

    #[test]
    fn beyond_the_exact_test_the_difference_is_corrected_for_continuity() {
        // 2 (1 - Phi((1501 - 1) / sqrt(1001501))); without the correction it is 0.13365.
        close(mcnemar(500_000, 501_501).p_value, 0.133_905_9, 1e-6);
        close(mcnemar(500_001, 500_001).p_value, 1.0, 1e-6);
    }

    #[test]
    fn the_normal_approximation_meets_the_exact_test() {
        let (first, second) = (498_500, 500_000);
        let exact = mcnemar(first, second).p_value;
        let approximate = normal_two_sided((1500.0 - 1.0) / 998_500.0_f64.sqrt());
        close(approximate, exact, 1e-4);
        close(normal_two_sided(1.959_963_984_540_054), 0.05, 1e-6);
    }
}
