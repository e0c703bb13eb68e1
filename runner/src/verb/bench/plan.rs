//! What is to be measured, and how long.

use serde::Serialize;

use crate::input::feed::Feed;
use crate::model::file::ModelFile;
use crate::model::opened::{Block, Scope};
use crate::stats::ratio::PROCESSES_NEEDED;
use crate::verb::flags::each_once;

/// Most runs in one block: bounds the memory that raw samples take.
const MOST_RUNS: usize = 100_000;
/// Longest block in seconds where a number of runs is asked for: a worker that hangs must be noticed, and what is
/// missing is made up for in the blocks that follow.
const LONG: f64 = 60.0;
/// Seconds after which a block looks whether it was asked to stop, unless a single run takes longer.
pub(crate) const SLICE: f64 = 1.0;
/// Most processes a row that are opened unasked: Student's factor falls from 4.3 for three to 2.4 for eight, and hardly
/// further.
const MOST_PROCESSES: usize = 8;
/// Seconds a row that starting processes may take in any case, unless a tenth of it is more than what was asked for.
const SHORT_STARTS: f64 = 10.0;
/// Starting processes may take this many times as long as what is measured in them.
const STARTS_TO_MEASURED: f64 = 2.0;

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
    /// Whether these sizes were asked for: every model is measured at each then, and otherwise one with a fixed batch at
    /// that alone.
    #[serde(skip)]
    pub batch_is_asked: bool,
    /// What the clock encloses.
    pub scopes: Vec<Scope>,
    /// Warm-up.
    pub warmup: WarmUp,
    /// Each row is run at least this often, over all its processes...
    pub min_runs: usize,
    /// ...and for at least this many seconds.
    pub min_seconds: f64,
    /// Blocks in which each row is measured, over all its processes, the rows in random order.
    pub rounds: usize,
    /// Processes that each row is measured in, one after the other; `None` for as many as are worth their start (see
    /// [`Plan::affordable`]).
    pub processes: Option<usize>,
    /// Percentiles to report, in percent.
    pub percentiles: Vec<f64>,
    /// Seed of the inputs and the order of the blocks.
    pub seed: u64,
}

fn fixed_batch(file: &ModelFile) -> Option<usize> {
    Feed::of_file(file).ok()?.fixed_batch()
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            batches: vec![1],
            batch_is_asked: true,
            scopes: vec![Scope::EndToEnd],
            warmup: WarmUp::UntilSteady,
            min_runs: 10,
            min_seconds: 5.0,
            rounds: 10,
            processes: None,
            percentiles: vec![50.0, 90.0, 95.0, 99.0],
            seed: 0,
        }
    }
}

impl Plan {
    /// The plan for these models: where no batch size was asked for, those that the models fix.
    pub fn for_models(&self, files: &[ModelFile]) -> Plan {
        let fixed: Vec<usize> = files.iter().filter_map(fixed_batch).collect();
        if self.batch_is_asked || fixed.is_empty() {
            return self.clone();
        }
        Plan { batches: each_once(&fixed), ..self.clone() }
    }

    /// The batch sizes at which a model is measured; `file` is its own.
    pub(crate) fn batches_of(&self, file: Option<&ModelFile>) -> Vec<usize> {
        match file.and_then(fixed_batch) {
            Some(fixed) if !self.batch_is_asked => vec![fixed],
            _ => self.batches.clone(),
        }
    }

    /// How many processes a row are worth it, where the start of one of each row, loading and warm-up together, took
    /// `start_s` and one run of each row takes `runs_s`: all starts may take twice as long as what is measured, or some
    /// seconds a row where that is more. Below the number that an interval needs there is one.
    pub fn affordable(&self, rows: usize, start_s: f64, runs_s: f64) -> usize {
        let measured = (self.min_seconds * rows as f64).max(self.min_runs as f64 * runs_s);
        let worth = (STARTS_TO_MEASURED * measured).max((10.0 * self.min_seconds).min(SHORT_STARTS) * rows as f64);
        let affordable = (worth / start_s.max(f64::MIN_POSITIVE)) as usize;
        if affordable < PROCESSES_NEEDED { 1 } else { affordable.min(MOST_PROCESSES) }
    }

    /// What each of so many processes does of the plan.
    pub fn of_each(&self, processes: usize) -> Plan {
        let processes = processes.max(1);
        Plan {
            min_runs: self.min_runs.div_ceil(processes),
            min_seconds: self.min_seconds / processes as f64,
            rounds: if processes == 1 { self.rounds } else { self.rounds.div_ceil(processes).max(2) },
            ..self.clone()
        }
    }

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
    #[test]
    fn processes_share_the_runs_the_seconds_and_the_rounds() {
        let plan = Plan { min_runs: 10, min_seconds: 4.0, rounds: 10, ..Plan::default() };
        let share = |processes| {
            let each = plan.of_each(processes);
            (each.min_runs, each.min_seconds, each.rounds)
        };
        assert_eq!([share(1), share(4), share(8)], [(10, 4.0, 10), (3, 1.0, 3), (2, 0.5, 2)]);
    }

    #[test]
    fn there_are_as_many_processes_as_are_worth_their_start_enough_for_an_interval_or_one() {
        let plan = Plan { min_runs: 10, min_seconds: 5.0, ..Plan::default() };
        let of = |start_s| plan.affordable(2, start_s, 0.01);
        assert_eq!([of(0.5), of(2.5), of(4.0), of(6.6), of(6.8), of(100.0), of(0.0)], [8, 8, 5, 3, 1, 1, 8]);
        let short = Plan { min_seconds: 1.0, ..plan.clone() };
        assert_eq!([short.affordable(2, 2.5, 0.01), short.affordable(2, 7.0, 0.01)], [8, 1]);
        let glance = Plan { min_seconds: 0.05, ..plan.clone() };
        assert_eq!(glance.affordable(2, 0.7, 0.01), 1);
        // Without a duration what counts is how long the runs take.
        let plan = Plan { min_seconds: 0.0, ..plan };
        assert_eq!([plan.affordable(2, 1.0, 0.0004), plan.affordable(2, 1.0, 0.4)], [1, 8]);
    }
}
