//! Which widths of its grouped convolutions make a model fastest here?
//!
//! Stage by stage first: in each, the original takes turns with itself widened in that stage alone, since the gains of
//! stages add up. Then the widths found together take turns with every fixed width, and the fastest of all wins. Every
//! candidate must compute what the original computes.

mod files;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use resnext_builder::optimize::{Model, OptimizeError};
use resnext_builder::passes::Stage;
use resnext_builder::tuning::TunedStage;
use serde::Serialize;

use crate::bench::{self, Bench, Plan};
use crate::candidate::{Candidate, Progress};
use crate::compare::{self, Asked};
use crate::environment::Environment;
use crate::input;
use crate::input::preprocess::Preprocess;
use crate::metadata::{MetadataError, ModelFile, sha256};
use crate::model::ModelError;
use crate::stats::RatioOfMedians;

use files::Folder;

/// Version of the tuning file, which [`Tuned`] is as JSON.
pub const SCHEMA_VERSION: u32 = resnext_builder::tuning::SCHEMA_VERSION;

/// By how much a fixed width must beat the widths found stage by stage to take their place: less is noise.
const MARGIN: f64 = 1.005;

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
    /// One for each file, to run the given numbers of pictures at once.
    fn of<'a>(&'a self, files: &'a [ModelFile], batches: &[usize]) -> Vec<Candidate<'a>>;
}

/// One candidate in one round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Least channels a group by stage; 1 is as it was.
    pub widths: Vec<usize>,
    /// One for each batch size that gave a result.
    pub rows: Vec<Timing>,
    /// Geometric mean over the batch sizes of how many times as fast as the original; `None` where it is out.
    pub score: Option<f64>,
    /// Why it is out.
    pub out: Option<String>,
}

/// How fast a candidate was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Pictures at once.
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
    /// `stage 1`, ..., `all stages`.
    pub name: String,
    /// In the order they were given.
    pub trials: Vec<Trial>,
}

impl Round {
    /// The fastest candidate that is not out.
    fn best(&self) -> Option<&Trial> {
        let score = |trial: &&Trial| trial.score.unwrap_or(0.0);
        self.trials.iter().filter(|trial| trial.out.is_none()).max_by(|a, b| score(a).total_cmp(&score(b)))
    }
}

/// What was found: the tuning file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuned {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `tuning`.
    pub kind: &'static str,
    /// The model.
    pub model: String,
    /// SHA-256 of the file.
    pub model_sha256: Option<String>,
    /// Provider that was measured.
    pub provider: String,
    /// Version of the onnxruntime library.
    pub library_version: String,
    /// Name of the processor.
    pub processor: Option<String>,
    /// Threads within a node.
    pub threads: usize,
    /// Pictures at once.
    pub batches: Vec<usize>,
    /// The winner: a width for each stage.
    pub stages: Vec<TunedStage>,
    /// How many times as fast as the original the winner was, over the batch sizes.
    pub score: f64,
    /// All that was tried.
    pub rounds: Vec<Round>,
    /// Seconds it took.
    pub seconds: f64,
    /// Machine and time.
    pub environment: Environment,
    /// What a reader must know besides.
    pub notes: Vec<String>,
    /// Whether it was stopped early: then the original won.
    pub interrupted: bool,
}

impl Tuned {
    /// The winner's widths, by stage.
    pub fn widths(&self) -> Vec<usize> {
        self.stages.iter().map(|stage| stage.width).collect()
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
    /// A candidate's file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Finds the fastest widths. Setting `stop` ends the search.
///
/// # Errors
/// [`TuneError`]; a candidate that fails is out, and no error.
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
    if choices.iter().all(Vec::is_empty) {
        let reason = if stages.is_empty() { "it has no grouped convolutions" } else { "no width asked for is wider" };
        return Err(TuneError::Nothing { model: name(), reason });
    }
    let folder = Folder::make(&request.output)?;
    let rounds = choices.iter().filter(|choices| !choices.is_empty()).count() + 1;
    let mut search = Search {
        request,
        model: &model,
        stages: &stages,
        folder: &folder,
        candidates,
        stop,
        progress,
        rounds: Vec::new(),
        expected: rounds,
        about: None,
    };
    let original = vec![1; stages.len()];
    let mut found = original.clone();
    for (stage, choices) in choices.iter().enumerate().filter(|(_, choices)| !choices.is_empty()) {
        let alone = choices.iter().map(|&width| {
            let mut widths = original.clone();
            widths[stage] = width;
            widths
        });
        let trials: Vec<Vec<usize>> = std::iter::once(original.clone()).chain(alone).collect();
        let round = search.round(format!("stage {}", stage + 1), &trials, &request.plan)?;
        found[stage] = round.best().map_or(1, |best| best.widths[stage]);
    }
    let fixed: BTreeSet<usize> = choices.iter().flatten().copied().collect();
    let fixed = fixed.into_iter().map(|width| vec![width; stages.len()]);
    let finalists: Vec<Vec<usize>> = [original.clone(), found.clone()].into_iter().chain(fixed).collect();
    let finalists = search.distinct(finalists);
    let plan = Plan { min_seconds: 2.0 * request.plan.min_seconds, ..request.plan.clone() };
    let last = search.round("all stages".into(), &finalists, &plan)?;
    let interrupted = stop.load(Ordering::Relaxed);
    let winner = if interrupted { None } else { winner(&last, &found) };
    let (widths, score) = winner.map_or((original, 1.0), |trial| (trial.widths.clone(), trial.score.unwrap_or(1.0)));
    let Search { rounds, about, .. } = search;
    let About { provider, library_version, environment, notes } = about.unwrap_or_else(About::unknown);
    Ok(Tuned {
        schema_version: SCHEMA_VERSION,
        kind: "tuning",
        model: name(),
        model_sha256: sha256(&request.model).ok(),
        provider,
        library_version,
        processor: environment.host.processor.clone(),
        threads: request.threads,
        batches: request.plan.batches.clone(),
        stages: stages.iter().zip(widths).map(|(&stage, width)| TunedStage { stage, width }).collect(),
        score,
        rounds,
        seconds: start.elapsed().as_secs_f64(),
        environment,
        notes,
        interrupted,
    })
}

/// The widths that change a stage, each giving another number of groups, and at most sixteen times its arithmetic.
fn choices(stage: &Stage, widths: &[usize]) -> Vec<usize> {
    let mut merges = BTreeSet::new();
    let mut choices: Vec<usize> = widths.iter().copied().filter(|&width| width > 1).collect();
    choices.sort_unstable();
    choices.retain(|&width| merge(stage, width).is_some_and(|merge| merge <= 16 && merges.insert(merge)));
    choices
}

/// How many neighbouring groups of a stage a width merges; `None` where it leaves them.
fn merge(stage: &Stage, width: usize) -> Option<usize> {
    let outputs = stage.channels / stage.groups.max(1);
    resnext_builder::passes::Width::at_least(width).merge(stage.groups, stage.inputs, outputs).ok()
}

/// The widths found stage by stage, unless a fixed width or the original is faster by more than noise.
fn winner<'r>(last: &'r Round, found: &[usize]) -> Option<&'r Trial> {
    let best = last.best()?;
    let score = |trial: &Trial| trial.score.unwrap_or(0.0);
    let together = last.trials.iter().find(|trial| trial.widths == found && trial.out.is_none());
    Some(together.filter(|together| score(together) * MARGIN >= score(best)).unwrap_or(best))
}

/// What all rounds share.
struct About {
    provider: String,
    library_version: String,
    environment: Environment,
    notes: Vec<String>,
}

impl About {
    /// Where no round was measured.
    fn unknown() -> About {
        let environment = Environment::read();
        About { provider: String::new(), library_version: String::new(), environment, notes: Vec::new() }
    }
}

struct Search<'s> {
    request: &'s Request,
    model: &'s Model,
    stages: &'s [Stage],
    folder: &'s Folder,
    candidates: &'s dyn Candidates,
    stop: &'s AtomicBool,
    progress: &'s mut dyn FnMut(&Progress),
    rounds: Vec<Round>,
    expected: usize,
    about: Option<About>,
}

/// Steps of one round on the progress bar.
const STEPS: usize = 1000;

impl Search<'_> {
    /// Leaves out candidates that are the same model as one before them.
    fn distinct(&self, trials: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        let merges = |widths: &[usize]| -> Vec<usize> {
            self.stages.iter().zip(widths).map(|(stage, &width)| merge(stage, width).unwrap_or(1)).collect()
        };
        let mut seen = BTreeSet::new();
        trials.into_iter().filter(|widths| seen.insert(merges(widths))).collect()
    }

    /// Lets candidates take turns; the first must be the original.
    fn round(&mut self, name: String, trials: &[Vec<usize>], plan: &Plan) -> Result<Round, TuneError> {
        let files = self.folder.write(self.model, &self.request.model, trials)?;
        let files = files.iter().map(|path| ModelFile::read(path)).collect::<Result<Vec<_>, _>>()?;
        let mut candidates = self.candidates.of(&files, &plan.batches);
        let out = self.check(&files, &mut candidates)?;
        let (base, total) = (self.rounds.len() * STEPS, self.expected * STEPS);
        let progress = &mut *self.progress;
        let shown = &mut |inner: &Progress| {
            // Loading and warming up count for nothing, so that the time left follows the measuring.
            let measuring = inner.doing.starts_with("measuring") && inner.total > 0;
            let part = if measuring { STEPS * inner.done.min(inner.total) / inner.total } else { 0 };
            progress(&Progress { doing: format!("{name}: {}", inner.doing), done: base + part, total });
        };
        let measured = bench::bench(&mut candidates, plan, self.stop, shown);
        drop(candidates);
        if let Some(error) = measured.rows.iter().filter(|row| row.candidate == 0).find_map(|row| row.error.clone()) {
            let model = self.request.model.display().to_string();
            return Err(TuneError::Original { model, source: error });
        }
        let trials = trials.iter().zip(out).enumerate();
        let trials = trials.map(|(index, (widths, out))| trial(&measured, index, widths, out)).collect();
        let round = Round { name, trials };
        self.remember(measured);
        self.rounds.push(round.clone());
        self.folder.clear();
        Ok(round)
    }

    /// Why each candidate does not compute what the original computes, or that it does.
    fn check(
        &mut self,
        files: &[ModelFile],
        candidates: &mut [Candidate<'_>],
    ) -> Result<Vec<Option<String>>, TuneError> {
        let image = files[0].image_input()?;
        let (preprocess, _) = Preprocess::of(&files[0], &image)?;
        let batch = image.batch.unwrap_or(1);
        let noise = input::noise_tensor(&image, batch, preprocess.height_width(), self.request.plan.seed);
        let request = compare::Request {
            inputs: &[noise],
            inputs_source: "noise".into(),
            reference: None,
            batch,
            tolerance: Asked::default(),
        };
        let (comparison, _) = compare::compare(candidates, &request, &mut |_| {});
        Ok(comparison
            .rows
            .iter()
            .map(|row| match row.status {
                compare::Status::Reference | compare::Status::Agrees => None,
                _ => Some(row.error.as_ref().map_or_else(|| row.failures.join(", "), ToString::to_string)),
            })
            .collect())
    }

    fn remember(&mut self, measured: Bench) {
        let loaded = measured.candidates.first().and_then(|c| c.processes.first()).and_then(|p| p.loaded.as_ref());
        let about = About {
            provider: measured.candidates.first().map(|c| c.provider.clone()).unwrap_or_default(),
            library_version: loaded.map(|loaded| loaded.library_version.clone()).unwrap_or_default(),
            environment: measured.environment,
            notes: measured.notes,
        };
        self.about.get_or_insert(about);
    }
}

fn trial(measured: &Bench, index: usize, widths: &[usize], out: Option<String>) -> Trial {
    let rows: Vec<&bench::Row> = measured.rows.iter().filter(|row| row.candidate == index).collect();
    let timing = |row: &&bench::Row| {
        let summary = row.latency_ms.as_ref()?;
        let speed_up = row.speed_up.as_ref().map(|speed_up| speed_up.ratio.clone());
        Some(Timing { batch: row.batch, runs: summary.n, median_ms: summary.median, speed_up })
    };
    let timings: Vec<Timing> = rows.iter().filter_map(timing).collect();
    let error = rows.iter().find_map(|row| row.error.as_ref().map(ToString::to_string));
    let missing = (timings.len() < rows.len()).then(|| "not measured".to_owned());
    let out = out.or(error).or(missing);
    let logs = timings.iter().map(|timing| timing.speed_up.as_ref().map_or(0.0, |speed_up| speed_up.ratio.ln()));
    let score = (logs.sum::<f64>() / timings.len().max(1) as f64).exp();
    Trial { widths: widths.to_vec(), rows: timings, score: out.is_none().then_some(score), out }
}

#[cfg(test)]
mod tests;
