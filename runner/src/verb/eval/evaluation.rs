//! How often is a model right on labelled images, and do two models differ?
//!
//! Images are decoded and resized on threads of their own while the provider runs; nothing kept grows with their
//! number but what is told of broken and differing ones.

use crate::input::broken::Broken;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::host::environment::Environment;
use crate::input::decode::Exif;
use crate::input::pipeline::{Extent, Time, prepare};

use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::MetadataError;
use crate::model::opened::{Loaded, ModelError};
use crate::model::output::ClassOutput;
use crate::note::Note;
use crate::stats::proportion::{McNemar, Wilson};
use onnx_file::metadata::Preprocess;

use super::dataset::Dataset;
use super::evaluator::{Evaluator, Session};
use super::tally::{Cell, ClassRow, Difference};

/// Version of the JSON written from [`Evaluation`].
pub const SCHEMA_VERSION: u32 = 2;

/// What to evaluate on.
pub struct Request<'a> {
    /// The labelled images, one set for each candidate: the same images in the same order, their classes numbered as
    /// that candidate's model numbers them; see [`Dataset::for_models`].
    pub datasets: Vec<&'a Dataset>,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
}

/// Accuracy of one model on one provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluated {
    /// Model file.
    pub model: String,
    /// Provider.
    pub provider: String,
    /// Library, options, placement; absent where it could not be opened.
    pub loaded: Option<Loaded>,
    /// How images were prepared.
    pub preprocess: Preprocess,
    /// The output that says the classes, and what its numbers are.
    pub output: ClassOutput,
    /// Images evaluated.
    pub images: usize,
    /// Images for which the model gave NaN or infinite scores. With a single one of them the model has failed, and no
    /// accuracy is given: not of the other images either.
    pub not_finite: Vec<String>,
    /// Fraction whose best class is right, with its 95% interval.
    pub top1: Option<Wilson>,
    /// Fraction whose right class is among the best five; `None` below six classes.
    pub top5: Option<Wilson>,
    /// Every class that occurs.
    pub classes: Vec<ClassRow>,
    /// Confusion matrix without its zeros.
    pub confusion: Vec<Cell>,
    /// Seconds the provider took for all runs.
    pub run_s: f64,
    /// What ended it.
    pub error: Option<ModelError>,
}

/// A candidate against the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Position of the candidate compared with the first.
    pub candidate: usize,
    /// Images that both evaluated.
    pub images: usize,
    /// Fraction of those on which both say the same class: of the same name where the models number classes differently.
    pub agreement: Option<f64>,
    /// McNemar's test on which of the two is right.
    pub mcnemar: McNemar,
    /// Images on which they differ.
    pub differences: Vec<Difference>,
}

/// Where the time went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// From the first image to the last.
    pub wall_s: f64,
    /// Images by that, broken ones included.
    pub images_per_second: f64,
    /// Threads that decoded and resized.
    pub threads: usize,
    /// Processor time of decoding and of resizing, over all threads.
    #[serde(flatten)]
    pub prepare: Time,
    /// Time in the providers, over all candidates.
    pub run_s: f64,
}

/// The whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `eval`.
    pub kind: &'static str,
    /// Machine and time.
    pub environment: Environment,
    /// Folder of the images.
    pub folder: String,
    /// Images in it, broken ones included.
    pub images: usize,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// One for each candidate, in the order asked for.
    pub candidates: Vec<Evaluated>,
    /// Every further candidate against the first; none with a candidate whose model failed.
    pub pairs: Vec<Paired>,
    /// Images that could not be read; they count neither as right nor as wrong.
    pub broken: Vec<Broken>,
    /// Where the time went.
    pub time: Spent,
    /// Caveats.
    #[serde(serialize_with = "crate::report::note::with_text")]
    pub notes: Vec<Note>,
    /// Whether it was stopped before the last image.
    pub interrupted: bool,
}

impl Evaluation {
    /// Why candidates gave no result or an incomplete one.
    pub fn errors(&self) -> impl Iterator<Item = &ModelError> {
        self.candidates.iter().filter_map(|candidate| candidate.error.as_ref())
    }

    /// Whether a model failed: it gave NaN or infinite scores.
    pub fn model_failed(&self) -> bool {
        self.candidates.iter().any(|candidate| !candidate.not_finite.is_empty())
    }

    /// Whether no image could be read.
    pub fn nothing_read(&self) -> bool {
        !self.broken.is_empty() && self.candidates.iter().all(|one| one.images == 0 && one.not_finite.is_empty())
    }
}

/// Evaluates the candidates on the same images. Setting `stop` ends it after the batch in progress; what was evaluated
/// is kept.
///
/// # Errors
/// [`MetadataError`] where a model file is unusable; a provider that gives no result is in the evaluation.
pub fn eval(
    candidates: &mut [Candidate<'_>],
    request: &Request<'_>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Evaluation, MetadataError> {
    let environment = Environment::read();
    let mut notes: Vec<Note> = Vec::new();
    let mut evaluators = Vec::new();
    for (candidate, dataset) in candidates.iter_mut().zip(&request.datasets) {
        notes.extend(dataset.notes.iter().filter(|note| !notes.contains(note)).cloned().collect::<Vec<_>>());
        evaluators.push(Evaluator::new(candidate, dataset, request.batch, &mut notes)?);
    }
    // Providers of one model see the same tensors: each preprocessing is done once.
    let mut preprocess: Vec<Preprocess> = Vec::new();
    for evaluator in &mut evaluators {
        let known = preprocess.iter().position(|known| *known == evaluator.preprocess);
        evaluator.preparation = known.unwrap_or(preprocess.len());
        if known.is_none() {
            preprocess.push(evaluator.preprocess);
        }
    }
    let (folder, images) = match request.datasets.first() {
        Some(dataset) => (dataset.folder.display().to_string(), dataset.images.as_slice()),
        None => (String::new(), [].as_slice()),
    };
    let largest = evaluators.iter().map(Evaluator::batch).max().unwrap_or(1);
    let extent = Extent::for_batch(largest.saturating_mul(preprocess.len()));
    let mut session = Session::new(evaluators);
    let mut spent = Time::default();
    let begun = Instant::now();
    let (mut seen, mut oriented) = (0, Vec::new());
    let _: Option<()> = prepare(images, &preprocess, request.exif, extent, |prepared| {
        seen += 1;
        spent.add(prepared.time);
        oriented.extend(prepared.oriented.then_some(prepared.index));
        let flow = session.add(prepared);
        progress(&Progress::new(Phase::Evaluating, "", seen, images.len()));
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { flow }
    });
    session.finish();
    let wall_s = begun.elapsed().as_secs_f64();
    let (candidates, pairs, broken) = session.into_results();
    notes.extend(Note::library(candidates.iter().filter_map(|candidate| candidate.loaded.as_ref())));
    let path = |at: &usize| images[*at].path.display().to_string();
    notes.extend(Note::orientation(request.exif, oriented.len(), oriented.first().map(path)));
    let run_s = candidates.iter().map(|candidate| candidate.run_s).sum();
    Ok(Evaluation {
        schema_version: SCHEMA_VERSION,
        kind: "eval",
        environment,
        folder,
        images: images.len(),
        batch: request.batch,
        candidates,
        pairs,
        broken,
        time: Spent {
            wall_s,
            images_per_second: seen as f64 / wall_s.max(f64::MIN_POSITIVE),
            threads: extent.threads,
            prepare: spent,
            run_s,
        },
        notes,
        interrupted: seen < images.len() && stop.load(Ordering::Relaxed),
    })
}

#[cfg(test)]
mod tests;
