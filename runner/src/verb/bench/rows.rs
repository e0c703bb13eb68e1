//! The rows of a benchmark: raw samples first, then what may be said of them.

use serde::Serialize;

use super::plan::Plan;
use super::warmup::WarmedUp;
use crate::model::candidate::Candidate;
use crate::model::coverage::Coverage;
use crate::model::opened::{ModelError, Scope};
use crate::model::tensor::Tensor;
use crate::note::{Named, Note};
use crate::stats;
use crate::stats::ratio::{RatioOfMedians, Turn, ratio_of_medians};
use crate::stats::{NOISY_CV, Summary, median};

/// Change of the median over the measurement that deserves a warning.
const DRIFTING: f64 = 0.05;

/// Consecutive runs of one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockOfRuns {
    /// Which of the processes, from 0.
    pub process: usize,
    /// Which round, from 0; all rows are measured once a round, in random order.
    pub round: usize,
    /// Whether a run was made before the block and left out.
    pub settled: bool,
    /// Every run, in order, in milliseconds.
    pub samples_ms: Vec<f64>,
}

/// An input that a row's runs were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
}

impl From<&Tensor> for Input {
    fn from(tensor: &Tensor) -> Self {
        Input { name: tensor.name.clone(), shape: tensor.shape.clone() }
    }
}

/// How much faster than the first candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedUp {
    /// Position of the row compared with, of the same batch size and scope.
    pub against: usize,
    /// Its median divided by this row's, and how surely that is known.
    #[serde(flatten)]
    pub ratio: RatioOfMedians,
}

/// What makes the numbers of a row doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Warning {
    /// Runs were not steady after the warm-up.
    NotSteady,
    /// Runs scatter.
    Scatter {
        /// Coefficient of variation.
        cv: f64,
    },
    /// The median moved while it was measured.
    Drift {
        /// By this fraction.
        drift: f64,
    },
    /// Runs far from the others, which are kept.
    Outliers {
        /// How many.
        count: usize,
    },
}

/// One candidate at one batch size in one scope.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// What every run was given; `None` where the model could not be opened or fed.
    pub inputs: Option<Vec<Input>>,
    /// Warm-up of each process.
    pub warmups: Vec<WarmedUp>,
    /// Raw samples.
    pub blocks: Vec<BlockOfRuns>,
    /// Seconds all samples took together.
    pub wall_s: f64,
    /// Time of a run, in milliseconds, over all processes.
    pub latency_ms: Option<Summary>,
    /// Images divided by the wall time of the runs.
    pub images_per_second: Option<f64>,
    /// Median of each process, in milliseconds: what differs from start to start, kept apart from the spread within.
    pub process_medians_ms: Vec<f64>,
    /// Change of the median from the first third of the blocks to the last, as a fraction.
    pub drift: Option<f64>,
    /// Against the first candidate that has a result at the same batch size and scope.
    pub speed_up: Option<SpeedUp>,
    /// Which multiplications run in integers; none for a model that is not quantized, or where the runtime does not
    /// tell.
    pub int8_coverage: Option<Coverage>,
    /// What makes the numbers doubtful.
    #[serde(serialize_with = "crate::coded::with_text")]
    pub warnings: Vec<Warning>,
    /// Why there is no result, or why it is incomplete.
    pub error: Option<ModelError>,
}

impl Row {
    /// Every row of a plan, without samples.
    pub(crate) fn all(candidates: &[Candidate<'_>], plan: &Plan) -> Vec<Row> {
        let mut rows = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            for batch in plan.batches_of(candidate.file) {
                for &scope in &plan.scopes {
                    rows.push(Row {
                        candidate: index,
                        model: candidate.model.clone(),
                        provider: candidate.provider.clone(),
                        batch,
                        scope,
                        inputs: None,
                        warmups: Vec::new(),
                        blocks: Vec::new(),
                        wall_s: 0.0,
                        latency_ms: None,
                        images_per_second: None,
                        process_medians_ms: Vec::new(),
                        drift: None,
                        speed_up: None,
                        int8_coverage: None,
                        warnings: Vec::new(),
                        error: None,
                    });
                }
            }
        }
        rows
    }

    /// Provider, file and batch size, for people.
    pub(crate) fn name(&self) -> String {
        format!("{} {} batch {}", self.provider, self.model, self.batch)
    }

    /// Runs and seconds so far, in one process.
    pub(crate) fn so_far(&self, process: usize) -> (usize, f64) {
        let samples = self.samples(process);
        samples.fold((0, 0.0), |(runs, seconds), sample| (runs + 1, seconds + sample / 1e3))
    }

    /// Seconds of the latest run in one process.
    pub(crate) fn last_run(&self, process: usize) -> Option<f64> {
        self.samples(process).last().map(|sample| sample / 1e3)
    }

    fn samples(&self, process: usize) -> impl Iterator<Item = f64> {
        let blocks = self.blocks.iter().filter(move |block| block.process == process);
        blocks.flat_map(|block| block.samples_ms.iter().copied())
    }

    /// The samples of `against` and of this row, process by process and round by round.
    pub(crate) fn beside(&self, against: &Row) -> Vec<Turn> {
        let blocks = || against.blocks.iter().chain(&self.blocks);
        let processes = blocks().map(|block| block.process + 1).max().unwrap_or(0);
        let turn = |process: usize| {
            let rounds = blocks().filter(|block| block.process == process).map(|block| block.round + 1).max();
            [against, self].map(|row| {
                let block = |round| row.blocks.iter().find(|block| (block.process, block.round) == (process, round));
                let samples = |round| block(round).map(|block| block.samples_ms.clone()).unwrap_or_default();
                (0..rounds.unwrap_or(0)).map(samples).collect()
            })
        };
        (0..processes).map(turn).collect()
    }

    fn all_samples(&self) -> Vec<f64> {
        self.blocks.iter().flat_map(|block| block.samples_ms.iter().copied()).collect()
    }
}

/// Fills in everything that follows from the raw samples.
pub(crate) fn summarise(rows: &mut [Row], plan: &Plan) {
    for row in rows.iter_mut() {
        let samples = row.all_samples();
        row.wall_s = samples.iter().sum::<f64>() / 1e3;
        row.latency_ms = Summary::of(&samples, &plan.percentiles);
        row.images_per_second = (row.wall_s > 0.0).then(|| (row.batch * samples.len()) as f64 / row.wall_s);
        let processes = row.blocks.iter().map(|block| block.process + 1).max().unwrap_or(0);
        let medians = (0..processes).map(|process| median(&row.samples(process).collect::<Vec<_>>()));
        row.process_medians_ms = medians.flatten().collect();
        let blocks: Vec<Vec<f64>> = row.blocks.iter().map(|block| block.samples_ms.clone()).collect();
        row.drift = stats::drift(&blocks);
        row.warnings = warnings(row);
    }
    let speed_ups: Vec<Option<SpeedUp>> = (0..rows.len()).map(|at| speed_up(rows, at)).collect();
    for (row, speed_up) in rows.iter_mut().zip(speed_ups) {
        row.speed_up = speed_up;
    }
}

fn warnings(row: &Row) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let Some(summary) = &row.latency_ms else { return warnings };
    if row.warmups.iter().any(|warmed| warmed.steady == Some(false)) {
        warnings.push(Warning::NotSteady);
    }
    if summary.cv > NOISY_CV {
        warnings.push(Warning::Scatter { cv: summary.cv });
    }
    if let Some(drift) = row.drift.filter(|drift| drift.abs() > DRIFTING) {
        warnings.push(Warning::Drift { drift });
    }
    if !summary.outliers.is_empty() {
        warnings.push(Warning::Outliers { count: summary.outliers.len() });
    }
    warnings
}

/// The row against the first candidate's row of the same batch size and scope that has samples.
fn speed_up(rows: &[Row], at: usize) -> Option<SpeedUp> {
    let row = &rows[at];
    let same = |other: &Row| other.batch == row.batch && other.scope == row.scope && !other.blocks.is_empty();
    let against = rows.iter().position(same).filter(|&against| against != at)?;
    let ratio = ratio_of_medians(&row.beside(&rows[against]))?;
    Some(SpeedUp { against, ratio })
}

/// Where speed-ups are against another candidate than the first, which has no result there.
pub(crate) fn baselines(rows: &[Row]) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for row in rows {
        let Some(against) = row.speed_up.as_ref().map(|speed_up| &rows[speed_up.against]) else { continue };
        let Some(first) = rows.first().filter(|first| first.candidate != against.candidate) else { continue };
        let named = |row: &Row| Named { provider: row.provider.clone(), model: row.model.clone() };
        let (against, first) = (named(against), named(first));
        let note = Note::BaselineReplaced { batch: row.batch, scope: row.scope, against, first };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}
