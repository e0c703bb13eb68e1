//! A measurement that was kept: what of it is needed to look at it again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Kind, LeftOut, RecordError};
use crate::host::environment::Environment;
use crate::model::opened::{Loaded, Scope};
use crate::stats::median;

/// A measurement.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Bench {
    /// Machine and time.
    pub environment: Environment,
    /// What was asked for.
    pub plan: Option<Plan>,
    /// What was measured.
    pub candidates: Vec<Candidate>,
    /// One for each candidate, batch size and scope.
    pub rows: Vec<Row>,
    /// Whether it was stopped before its end.
    #[serde(default)]
    pub interrupted: bool,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Plan {
    /// Batch sizes.
    pub batches: Vec<usize>,
    /// Runs of each row at least.
    pub min_runs: usize,
    /// Seconds of each row at least.
    pub min_seconds: f64,
    /// Seed of the inputs and of the order.
    pub seed: u64,
}

/// One model on one provider.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Candidate {
    /// Its processes.
    pub processes: Vec<Process>,
    /// SHA-256 of the file.
    #[serde(default)]
    pub model_sha256: Option<String>,
}

/// One process of a candidate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Process {
    /// Absent where it could not be opened.
    pub loaded: Option<Loaded>,
}

/// Runs that were left out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WarmedUp {
    /// Seconds they took.
    pub seconds: f64,
}

/// Consecutive runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Block {
    /// In which process.
    pub process: usize,
    /// Every run, in milliseconds.
    pub samples_ms: Vec<f64>,
}

/// A percentile of the runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Percentile {
    /// Which, in percent.
    pub percent: f64,
    /// Its value; `None` where there are too few samples.
    pub value: Option<f64>,
    /// Its 95% interval.
    pub interval: Option<[f64; 2]>,
}

/// Description of all runs of a row.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Latency {
    /// The middle of all runs.
    pub median: f64,
    /// Its 95% interval.
    pub median_interval: Option<[f64; 2]>,
    /// The percentiles asked for.
    pub percentiles: Vec<Percentile>,
}

/// How much faster than another row.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SpeedUp {
    /// Position of that row.
    pub against: usize,
    /// Its median divided by this row's.
    pub ratio: f64,
    /// The 95% interval.
    pub interval: Option<[f64; 2]>,
    /// Whether a difference between the models is shown.
    pub difference_shown: bool,
}

/// An input that a row's runs were given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Input {
    /// Its extents.
    pub shape: Vec<usize>,
}

/// One candidate at one batch size in one scope.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Row {
    /// Position of the candidate.
    pub candidate: usize,
    /// Model file.
    pub model: String,
    /// Provider.
    pub provider: String,
    /// Batch size.
    pub batch: usize,
    /// What the clock encloses.
    pub scope: Scope,
    /// What every run was given; `None` where the file does not tell.
    #[serde(default)]
    pub inputs: Option<Vec<Input>>,
    /// Warm-up of each process.
    pub warmups: Vec<WarmedUp>,
    /// Raw samples.
    pub blocks: Vec<Block>,
    /// Time of a run, in milliseconds.
    pub latency_ms: Option<Latency>,
    /// Images divided by the wall time of the runs; version 1 has the other name.
    #[serde(alias = "pictures_per_second")]
    pub images_per_second: Option<f64>,
    /// Against the first candidate.
    pub speed_up: Option<SpeedUp>,
    /// Why there is no result, or why it is incomplete.
    pub error: Option<serde_json::Value>,
}

impl Bench {
    /// Reads a kept measurement: what a file holds, or the only one on a report page.
    ///
    /// # Errors
    /// [`RecordError`], which names the file; also where a page left the samples out.
    pub fn read(path: &Path) -> Result<Bench, RecordError> {
        let mut records = super::read_all(path)?;
        if records.len() > 1 {
            records.retain(|record| record.kind == Kind::Bench);
        }
        let [record] = &records[..] else {
            let text = format!("this page holds {} results of `bench`; give the JSON of the one meant", records.len());
            return Err(RecordError::other(path, text));
        };
        if record.left_out().contains(&LeftOut::Samples) {
            let text = format!("it holds no raw samples; give {}, which it was made from", record.path.display());
            return Err(RecordError::other(path, text));
        }
        record.typed(Kind::Bench, "bench")
    }

    /// What the first process of a row's candidate was loaded with.
    pub fn loaded(&self, row: &Row) -> Option<&Loaded> {
        self.candidates.get(row.candidate)?.processes.iter().find_map(|process| process.loaded.as_ref())
    }

    /// Seconds that a process of a row takes: loading, warm-up, and the runs. `None` without processes.
    pub fn process_seconds(&self, row: &Row) -> Option<f64> {
        let candidate = self.candidates.get(row.candidate)?;
        let loads = candidate.processes.iter().filter_map(|process| process.loaded.as_ref());
        let loads: f64 = loads.map(|loaded| loaded.load_seconds + loaded.first_run_seconds).sum();
        let warmups: f64 = row.warmups.iter().map(|warmed| warmed.seconds).sum();
        let runs: f64 = row.blocks.iter().flat_map(|block| &block.samples_ms).sum::<f64>() / 1e3;
        let processes = row.medians_ms().len();
        (processes > 0).then(|| (loads + warmups + runs) / processes as f64)
    }
}

impl Row {
    /// Median time of each process, by its number; none of a process with a time that is no positive number.
    pub fn medians_ms(&self) -> BTreeMap<usize, f64> {
        let mut samples: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for block in &self.blocks {
            samples.entry(block.process).or_default().extend(&block.samples_ms);
        }
        let median = |(process, samples): (usize, Vec<f64>)| Some((process, median(&samples)?));
        samples.into_iter().filter_map(median).filter(|(_, median)| median.is_finite() && *median > 0.0).collect()
    }
}
