//! What is asked of a search, and what it finds: the tuning file.

use std::io;
use std::path::PathBuf;

use resnext_builder::optimize::OptimizeError;
use resnext_builder::passes::{Lowering, Width};
use resnext_builder::tuning::Tuning;
use serde::Serialize;

use crate::model::file::MetadataError;
use crate::model::opened::ModelError;
use crate::model::shaped::{InputShape, ShapeError};
use crate::stats::ratio::RatioOfMedians;
use crate::verb::bench::plan::Plan;
use crate::verb::compare::difference::{Difference, joined};

/// What to tune, and how long to measure.
pub struct Request {
    /// The model.
    pub model: PathBuf,
    /// What people call it.
    pub name: String,
    /// Shapes of its inputs, where it leaves them open.
    pub shapes: Vec<InputShape>,
    /// Where the winner will go; candidates are written beside it for a while.
    pub output: PathBuf,
    /// Widths to try.
    pub widths: Vec<usize>,
    /// How each round is measured; the last one twice as long.
    pub plan: Plan,
    /// Threads within a node.
    pub threads: usize,
}

/// A way to lower the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Least channels a group by stage; 1 is as it was.
    pub widths: Vec<usize>,
    /// Whether strided 1x1 convolutions become a subsampling and a dense convolution.
    pub subsample: bool,
}

impl Choice {
    /// The passes it stands for.
    pub(crate) fn lowering(&self) -> Lowering {
        let group_widths = self.widths.iter().map(|&width| Width::at_least(width)).collect();
        Lowering { group_widths, subsample: self.subsample, ..Lowering::default() }
    }
}

/// One candidate in one round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// How the model was lowered.
    #[serde(flatten)]
    pub choice: Choice,
    /// One for each batch size that gave a result.
    pub rows: Vec<Timing>,
    /// Geometric mean over the batch sizes of how many times as fast as the original; `None` where it is out.
    pub score: Option<f64>,
    /// The same with its interval, which holds for all candidates of the round together; absent for the original itself.
    pub gain: Option<RatioOfMedians>,
    /// Why it is out.
    #[serde(serialize_with = "crate::coded::maybe_with_text")]
    pub out: Option<Out>,
}

/// Why a candidate is out.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Out {
    /// It does not compute what the original computes.
    #[error("{}", joined(.differences, ", "))]
    Differs {
        /// What is wrong.
        differences: Vec<Difference>,
    },
    /// It gave no result.
    #[error("{error}")]
    Failed {
        /// Why.
        error: ModelError,
    },
    /// It was not measured at every batch size.
    #[error("not measured")]
    NotMeasured,
}

/// How fast a candidate was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Batch size.
    pub batch: usize,
    /// Runs.
    pub runs: usize,
    /// Median time of a run.
    pub median_ms: f64,
    /// Against the original in the same round; absent for the original itself.
    pub speed_up: Option<RatioOfMedians>,
}

/// Candidates that were interleaved; the first is the original.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// `stage-1`, ..., `strided-1x1`, `all-together`.
    pub name: String,
    /// In the order they were given.
    pub trials: Vec<Trial>,
}

impl Round {
    /// The fastest of the candidates that are shown to be faster than the original; `None` where none is.
    pub(crate) fn winner(&self) -> Option<&Trial> {
        let shown = |trial: &&Trial| trial.out.is_none() && trial.gain.as_ref().is_some_and(RatioOfMedians::gain_shown);
        let score = |trial: &&Trial| trial.score.unwrap_or(0.0);
        self.trials.iter().filter(shown).max_by(|a, b| score(a).total_cmp(&score(b)))
    }
}

/// What was found; as JSON, the tuning file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuned {
    /// The winner, and what it was measured with: what `resnext-build --tuning` replays.
    #[serde(flatten)]
    pub tuning: Tuning,
    /// The model.
    pub model: String,
    /// SHA-256 of the file.
    pub model_sha256: Option<String>,
    /// Whether a lowering is shown to be faster than the original. Where none is, the original wins and stays as it is.
    pub changed: bool,
    /// How many times as fast as the original the winner was, over the batch sizes; 1 for the original itself.
    pub score: f64,
    /// All that was tried.
    pub rounds: Vec<Round>,
    /// Seconds it took.
    pub seconds: f64,
}

impl Tuned {
    /// The winner's widths, by stage.
    pub fn widths(&self) -> Vec<usize> {
        self.tuning.stages.iter().map(|stage| stage.width).collect()
    }
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The model could not be read or rewritten.
    #[error(transparent)]
    Rewrite(#[from] OptimizeError),
    /// What the model says of itself.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// There is nothing to choose from.
    #[error("{model}: {reason}; there is nothing to tune")]
    Nothing {
        /// The model.
        model: String,
        /// What is missing.
        reason: &'static str,
    },
    /// A shape asked for is none of the model's.
    #[error("--shape: {0}")]
    Shape(#[from] ShapeError),
    /// The original itself gave no result.
    #[error("{model}: {source}")]
    Original {
        /// The model.
        model: String,
        /// Why.
        source: ModelError,
    },
    /// It was asked to stop: of a search that was not finished nothing can be said.
    #[error("stopped before the search was finished; nothing was written")]
    Interrupted,
    /// A candidate's file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}
