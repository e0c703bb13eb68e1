//! Runs before those that count: the first ones allocate, tune, compile and raise clocks.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::plan::{Plan, SLICE, WarmUp};
use crate::model::opened::{Block, Model, ModelError, Scope};
use crate::model::tensor::Tensor;
use crate::stats::median;

/// Seconds of one window; a longer run is a window of its own.
const WINDOW: f64 = 0.2;
/// Two windows agree where their medians differ by no more than this fraction.
const AGREEMENT: f64 = 0.05;
/// Windows in a row that must agree.
const AGREEING: usize = 3;
/// Seconds after which a row that is not steady is measured all the same, with a warning.
const PATIENCE: f64 = 10.0;

/// What was run to warm up; none of it is in the results.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WarmedUp {
    /// Runs.
    pub runs: usize,
    /// Seconds they took.
    pub seconds: f64,
    /// Median of each window, in milliseconds.
    pub windows_ms: Vec<f64>,
    /// Whether the last windows agree; `None` where a fixed amount was asked for.
    pub steady: Option<bool>,
}

/// Warms a model up for one shape.
///
/// # Errors
/// [`ModelError`] of the first run that fails.
pub fn warm_up(
    model: &mut dyn Model,
    inputs: &[Tensor],
    scope: Scope,
    plan: &Plan,
    stop: &AtomicBool,
) -> Result<WarmedUp, ModelError> {
    let mut warmed = WarmedUp::default();
    match plan.warmup {
        WarmUp::Runs(runs) => {
            while warmed.runs < runs && !stop.load(Ordering::Relaxed) {
                let block = Block { max_runs: runs - warmed.runs, ..Plan::seconds(scope, SLICE) };
                warmed.add(&model.time(inputs, block)?)?;
            }
        }
        WarmUp::Seconds(seconds) => loop {
            warmed.add(&model.time(inputs, Plan::seconds(scope, SLICE.min(seconds - warmed.seconds)))?)?;
            if warmed.seconds >= seconds || stop.load(Ordering::Relaxed) {
                break;
            }
        },
        WarmUp::UntilSteady => {
            while !warmed.is_steady() && warmed.seconds < PATIENCE && !stop.load(Ordering::Relaxed) {
                warmed.add(&model.time(inputs, Plan::seconds(scope, WINDOW))?)?;
            }
            warmed.steady = Some(warmed.is_steady());
        }
    }
    Ok(warmed)
}

impl WarmedUp {
    fn add(&mut self, seconds: &[f64]) -> Result<(), ModelError> {
        if seconds.is_empty() {
            return Err(ModelError::Failed("a block of runs gave no sample".into()));
        }
        self.runs += seconds.len();
        self.seconds += seconds.iter().sum::<f64>();
        self.windows_ms.extend(median(seconds).map(|median| median * 1e3));
        Ok(())
    }

    fn is_steady(&self) -> bool {
        let windows = &self.windows_ms;
        let Some(last) = windows.len().checked_sub(AGREEING).map(|start| &windows[start..]) else { return false };
        last.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= AGREEMENT * pair[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::Fake;

    /// Warms up a model whose windows take the given milliseconds a run, the last for ever.
    fn warm(windows: &[f64], warmup: WarmUp) -> WarmedUp {
        let mut at = 0;
        let mut fake = Fake::new(|_| Ok(vec![])).clocked(|_, block| {
            let seconds = windows[at.min(windows.len() - 1)] / 1e3;
            at += 1;
            let runs = ((block.max_seconds / seconds).ceil() as usize).clamp(1, block.max_runs);
            Ok(vec![seconds; runs])
        });
        let plan = Plan { warmup, ..Plan::default() };
        warm_up(&mut fake, &[], Scope::EndToEnd, &plan, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn it_ends_as_soon_as_three_windows_agree() {
        let warmed = warm(&[900.0, 30.0, 20.0, 10.2, 10.0, 10.1], WarmUp::UntilSteady);
        assert_eq!(warmed.windows_ms.len(), 6);
        assert_eq!(warmed.steady, Some(true));
    }

    #[test]
    fn a_window_agrees_with_the_one_before_it_within_a_twentieth_of_that() {
        let windows = |second: f64| warm(&[100.0, second], WarmUp::UntilSteady).windows_ms.len();
        assert_eq!([windows(95.1), windows(94.9)], [3, 4]);
        assert_eq!([windows(104.9), windows(105.1)], [3, 4]);
    }

    #[test]
    fn what_never_settles_is_measured_all_the_same_and_told() {
        let windows: Vec<f64> = (0..1000).map(|i| if i % 2 == 0 { 10.0 } else { 12.0 }).collect();
        let warmed = warm(&windows, WarmUp::UntilSteady);
        assert_eq!(warmed.steady, Some(false));
        assert!((PATIENCE..PATIENCE + 2.0 * WINDOW).contains(&warmed.seconds), "{}", warmed.seconds);
    }

    #[test]
    fn a_fixed_amount_is_what_was_asked_for() {
        assert_eq!(warm(&[10.0], WarmUp::Runs(7)).runs, 7);
        assert_eq!(warm(&[10.0], WarmUp::Runs(0)), WarmedUp::default());
        assert_eq!(warm(&[10.0], WarmUp::Seconds(0.5)).runs, 50);
        assert_eq!(warm(&[10.0], WarmUp::Seconds(0.0)).runs, 1);
        assert!((25..=26).contains(&warm(&[100.0], WarmUp::Seconds(2.5)).runs), "in several slices");
    }

    #[test]
    fn a_long_fixed_amount_ends_soon_after_a_stop() {
        for warmup in [WarmUp::Runs(1_000_000), WarmUp::Seconds(3600.0)] {
            let stop = AtomicBool::new(false);
            let mut fake = Fake::new(|_| Ok(vec![])).clocked(|_, block| {
                stop.store(true, Ordering::Relaxed);
                assert!(block.max_seconds <= SLICE);
                Ok(vec![0.01; ((block.max_seconds / 0.01) as usize).clamp(1, block.max_runs)])
            });
            let plan = Plan { warmup, ..Plan::default() };
            let warmed = warm_up(&mut fake, &[], Scope::EndToEnd, &plan, &stop).unwrap();
            assert!(warmed.seconds <= 2.0 * SLICE, "{}", warmed.seconds);
        }
    }
}
