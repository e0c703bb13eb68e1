//! Is one faster than the other? A ratio of medians, and an interval from the spread between processes.
//!
//! A process has a speed of its own for as long as it lives: its addresses, its pages, its cores. Runs within it say how
//! well that speed is known, and nothing of how much another process of the same model would differ, so that two copies
//! of one file are told apart by any interval which resamples runs or rounds (Kalibera and Jones, "Rigorous benchmarking
//! in reasonable time", 2013). The unit is therefore the process: both sides are opened together several times, each
//! turn gives one ratio, and the interval is Student's over the logarithms of these ratios. Sides of a turn are measured
//! interleaved, so that a disturbance common to both cancels.
//!
//! Of one process a side only its rounds are left as units: that interval is one of these two processes, and shows no
//! difference between the models.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::median;

/// Processes of each side that an interval of the models needs: of two, Student's factor is 12.7, which says nothing.
pub const PROCESSES_NEEDED: usize = 3;
/// Rounds that an interval of one process a side needs.
pub const ROUNDS_NEEDED: usize = 6;

/// What an interval was drawn from, and so what it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Several processes a side: the interval is one of the models.
    Process,
    /// The rounds of one process a side: the interval is one of these two processes.
    Round,
}

/// A ratio of medians and how surely it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatioOfMedians {
    /// Median of the first divided by the median of the second: the geometric mean over the units.
    pub ratio: f64,
    /// 95% interval, for one ratio or several together; `None` below `units_needed` units.
    pub interval: Option<[f64; 2]>,
    /// What the interval was drawn from.
    pub unit: Unit,
    /// Units in which both sides were measured, and all pairs where there are several.
    pub units: usize,
    /// [`PROCESSES_NEEDED`] or [`ROUNDS_NEEDED`].
    pub units_needed: usize,
    /// Whether a difference between the models is shown: the interval is one of processes and excludes 1.
    pub difference_shown: bool,
}

impl RatioOfMedians {
    /// Whether the second side is shown to be the faster one.
    pub fn gain_shown(&self) -> bool {
        self.difference_shown && self.ratio > 1.0
    }
}

/// Blocks of samples of the two sides in processes that were opened in the same turn, one block a round; blocks of the
/// same position were measured in the same round.
pub type Turn = [Vec<Vec<f64>>; 2];

/// Ratio of the medians of the first side to those of the second. `None` where no turn has samples on both sides, or a
/// median is not above 0.
pub fn ratio_of_medians(turns: &[Turn]) -> Option<RatioOfMedians> {
    mean_ratio(&[turns], 1)
}

/// Geometric mean of the ratios of several pairs that were measured in the same turns. `None` without pairs, or where
/// no unit has all of them. The interval is that of one of `comparisons` which hold together with 95% (Bonferroni): of
/// many candidates that are equally fast, one seems faster by chance.
pub fn mean_ratio(pairs: &[impl AsRef<[Turn]>], comparisons: usize) -> Option<RatioOfMedians> {
    let pairs: Vec<&[Turn]> = pairs.iter().map(AsRef::as_ref).collect();
    let turns = pairs.iter().map(|turns| turns.len()).min()?;
    let of_turn = |turn: usize| mean_log(&pairs, |turns| log_ratio(&turns[turn][0].concat(), &turns[turn][1].concat()));
    let of_processes: Vec<(usize, f64)> = (0..turns).filter_map(|turn| Some((turn, of_turn(turn)?))).collect();
    let (unit, needed, logs) = match *of_processes.as_slice() {
        [] => return None,
        [(turn, alone)] => {
            let rounds = of_rounds(&pairs, turn);
            (Unit::Round, ROUNDS_NEEDED, if rounds.is_empty() { vec![alone] } else { rounds })
        }
        _ => (Unit::Process, PROCESSES_NEEDED, of_processes.iter().map(|&(_, log)| log).collect()),
    };
    let n = logs.len();
    let mean = logs.iter().sum::<f64>() / n as f64;
    let half_width = if n < needed { None } else { half_width(&logs, mean, comparisons) };
    let interval = half_width.map(|half| [(mean - half).exp(), (mean + half).exp()]);
    let excludes_one = interval.is_some_and(|[low, high]| low > 1.0 || high < 1.0);
    let difference_shown = excludes_one && unit == Unit::Process;
    Some(RatioOfMedians { ratio: mean.exp(), interval, unit, units: n, units_needed: needed, difference_shown })
}

/// The logarithms of the ratios round by round of one turn, of the rounds that every pair has.
fn of_rounds(pairs: &[&[Turn]], turn: usize) -> Vec<f64> {
    let rounds = pairs.iter().map(|turns| turns[turn][0].len().min(turns[turn][1].len())).min().unwrap_or(0);
    (0..rounds).filter_map(|at| mean_log(pairs, |turns| log_ratio(&turns[turn][0][at], &turns[turn][1][at]))).collect()
}

/// The mean over the pairs; `None` where one of them has no ratio.
fn mean_log(pairs: &[&[Turn]], log_ratio: impl Fn(&[Turn]) -> Option<f64>) -> Option<f64> {
    let logs: Vec<f64> = pairs.iter().map(|turns| log_ratio(turns)).collect::<Option<_>>()?;
    Some(logs.iter().sum::<f64>() / logs.len() as f64)
}

/// Half the width of Student's interval of the mean.
fn half_width(logs: &[f64], mean: f64, comparisons: usize) -> Option<f64> {
    let n = logs.len() as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let student = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    let tail = 0.025 / comparisons.max(1) as f64;
    Some(student.inverse_cdf(1.0 - tail) * (variance / n).sqrt())
}

fn log_ratio(first: &[f64], second: &[f64]) -> Option<f64> {
    let (first, second) = (median(first)?, median(second)?);
    (first > 0.0 && second > 0.0).then(|| (first / second).ln())
}

#[cfg(test)]
mod tests;
