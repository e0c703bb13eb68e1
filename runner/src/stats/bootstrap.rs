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
/// Rounds that both sides must share before anything is said of a difference: fewer than six that all favour one side
/// happen by chance more often than once in twenty times (2 x 0.5^5 = 0.06), and resampling one round knows no spread.
pub const ROUNDS_NEEDED: usize = 6;

/// A ratio of medians and how surely it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatioOfMedians {
    /// Median of the first divided by the median of the second.
    pub ratio: f64,
    /// 95% percentile-bootstrap interval, for one ratio or several together; `None` below `rounds_needed` rounds.
    pub interval: Option<[f64; 2]>,
    /// Rounds in which both sides were measured; for a mean of several ratios, of the one with the fewest.
    pub rounds: usize,
    /// [`ROUNDS_NEEDED`].
    pub rounds_needed: usize,
    /// Resamples drawn.
    pub resamples: usize,
    /// Whether the interval excludes 1. Where it does not, or there is none, no difference has been shown.
    pub difference_shown: bool,
}

impl RatioOfMedians {
    /// Whether the second side is shown to be the faster one.
    pub fn gain_shown(&self) -> bool {
        self.interval.is_some_and(|[low, _]| low > 1.0)
    }
}

/// Blocks of the two sides, one a round; blocks of the same position were measured in the same round.
pub type Sides = [Vec<Vec<f64>>; 2];

/// How many resamples are drawn for `samples` samples in total.
fn resamples(samples: usize) -> usize {
    (DRAWS / samples.max(1)).clamp(FEWEST_RESAMPLES, RESAMPLES)
}

/// Ratio of the median of all samples of the first side to the median of all samples of the second. Rounds beyond the
/// shorter side stand alone. `None` where a side has no samples or the second median is 0.
pub fn ratio_of_medians(sides: Sides, seed: u64) -> Option<RatioOfMedians> {
    mean_ratio(&[sides], 1, seed)
}

/// Geometric mean of the ratios of several pairs, as [`ratio_of_medians`] gives each. `None` without pairs, or where a
/// pair has no ratio. The interval is that of one of `comparisons` which hold together with 95% (Bonferroni): of many
/// candidates that are equally fast, one seems faster by chance.
pub fn mean_ratio(pairs: &[Sides], comparisons: usize, seed: u64) -> Option<RatioOfMedians> {
    let ratios = pairs.iter().map(|[first, second]| quotient(median(&first.concat())?, median(&second.concat())?));
    let ratio = geometric_mean(ratios)?;
    let measured = |first: &[Vec<f64>], second: &[Vec<f64>]| {
        first.iter().zip(second).filter(|(first, second)| !first.is_empty() && !second.is_empty()).count()
    };
    let rounds = pairs.iter().map(|[first, second]| measured(first, second)).min()?;
    let unknown = RatioOfMedians {
        ratio,
        interval: None,
        rounds,
        rounds_needed: ROUNDS_NEEDED,
        resamples: 0,
        difference_shown: false,
    };
    if rounds < ROUNDS_NEEDED {
        return Some(unknown);
    }
    let resamples = resamples(pairs.iter().flatten().flatten().map(Vec::len).sum());
    let mut random = SplitMix64::new(seed);
    let mut drawn = [Vec::new(), Vec::new()];
    let resampled = |_| geometric_mean(pairs.iter().map(|sides| resampled_ratio(sides, &mut random, &mut drawn)));
    let mut ratios: Vec<f64> = (0..resamples).filter_map(resampled).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |p: f64| ratios.get(((ratios.len() as f64 - 1.0) * p).round() as usize).copied();
    let tail = 0.025 / comparisons.max(1) as f64;
    let interval = [at(tail)?, at(1.0 - tail)?];
    let difference_shown = interval[0] > 1.0 || interval[1] < 1.0;
    Some(RatioOfMedians { interval: Some(interval), resamples, difference_shown, ..unknown })
}

/// The ratio of rounds drawn with replacement; `drawn` is room for their samples.
fn resampled_ratio([first, second]: &Sides, random: &mut SplitMix64, drawn: &mut [Vec<f64>; 2]) -> Option<f64> {
    drawn.iter_mut().for_each(Vec::clear);
    let rounds = first.len().max(second.len());
    for _ in 0..rounds {
        let round = random.below(rounds);
        draw(first.get(round), random, &mut drawn[0]);
        draw(second.get(round), random, &mut drawn[1]);
    }
    let [first, second] = drawn;
    quotient(quick_median(first)?, quick_median(second)?)
}

fn geometric_mean(ratios: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let ratios: Vec<f64> = ratios.collect::<Option<_>>()?;
    match ratios.as_slice() {
        [] => None,
        [only] => Some(*only),
        several => Some((several.iter().map(|ratio| ratio.ln()).sum::<f64>() / several.len() as f64).exp()),
    }
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
        let result = ratio_of_medians([blocks(12.0, 10, 20, 0.0, 1), blocks(10.0, 10, 20, 0.0, 2)], 5).unwrap();
        assert!(result.difference_shown);
        let [low, high] = result.interval.unwrap();
        assert!(low < 1.2 && 1.2 < high && result.gain_shown(), "{result:?}");
    }

    #[test]
    fn equals_are_not_called_different() {
        let shown = (0..100)
            .filter(|&seed| {
                let first = blocks(10.0, 10, 10, 0.0, 2 * seed + 1);
                let second = blocks(10.0, 10, 10, 0.0, 2 * seed + 2);
                ratio_of_medians([first, second], seed).unwrap().difference_shown
            })
            .count();
        assert!(shown <= 12, "{shown} of 100 equal pairs called different");
    }

    #[test]
    fn a_disturbance_common_to_both_sides_of_a_round_does_not_hide_a_small_difference() {
        let first = blocks(10.5, 12, 20, 0.3, 1);
        let second = blocks(10.0, 12, 20, 0.3, 2);
        let result = ratio_of_medians([first, second], 0).unwrap();
        let [low, high] = result.interval.unwrap();
        assert!(high - low < 0.15, "{result:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let sides = [blocks(1.0, 7, 9, 0.1, 1), blocks(1.1, 7, 9, 0.1, 2)];
        assert_eq!(ratio_of_medians(sides.clone(), 4), ratio_of_medians(sides, 4));
    }

    #[test]
    fn without_samples_there_is_no_ratio() {
        assert_eq!(ratio_of_medians([vec![], vec![vec![1.0]]], 0), None);
        assert_eq!(ratio_of_medians([vec![vec![1.0]], vec![vec![0.0]]], 0), None);
        assert_eq!(mean_ratio(&[], 1, 0), None);
    }

    #[test]
    fn few_rounds_have_a_ratio_but_no_interval_and_show_no_difference() {
        for rounds in 1..ROUNDS_NEEDED {
            let result = ratio_of_medians([blocks(12.0, rounds, 50, 0.0, 1), blocks(10.0, 9, 50, 0.0, 2)], 5).unwrap();
            assert!((result.ratio - 1.2).abs() < 0.02, "{result:?}");
            assert_eq!((result.interval, result.difference_shown, result.rounds), (None, false, rounds));
            assert!(!result.gain_shown());
        }
        let enough = ratio_of_medians([blocks(12.0, 6, 50, 0.0, 1), blocks(10.0, 6, 50, 0.0, 2)], 5).unwrap();
        assert!(enough.gain_shown(), "{enough:?}");
        // Six rounds of which each side missed some share fewer.
        let holes = |at: usize| {
            let mut blocks = blocks(10.0, 6, 5, 0.0, 3);
            blocks[at].clear();
            blocks
        };
        assert_eq!(ratio_of_medians([holes(0), holes(5)], 0).unwrap().rounds, 4);
    }

    #[test]
    fn of_several_comparisons_each_needs_a_wider_interval() {
        let sides = [blocks(10.1, 10, 5, 0.0, 1), blocks(10.0, 10, 5, 0.0, 2)];
        let interval =
            |comparisons| mean_ratio(std::slice::from_ref(&sides), comparisons, 3).unwrap().interval.unwrap();
        let (alone, of_eight) = (interval(1), interval(8));
        assert!(of_eight[0] < alone[0] && alone[1] < of_eight[1], "{alone:?} {of_eight:?}");
    }

    #[test]
    fn a_mean_of_ratios_is_geometric_and_as_sure_as_its_parts() {
        let pair = |first, second| [blocks(first, 8, 20, 0.0, 1), blocks(second, 8, 20, 0.0, 2)];
        let even = mean_ratio(&[pair(20.0, 10.0), pair(10.0, 20.0)], 1, 0).unwrap();
        assert!((even.ratio - 1.0).abs() < 0.01 && !even.difference_shown, "{even:?}");
        let faster = mean_ratio(&[pair(20.0, 10.0), pair(10.0, 10.0)], 1, 0).unwrap();
        assert!((faster.ratio - 2f64.sqrt()).abs() < 0.02 && faster.gain_shown(), "{faster:?}");
        let short = [blocks(20.0, 2, 20, 0.0, 1), blocks(10.0, 2, 20, 0.0, 2)];
        assert_eq!(mean_ratio(&[pair(20.0, 10.0), short], 1, 0).unwrap().interval, None);
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
