//! Which widths of its grouped convolutions, and which form of its strided 1x1s, make a model fastest here?
//!
//! Stage by stage first: in each, the original is interleaved with itself widened in that stage alone, and then with its
//! strided 1x1 convolutions made dense, since such gains add up. Then all that was found together is interleaved with the
//! widths found alone, every fixed width (dense where that was found), and the original. Of those that are shown to be faster than the original, by intervals that hold for all
//! of them together, the fastest wins; where there is none, the original stays as it is. Every candidate must compute
//! what the original computes.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use onnx_file::digest;
use resnext_builder::optimize::{Model, OptimizeError};
use resnext_builder::passes::{Lowering, Pass};
use resnext_builder::tuning::{TunedStage, Tuning};

use crate::model::candidate::{Candidates, Progress};
use crate::note::Note;
use crate::verb::bench::plan::Plan;
use crate::verb::outcome::Report;

use super::choices::{choices, distinct};
use super::files::Folder;
use super::result::{Choice, Request, Round, TuneError, Tuned};
use super::search::{About, Search};

/// Finds the fastest widths, and whether strided 1x1 convolutions are best made dense.
///
/// # Errors
/// [`TuneError`], [`TuneError::Interrupted`] soon after `stop` is set; a candidate that fails is out, and no error.
pub fn tune(
    request: &Request,
    candidates: &dyn Candidates,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report<Tuned>, TuneError> {
    let start = Instant::now();
    let model = Model::read(&request.model)?;
    let name = || request.name.clone();
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
    let tuning = Tuning {
        provider,
        library_version,
        processor: environment.host.processor.clone(),
        threads: request.threads,
        batches: request.plan.batches.clone(),
        stages: stages.iter().zip(choice.widths).map(|(&stage, width)| TunedStage { stage, width }).collect(),
        subsample: choice.subsample,
    };
    let tuned = Tuned {
        tuning,
        model: name(),
        model_sha256: digest::file(&request.model).ok(),
        changed: winner.is_some(),
        score,
        rounds,
        seconds: start.elapsed().as_secs_f64(),
    };
    Ok(Report { environment, notes, interrupted: false, result: tuned })
}

/// What a candidate gains by being rewritten at all, where the model leaves something to fold.
fn folding(model: &Model, is_strided: bool) -> Result<Option<Note>, OptimizeError> {
    let folded = model.rewrites(&Lowering::default(), Pass::FoldBn)?;
    Ok((folded > 0).then_some(Note::FoldingIncluded { folded, strided: is_strided }))
}

#[cfg(test)]
mod tests;
