//! What is to be measured, and how long.

use serde::Serialize;

use crate::model::opened::{Block, Scope};

/// Most runs in one block: bounds the memory that raw samples take.
const MOST_RUNS: usize = 100_000;
/// Longest block in seconds where a number of runs is asked for: a worker that hangs must be noticed, and what is
/// missing is made up for in the blocks that follow.
const LONG: f64 = 60.0;
/// Seconds after which a block looks whether it was asked to stop, unless a single run takes longer.
pub(crate) const SLICE: f64 = 1.0;

/// Runs before those that count; excluded from every number but reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmUp {
    /// Until successive windows of runs agree, for each shape on each provider.
    UntilSteady,
    /// A number of runs.
    Runs(usize),
    /// Runs for a number of seconds.
    Seconds(f64),
}

/// The plan of a benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Batch size.
    pub batches: Vec<usize>,
    /// What the clock encloses.
    pub scopes: Vec<Scope>,
    /// Warm-up.
    pub warmup: WarmUp,
    /// Each row is run at least this often...
    pub min_runs: usize,
    /// ...and for at least this many seconds.
    pub min_seconds: f64,
    /// Blocks in which each row is measured, the rows taking turns in random order.
    pub rounds: usize,
    /// How often the whole is repeated with fresh processes.
    pub processes: usize,
    /// Percentiles to report, in percent.
    pub percentiles: Vec<f64>,
    /// Seed of the inputs, the order of the blocks and the bootstrap.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            batches: vec![1],
            scopes: vec![Scope::EndToEnd],
            warmup: WarmUp::UntilSteady,
            min_runs: 10,
            min_seconds: 5.0,
            rounds: 10,
            processes: 1,
            percentiles: vec![50.0, 90.0, 95.0, 99.0],
            seed: 0,
        }
    }
}

impl Plan {
    /// The next block of a row that has run `runs` times for `seconds` in all before round `round`; `None` once it has
    /// run often and long enough. What is missing is spread over the rounds left.
    pub fn block(&self, scope: Scope, round: usize, runs: usize, seconds: f64) -> Option<Block> {
        let missing_runs = self.min_runs.saturating_sub(runs);
        let missing_seconds = self.min_seconds - seconds;
        let rounds = self.rounds.saturating_sub(round).max(1);
        if missing_seconds > 0.0 {
            return Some(Block { scope, max_runs: MOST_RUNS, max_seconds: missing_seconds / rounds as f64 });
        }
        (missing_runs > 0).then(|| Block {
            scope,
            max_runs: missing_runs.div_ceil(rounds).min(MOST_RUNS),
            max_seconds: LONG,
        })
    }

    /// A block of a number of runs, unless they take very long.
    pub fn runs(scope: Scope, runs: usize) -> Block {
        Block { scope, max_runs: runs.min(MOST_RUNS), max_seconds: LONG }
    }

    /// A block of a number of seconds, one run at least.
    pub fn seconds(scope: Scope, seconds: f64) -> Block {
        Block { scope, max_runs: MOST_RUNS, max_seconds: seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_runs_is_spread_over_the_rounds_and_met_exactly() {
        let plan = Plan { min_runs: 25, min_seconds: 0.0, rounds: 10, ..Plan::default() };
        let mut runs = 0;
        let mut blocks = Vec::new();
        while let Some(block) = plan.block(Scope::EndToEnd, blocks.len(), runs, 1e3) {
            runs += block.max_runs;
            blocks.push(block.max_runs);
        }
        assert_eq!((runs, blocks.len()), (25, 10));
        assert!(blocks.iter().all(|runs| (2..=3).contains(runs)), "{blocks:?}");
    }

    #[test]
    fn both_the_runs_and_the_seconds_must_be_met() {
        let plan = Plan { min_runs: 30, min_seconds: 2.0, rounds: 4, ..Plan::default() };
        let first = plan.block(Scope::EndToEnd, 0, 0, 0.0).unwrap();
        assert_eq!((first.max_runs, first.max_seconds), (MOST_RUNS, 0.5));
        let late = plan.block(Scope::EndToEnd, 7, 22, 2.5).unwrap();
        assert_eq!((late.max_runs, late.max_seconds), (8, LONG));
        assert_eq!(plan.block(Scope::EndToEnd, 4, 30, 2.0), None);
        assert!(plan.block(Scope::EndToEnd, 4, 30, 1.9).is_some());
    }
}
