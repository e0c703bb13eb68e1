//! How often is a model right on labelled images, and do two models differ?
//!
//! Images are decoded and resized on threads of their own while the provider runs; nothing kept grows with their
//! number but what is told of broken and differing ones.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::host::environment::Environment;
use crate::input::decode::Exif;
use crate::input::pipeline::{Extent, Time, prepare};

use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::MetadataError;
use crate::note::Note;
use onnx_file::metadata::Preprocess;

use super::evaluator::{Evaluator, Session};
use super::labelled::Dataset;
use super::result::{Evaluation, Spent};
use crate::verb::outcome::Report;

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
) -> Result<Report<Evaluation>, MetadataError> {
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
    let evaluation = Evaluation {
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
    };
    let interrupted = seen < images.len() && stop.load(Ordering::Relaxed);
    Ok(Report { environment, notes, interrupted, result: evaluation })
}

#[cfg(test)]
mod tests;
