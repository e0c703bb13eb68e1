//! What the finished file says about itself.

use super::resolve::Resolved;
use crate::architecture::Output;
use crate::build::{LabelsChoice, Plan, PreprocessChoice, Safety, UNCHECKED};
use crate::graph::Dim;
use crate::metadata::{Labels, Metadata, Preprocess, Recipe};
use crate::passes::PassRun;
use crate::published::{self, Published};
use crate::variant::Stem;

/// Metadata, and what the user should be told of the choices in it.
pub(crate) struct Description {
    pub(crate) metadata: Metadata,
    pub(crate) notes: Vec<String>,
}

/// Describes a build; `sha256` is the checkpoint's, in hex.
pub(crate) fn describe(
    plan: &Plan,
    resolved: &Resolved,
    applied: &[PassRun],
    sha256: Option<&str>,
    safety: Option<&Safety>,
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
    metadata.push("target", plan.rationale.target.as_str());
    if !plan.rationale.reasons.is_empty() {
        metadata.push("lowering", plan.rationale.reasons.join("; "));
    }
    let passes: Vec<String> = applied.iter().map(|a| format!("{} x{}", a.pass, a.rewrites)).collect();
    metadata.push("passes", passes.join(", "));
    if let Some(safety) = safety {
        metadata.push("dtype", "f16");
        if !safety.kept.is_empty() {
            metadata.push_json("keep_f32", &safety.kept);
        }
        metadata.push("f16_weights", safety.weights.to_string());
        metadata.push("f16_activations", safety.activations.as_ref().map_or(UNCHECKED.into(), ToString::to_string));
    }
    Description { metadata, notes }
}

fn preprocess(plan: &Plan, resolved: &Resolved, known: Option<Published>, notes: &mut Vec<String>) -> Preprocess {
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
            notes.push(format!("images are {crop}x{crop}, as the preprocessing crops them"));
        }
        (PreprocessChoice::Given(_), ..) => {}
        (PreprocessChoice::Known, None, Some(_), Stem::ImageNet) => notes.push(format!(
            "preprocessing of this checkpoint is not known: v1 stored (resize {resize}, crop {crop}); --preprocess v2 or a file sets it"
        )),
        _ if side != usual => {
            let usual = at(usual);
            notes.push(format!(
                "preprocessing follows the image size: resize {resize}, crop {crop}, in the ratio of {} to {}",
                usual.resize, usual.crop
            ));
        }
        _ => {}
    }
    stored
}
