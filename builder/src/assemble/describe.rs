//! What the finished file says about itself.

use super::plan::{LabelsChoice, Plan, PreprocessChoice};
use super::resolve::Resolved;
use crate::architecture::Output;
use crate::graph::Dim;
use crate::metadata::{Labels, Metadata, Preprocess, Recipe};
use crate::note::Note;
use crate::passes::{self, PassRun};
use crate::precision::Effect;
use crate::precision::half::UNCHECKED;
use crate::published::{self, Published};
use crate::variant::Stem;

/// Metadata, and what the user should be told of the choices in it.
pub(crate) struct Description {
    pub(crate) metadata: Metadata,
    pub(crate) notes: Vec<Note>,
}

/// Describes a build; `sha256` is the checkpoint's, in hex.
pub(crate) fn describe(
    plan: &Plan,
    resolved: &Resolved,
    runs: &[PassRun],
    sha256: Option<&str>,
    effect: &Effect,
) -> Description {
    let known = sha256.and_then(published::by_sha256);
    let mut notes = Vec::new();
    let mut metadata = Metadata::default();
    metadata.push("variant", resolved.variant.to_string());
    match (&resolved.checkpoint, sha256) {
        (Some(checkpoint), Some(sha256)) => {
            metadata.push("weights", checkpoint.path().file_name().unwrap_or_default().to_string_lossy());
            metadata.push("weights_sha256", sha256);
            if let Some(known) = known {
                metadata.push("weights_name", known.name());
            }
            metadata.push("license_note", "The weights are under the licence of whoever published the checkpoint.");
        }
        _ => {
            metadata.push("weights", "random");
            metadata.push("seed", resolved.random.seed.to_string());
        }
    }
    metadata.push_json("preprocess", &preprocess(plan, resolved, known, &mut notes));
    if resolved.options.outputs.contains(&Output::Logits) {
        let labels = match (&plan.labels, known) {
            (LabelsChoice::Given(labels), _) => labels.clone(),
            (LabelsChoice::ImageNet, _) => Labels::imagenet(),
            (LabelsChoice::Known, Some(known)) if known.is_classifier() => Labels::imagenet(),
            (LabelsChoice::Known, _) => Labels::default(),
        };
        if !labels.names.is_empty() {
            metadata.push_json("labels", &labels.names);
        }
        if !labels.ids.is_empty() {
            metadata.push_json("label_ids", &labels.ids);
        }
    }
    metadata.push("target", plan.rationale.target.to_string());
    if !plan.rationale.reasons.is_empty() {
        metadata.push("lowering", plan.rationale.reasons.join("; "));
    }
    metadata.push("passes", passes::summary(runs));
    if let Effect::F16(safety) = effect {
        metadata.push("dtype", effect.dtype().name());
        if !safety.kept.is_empty() {
            metadata.push_json("keep_f32", &safety.kept);
        }
        metadata.push("f16_weights", safety.weights.to_string());
        metadata.push("f16_activations", safety.activations.as_ref().map_or(UNCHECKED.into(), ToString::to_string));
    }
    Description { metadata, notes }
}

fn preprocess(plan: &Plan, resolved: &Resolved, known: Option<Published>, notes: &mut Vec<Note>) -> Preprocess {
    let variant = &resolved.variant;
    let usual = variant.default_image_size();
    let side = resolved.options.image.iter().filter_map(Dim::fixed).min().unwrap_or(usual);
    let at = |size: usize| match (&plan.preprocess, known, variant.stem) {
        (PreprocessChoice::Given(given), ..) => given.clone(),
        (PreprocessChoice::Recipe(recipe), ..) => Preprocess::imagenet(*recipe, size),
        (PreprocessChoice::Known, Some(known), _) => known.preprocess(size),
        (PreprocessChoice::Known, None, Stem::Cifar) => Preprocess::cifar(size),
        (PreprocessChoice::Known, None, Stem::ImageNet) => Preprocess::imagenet(Recipe::V1, size),
    };
    let stored = at(side);
    let Preprocess { resize, crop, .. } = stored;
    match (&plan.preprocess, known, &resolved.checkpoint, variant.stem) {
        (PreprocessChoice::Given(_), ..) if plan.image.is_none() && crop != usual => {
            notes.push(Note::ImageFollowsPreprocessing { crop });
        }
        (PreprocessChoice::Given(_), ..) => {}
        (PreprocessChoice::Known, None, Some(_), Stem::ImageNet) => {
            notes.push(Note::PreprocessingUnknown { resize, crop });
        }
        _ if side != usual => {
            let Preprocess { resize: usual_resize, crop: usual_crop, .. } = at(usual);
            notes.push(Note::PreprocessingFollowsImage { resize, crop, usual_resize, usual_crop });
        }
        _ => {}
    }
    stored
}
