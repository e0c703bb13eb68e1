//! Is what is measured now slower than what was measured before, by more than is allowed?
//!
//! The unit is the process, for the reason that [`super::ratio`] gives. Two measurements at different times share no
//! turns, so the interval is Welch's over the logarithms of the processes' medians; where both sides were measured in
//! turns, it is Student's over the ratios of the turns, in which a disturbance common to both cancels. Both are 99%
//! intervals: a gate that is asked at every change must raise fewer false alarms than a reader of one table forgives.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Processes of each side that a verdict needs: of three, all of one side happen to be the slow ones too often.
pub const PROCESSES_NEEDED: usize = 4;
/// Probability in each tail of an interval.
const TAIL: f64 = 0.005;
/// Probability with which the smallest change that can be shown is shown.
const POWER: f64 = 0.8;
/// Processes beyond which none are proposed.
const MOST_PROCESSES: usize = 1000;

/// How the time of a run changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Time now divided by the time before: above 1 is slower.
    pub ratio: f64,
    /// 99% interval, for one ratio or several together; `None` below `processes_needed` on either side.
    pub interval: Option<[f64; 2]>,
    /// Processes of each side, before and now.
    pub processes: [usize; 2],
    /// [`PROCESSES_NEEDED`].
    pub processes_needed: usize,
    /// Whether both sides were measured in turns.
    pub in_turns: bool,
    /// The smallest slow-down that these processes would show to be one in 4 of 5 measurements, as a fraction; what they
    /// show to be beyond a limit is [`beyond`] it.
    pub smallest_shown: Option<f64>,
}

/// What may be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Slower by more than is allowed: the whole interval is beyond the limit.
    Regression,
    /// Not slower by more than is allowed: the whole interval is within the limit.
    WithinLimit,
    /// Within the limit, and shown to be faster.
    Faster,
    /// The interval reaches beyond the limit and within it, or there is none.
    CannotTell,
}

impl Change {
    /// What may be said where a run may take longer by the fraction `limit`.
    pub fn judge(&self, limit: f64) -> Judgement {
        match self.interval {
            Some([low, _]) if low > 1.0 + limit => Judgement::Regression,
            Some([_, high]) if high < 1.0 => Judgement::Faster,
            Some([_, high]) if high <= 1.0 + limit => Judgement::WithinLimit,
            _ => Judgement::CannotTell,
        }
    }
}

/// How the medians of processes measured now differ from those measured before, as one of `comparisons` that hold
/// together. `None` where a side has no process, or a median is not above 0.
pub fn of_two_measurements(before: &[f64], now: &[f64], comparisons: usize) -> Option<Change> {
    let (before, now) = (Logs::of(before)?, Logs::of(now)?);
    let spread = before.squared_error() + now.squared_error();
    let freedom = freedom(&before, &now);
    let difference = now.mean - before.mean;
    Some(change(difference, spread.sqrt(), freedom, [before.n, now.n], false, comparisons))
}

/// How the time changed between two sides measured in turns; each pair is the medians of one turn, before and now.
/// `None` without turns, or where a median is not above 0.
pub fn in_turns(turns: &[[f64; 2]], comparisons: usize) -> Option<Change> {
    let ratios: Vec<f64> = turns.iter().map(|[before, now]| now / before).collect();
    let ratios = Logs::of(&ratios)?;
    let freedom = ratios.n as f64 - 1.0;
    Some(change(ratios.mean, ratios.squared_error().sqrt(), freedom, [ratios.n; 2], true, comparisons))
}

fn change(log: f64, error: f64, freedom: f64, processes: [usize; 2], in_turns: bool, comparisons: usize) -> Change {
    let enough = processes.iter().all(|&processes| processes >= PROCESSES_NEEDED);
    let half_width = if enough { quantile(1.0 - tail(comparisons), freedom).map(|t| t * error) } else { None };
    Change {
        ratio: log.exp(),
        interval: half_width.map(|half| [(log - half).exp(), (log + half).exp()]),
        processes,
        processes_needed: PROCESSES_NEEDED,
        in_turns,
        smallest_shown: if enough { smallest_shown(error, freedom, comparisons) } else { None },
    }
}

/// What a measurement to come can show against one that was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// The smallest slow-down that would be shown to be one in 4 of 5 measurements, as a fraction; `None` below the number
    /// of processes that a verdict needs.
    pub smallest_shown: Option<f64>,
    /// Processes of which 4 of 5 measurements show what is not slower to be within the limit asked for: an interval
    /// reaches as far upwards as downwards, so it is the number whose smallest slow-down is the limit. `None` where no
    /// number does, the earlier measurement having too few.
    pub processes: Option<usize>,
}

/// The smallest slow-down that is shown to be beyond `limit` where `smallest` is shown to be one at all.
pub fn beyond(limit: f64, smallest: f64) -> f64 {
    (1.0 + limit) * (1.0 + smallest) - 1.0
}

/// What `processes` processes will show against those of the median times `before`, if they scatter as those do, and how
/// many show what is not slower to be within the fraction `limit`.
pub fn outlook(before: &[f64], processes: usize, limit: f64, comparisons: usize) -> Option<Outlook> {
    let before = Logs::of(before).filter(|before| before.n > 1)?;
    let shown = |processes: usize| {
        let now = Logs { n: processes, ..before };
        let error = (before.squared_error() + now.squared_error()).sqrt();
        let enough = before.n.min(processes) >= PROCESSES_NEEDED;
        if enough { smallest_shown(error, freedom(&before, &now), comparisons) } else { None }
    };
    let suffices = |&processes: &usize| shown(processes).is_some_and(|smallest| smallest <= limit);
    Some(Outlook { smallest_shown: shown(processes), processes: (PROCESSES_NEEDED..=MOST_PROCESSES).find(suffices) })
}

/// Logarithms of the times of processes.
#[derive(Clone, Copy, Debug)]
struct Logs {
    n: usize,
    mean: f64,
    /// With n - 1; 0 for a single process.
    variance: f64,
}

impl Logs {
    fn of(times: &[f64]) -> Option<Logs> {
        if times.is_empty() || times.iter().any(|time| !(time.is_finite() && *time > 0.0)) {
            return None;
        }
        let logs: Vec<f64> = times.iter().map(|time| time.ln()).collect();
        let n = logs.len();
        let mean = logs.iter().sum::<f64>() / n as f64;
        let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
        Some(Logs { n, mean, variance: if n > 1 { squares / (n - 1) as f64 } else { 0.0 } })
    }

    /// Of the mean.
    fn squared_error(&self) -> f64 {
        self.variance / self.n as f64
    }
}

/// Welch and Satterthwaite's degrees of freedom; those of equal variances where nothing scatters.
fn freedom(before: &Logs, now: &Logs) -> f64 {
    let part = |side: &Logs| side.squared_error().powi(2) / (side.n as f64 - 1.0).max(1.0);
    let (together, parts) = (before.squared_error() + now.squared_error(), part(before) + part(now));
    let equal = (before.n + now.n) as f64 - 2.0;
    if parts > 0.0 { (together * together / parts).min(equal) } else { equal }
}

fn tail(comparisons: usize) -> f64 {
    TAIL / comparisons.max(1) as f64
}

fn smallest_shown(error: f64, freedom: f64, comparisons: usize) -> Option<f64> {
    let factor = quantile(1.0 - tail(comparisons), freedom)? + quantile(POWER, freedom)?;
    Some((factor * error).exp() - 1.0)
}

fn quantile(probability: f64, freedom: f64) -> Option<f64> {
    StudentsT::new(0.0, 1.0, freedom).ok().map(|student| student.inverse_cdf(probability))
}

#[cfg(test)]
mod tests;
