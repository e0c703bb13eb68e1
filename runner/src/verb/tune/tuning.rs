//! Which widths of its grouped convolutions, and which form of its strided 1x1s, make a model fastest here?
//!
//! Stage by stage first: in each, the original takes turns with itself widened in that stage alone, and then with its
//! strided 1x1 convolutions made dense, since such gains add up. Then all that was found together takes turns with the
//! widths found alone, every fixed width (dense where that was found), and the original. Of those that are shown to be faster than the original, by intervals that hold for all
//! of them together, the fastest wins; where there is none, the original stays as it is. Every candidate must compute
//! what the original computes.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use onnx_file::digest;
use resnext_builder::optimize::{Model, OptimizeError};
use resnext_builder::passes::{Lowering, Pass, Width};
use resnext_builder::tuning::{KIND, SCHEMA_VERSION, TunedStage, Tuning};
use serde::Serialize;

use crate::host::environment::Environment;
use crate::model::candidate::{Candidate, Progress};
use crate::model::file::{MetadataError, ModelFile};
use crate::model::opened::ModelError;
use crate::note::Note;
use crate::stats::bootstrap::RatioOfMedians;
use crate::verb::bench::plan::Plan;

use super::choices::{choices, distinct};
use super::files::Folder;
use super::search::{About, Search};

/// What to tune, and how long to measure.
pub struct Request {
    /// The model.
    pub model: PathBuf,
    /// Where the winner will go; candidates are written beside it for a while.
    pub output: PathBuf,
    /// Widths to try.
    pub widths: Vec<usize>,
    /// How each round is measured; the last one twice as long.
    pub plan: Plan,
    /// Threads within a node.
    pub threads: usize,
}

/// Makes candidates of model files, on the provider to tune for.
pub trait Candidates {
    /// One for each file, to run the given numbers of images at once.
    fn of<'a>(&'a self, files: &'a [ModelFile], batches: &[usize]) -> Vec<Candidate<'a>>;
}

/// A way to lower the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Least channels a group by stage; 1 is as it was.
    pub widths: Vec<usize>,
    /// Whether the pixels of strided 1x1 convolutions are taken before them.
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
    pub out: Option<String>,
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

/// Candidates that took turns; the first is the original.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// `stage-1`, ..., `strided-1x1`, `all-together`.
    pub name: String,
    /// In the order they were given.
    pub trials: Vec<Trial>,
}

impl Round {
    /// The fastest of the candidates that are shown to be faster than the original; `None` where none is.
    fn winner(&self) -> Option<&Trial> {
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
    /// Machine and time.
    pub environment: Environment,
    /// Caveats.
    #[serde(serialize_with = "crate::report::note::with_text")]
    pub notes: Vec<Note>,
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

/// Finds the fastest widths, and whether strided 1x1 convolutions are best made dense.
///
/// # Errors
/// [`TuneError`], [`TuneError::Interrupted`] soon after `stop` is set; a candidate that fails is out, and no error.
pub fn tune(
    request: &Request,
    candidates: &dyn Candidates,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Tuned, TuneError> {
    let start = Instant::now();
    let model = Model::read(&request.model)?;
    let name = || request.model.display().to_string();
    let stages = model.stages();
    let choices: Vec<Vec<usize>> = stages.iter().map(|stage| choices(stage, &request.widths)).collect();
    let original = Choice { widths: vec![1; stages.len()], subsample: false };
    let dense = Choice { subsample: true, ..original.clone() };
    let is_strided = model.rewrites(&dense.lowering(), Pass::Subsample)? > 0;
    if choices.iter().all(Vec::is_empty) && !is_strided {
        let reason = if stages.is_empty() {
            "it has neither grouped nor strided 1x1 convolutions"
        } else {
            "no width asked for is wider, and it has no strided 1x1 convolutions"
        };
        return Err(TuneError::Nothing { model: name(), reason });
    }
    let folder = Folder::make(&request.output)?;
    let expected = choices.iter().filter(|choices| !choices.is_empty()).count() + usize::from(is_strided) + 1;
    let mut search = Search::new(request, &model, &folder, candidates, stop, progress, expected);
    let mut found = original.clone();
    for (stage, choices) in choices.iter().enumerate().filter(|(_, choices)| !choices.is_empty()) {
        let alone = choices.iter().map(|&width| {
            let mut choice = original.clone();
            choice.widths[stage] = width;
            choice
        });
        let trials: Vec<Choice> = std::iter::once(original.clone()).chain(alone).collect();
        let round = search.round(format!("stage-{}", stage + 1), &trials, &request.plan)?;
        found.widths[stage] = round.winner().map_or(1, |best| best.choice.widths[stage]);
    }
    if is_strided {
        let round = search.round("strided-1x1".into(), &[original.clone(), dense], &request.plan)?;
        found.subsample = round.winner().is_some();
    }
    let fixed: BTreeSet<usize> = choices.iter().flatten().copied().collect();
    let fixed = fixed.into_iter().map(|width| Choice { widths: vec![width; stages.len()], subsample: found.subsample });
    let undone = Choice { subsample: false, ..found.clone() };
    let finalists = distinct(&stages, [original.clone(), found.clone(), undone].into_iter().chain(fixed));
    let plan = Plan { min_seconds: 2.0 * request.plan.min_seconds, ..request.plan.clone() };
    // Where dense convolutions were all there was to try, and won nothing, the original is alone.
    let last = match finalists.len() {
        1 => None,
        _ => Some(search.round("all-together".into(), &finalists, &plan)?),
    };
    let winner = last.as_ref().and_then(Round::winner);
    let score = winner.and_then(|winner| winner.score).unwrap_or(1.0);
    let choice = winner.map_or(original, |winner| winner.choice.clone());
    let (rounds, about) = search.finish();
    let About { provider, library_version, environment, mut notes } = about;
    notes.extend(folding(&model, is_strided)?);
    Ok(Tuned {
        tuning: Tuning {
            schema_version: SCHEMA_VERSION,
            kind: KIND.into(),
            provider,
            library_version,
            processor: environment.host.processor.clone(),
            threads: request.threads,
            batches: request.plan.batches.clone(),
            stages: stages.iter().zip(choice.widths).map(|(&stage, width)| TunedStage { stage, width }).collect(),
            subsample: choice.subsample,
        },
        model: name(),
        model_sha256: digest::file(&request.model).ok(),
        changed: winner.is_some(),
        score,
        rounds,
        seconds: start.elapsed().as_secs_f64(),
        environment,
        notes,
    })
}

/// What a candidate gains by being rewritten at all, where the model leaves something to fold.
fn folding(model: &Model, is_strided: bool) -> Result<Option<Note>, OptimizeError> {
    let folded = model.rewrites(&Lowering::default(), Pass::FoldBn)?;
    Ok((folded > 0).then_some(Note::FoldingIncluded { folded, strided: is_strided }))
}

#[cfg(test)]
mod tests;
