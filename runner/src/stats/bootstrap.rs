//! Is one faster than the other? A ratio of medians with a bootstrap interval.
//!
//! Candidates are measured in turns, one block each a round. Runs within a block resemble each other more than runs
//! of different blocks, and whatever disturbs the machine in a round disturbs both sides. So whole rounds are drawn
//! first, both sides together, then samples within each block drawn: the spread between rounds counts, and a common
//! drift cancels.

use serde::Serialize;

use super::median;
use super::random::SplitMix64;

/// Number of resamples where the samples are few; fewer are drawn where there are many (see [`resamples`]).
const RESAMPLES: usize = 2000;
const FEWEST_RESAMPLES: usize = 400;
/// Samples drawn in total, about.
const DRAWS: usize = 20_000_000;

/// A ratio of medians and how surely it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatioOfMedians {
    /// Median of the first divided by the median of the second.
    pub ratio: f64,
    /// 95% percentile-bootstrap interval.
    pub interval: [f64; 2],
    /// Resamples drawn.
    pub resamples: usize,
    /// Whether the interval excludes 1. Where it does not, no difference has been shown.
    pub difference_shown: bool,
}

/// How many resamples are drawn for `samples` samples in total.
fn resamples(samples: usize) -> usize {
    (DRAWS / samples.max(1)).clamp(FEWEST_RESAMPLES, RESAMPLES)
}

/// Ratio of the median of all `first` samples to the median of all `second` ones; both as rounds of blocks, where
/// blocks of the same position were measured in the same round. Rounds beyond the shorter side stand alone. `None`
/// where a side has no samples or the second median is 0.
pub fn ratio_of_medians(first: &[Vec<f64>], second: &[Vec<f64>], seed: u64) -> Option<RatioOfMedians> {
    let ratio = quotient(median(&first.concat())?, median(&second.concat())?)?;
    let samples: usize = first.iter().chain(second).map(Vec::len).sum();
    let resamples = resamples(samples);
    let mut random = SplitMix64::new(seed);
    let (mut drawn_first, mut drawn_second) = (Vec::new(), Vec::new());
    let mut ratios = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        drawn_first.clear();
        drawn_second.clear();
        let rounds = first.len().max(second.len());
        for _ in 0..rounds {
            let round = random.below(rounds);
            draw(first.get(round), &mut random, &mut drawn_first);
            draw(second.get(round), &mut random, &mut drawn_second);
        }
        let medians = (quick_median(&mut drawn_first), quick_median(&mut drawn_second));
        if let (Some(first), Some(second)) = medians {
            ratios.extend(quotient(first, second));
        }
    }
    ratios.sort_by(f64::total_cmp);
    let at = |p: f64| ratios.get(((ratios.len() as f64 - 1.0) * p).round() as usize).copied();
    let interval = [at(0.025)?, at(0.975)?];
    let difference_shown = interval[0] > 1.0 || interval[1] < 1.0;
    Some(RatioOfMedians { ratio, interval, resamples, difference_shown })
}

/// Draws as many samples as the block has, with replacement.
fn draw(block: Option<&Vec<f64>>, random: &mut SplitMix64, into: &mut Vec<f64>) {
    let Some(block) = block else { return };
    into.extend((0..block.len()).map(|_| block[random.below(block.len())]));
}

fn quotient(first: f64, second: f64) -> Option<f64> {
    (second != 0.0).then(|| first / second)
}

/// Median by selection, which is linear where sorting is not.
fn quick_median(samples: &mut [f64]) -> Option<f64> {
    if samples.is_empty() {
        return None;
    }
    let middle = samples.len() / 2;
    let odd = samples.len() % 2 == 1;
    let (below, &mut upper, _) = samples.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return Some(upper);
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rounds` blocks of `size` samples around `center`, with a disturbance shared by every side of a round.
    fn blocks(center: f64, rounds: usize, size: usize, disturbance: f64, seed: u64) -> Vec<Vec<f64>> {
        let mut shared = SplitMix64::new(99);
        let mut own = SplitMix64::new(seed);
        (0..rounds)
            .map(|_| {
                let factor = 1.0 + disturbance * shared.uniform();
                (0..size).map(|_| center * factor * (1.0 + 0.02 * own.uniform())).collect()
            })
            .collect()
    }

    #[test]
    fn a_true_difference_is_shown_and_its_size_lies_in_the_interval() {
        let result = ratio_of_medians(&blocks(12.0, 10, 20, 0.0, 1), &blocks(10.0, 10, 20, 0.0, 2), 5).unwrap();
        assert!(result.difference_shown);
        assert!(result.interval[0] < 1.2 && 1.2 < result.interval[1], "{result:?}");
    }

    #[test]
    fn equals_are_not_called_different() {
        let shown = (0..100)
            .filter(|&seed| {
                let first = blocks(10.0, 10, 10, 0.0, 2 * seed + 1);
                let second = blocks(10.0, 10, 10, 0.0, 2 * seed + 2);
                ratio_of_medians(&first, &second, seed).unwrap().difference_shown
            })
            .count();
        assert!(shown <= 12, "{shown} of 100 equal pairs called different");
    }

    #[test]
    fn a_disturbance_common_to_both_sides_of_a_round_does_not_hide_a_small_difference() {
        let first = blocks(10.5, 12, 20, 0.3, 1);
        let second = blocks(10.0, 12, 20, 0.3, 2);
        let result = ratio_of_medians(&first, &second, 0).unwrap();
        assert!(result.interval[1] - result.interval[0] < 0.15, "{result:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let (first, second) = (blocks(1.0, 5, 9, 0.1, 1), blocks(1.1, 5, 9, 0.1, 2));
        assert_eq!(ratio_of_medians(&first, &second, 4), ratio_of_medians(&first, &second, 4));
    }

    #[test]
    fn without_samples_there_is_no_ratio() {
        assert_eq!(ratio_of_medians(&[], &[vec![1.0]], 0), None);
        assert_eq!(ratio_of_medians(&[vec![1.0]], &[vec![0.0]], 0), None);
    }

    #[test]
    fn many_samples_are_resampled_less_often() {
        assert_eq!(resamples(100), 2000);
        assert_eq!(resamples(1_000_000), 400);
    }

    #[test]
    fn the_median_by_selection_is_the_median() {
        let mut random = SplitMix64::new(8);
        for n in 1..40 {
            let mut samples: Vec<f64> = (0..n).map(|_| random.uniform()).collect();
            assert_eq!(median(&samples), quick_median(&mut samples));
        }
    }
}
