//! What the finished file says about itself.

use onnx_file::element::ElementType;
use onnx_file::metadata::{Key, Labels, Metadata, Origin, Preprocess, Recipe, Weights};

use super::resolve::Resolved;
use crate::architecture::Output;
use crate::build::{LabelsChoice, Plan, PreprocessChoice, Safety, UNCHECKED};
use crate::graph::Dim;
use crate::passes::PassRun;
use crate::published::{self, Published};
use crate::variant::Stem;

/// Metadata, and what the user should be told of the choices in it.
pub(crate) struct Description {
    pub(crate) metadata: Metadata,
    pub(crate) notes: Vec<String>,
}

/// Where a network comes from; `sha256` is the checkpoint's, in hex, none for random weights.
pub(crate) fn origin(resolved: &Resolved, sha256: Option<&str>) -> Origin {
    let weights = match sha256 {
        Some(sha256) => Weights::Checkpoint { sha256: sha256.into() },
        None => Weights::Random { seed: resolved.random.seed },
    };
    Origin { variant: Some(resolved.variant.to_string()), weights: Some(weights) }
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
    let file = resolved.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path().file_name()).unwrap_or_default();
    metadata.set_origin(&origin(resolved, sha256), &file.to_string_lossy());
    if sha256.is_some() {
        if let Some(known) = known {
            metadata.set(Key::WeightsName, known.name());
        }
        metadata.set(Key::LicenseNote, "The weights are under the licence of whoever published the checkpoint.");
    }
    metadata.set_json(Key::Preprocess, &preprocess(plan, resolved, known, &mut notes));
    if resolved.options.outputs.contains(&Output::Logits) {
        let labels = match (&plan.labels, known) {
            (LabelsChoice::Given(labels), _) => labels.clone(),
            (LabelsChoice::ImageNet, _) => Labels::imagenet(),
            (LabelsChoice::Known, Some(known)) if known.is_classifier() => Labels::imagenet(),
            (LabelsChoice::Known, _) => Labels::default(),
        };
        metadata.set_labels(&labels);
    }
    metadata.set(Key::Target, plan.rationale.target.as_str());
    if !plan.rationale.reasons.is_empty() {
        metadata.set(Key::Lowering, plan.rationale.reasons.join("; "));
    }
    let passes: Vec<String> = applied.iter().map(|a| format!("{} x{}", a.pass, a.rewrites)).collect();
    metadata.set(Key::Passes, passes.join(", "));
    if let Some(safety) = safety {
        metadata.set(Key::Dtype, ElementType::F16.name());
        if !safety.kept.is_empty() {
            metadata.set_json(Key::KeepF32, &safety.kept);
        }
        metadata.set(Key::F16Weights, safety.weights.to_string());
        metadata.set(Key::F16Activations, safety.activations.as_ref().map_or(UNCHECKED.into(), ToString::to_string));
    }
    Description { metadata, notes }
}

fn preprocess(plan: &Plan, resolved: &Resolved, known: Option<Published>, notes: &mut Vec<String>) -> Preprocess {
    let variant = &resolved.variant;
    let usual = variant.default_image_size();
    let side = resolved.options.image.iter().filter_map(Dim::fixed).min().unwrap_or(usual);
    let at = |size: usize| match (&plan.preprocess, known, variant.stem) {
        (PreprocessChoice::Given(given), ..) => *given,
        (PreprocessChoice::Recipe(recipe), ..) => Preprocess::imagenet(*recipe, size),
        (PreprocessChoice::Known, Some(known), _) => known.preprocess(size),
        (PreprocessChoice::Known, None, Stem::Cifar) => Preprocess::cifar(size),
        (PreprocessChoice::Known, None, Stem::ImageNet) => Preprocess::imagenet(Recipe::V1, size),
    };
    let stored = at(side);
    let Preprocess { resize, crop, .. } = stored;
    match (&plan.preprocess, known, &resolved.checkpoint, variant.stem) {
        (PreprocessChoice::Given(_), ..) if plan.image.is_none() && crop.extents() != [usual; 2] => {
            notes.push(format!("images are {crop}, as the preprocessing crops them"));
        }
        (PreprocessChoice::Given(_), ..) => {}
        (PreprocessChoice::Known, None, Some(_), Stem::ImageNet) => notes.push(format!(
            "preprocessing of this checkpoint is not known: v1 stored (resize {resize}, crop {}); --preprocess v2 or a file sets it",
            crop.shorter()
        )),
        _ if side != usual => {
            let usual = at(usual);
            notes.push(format!(
                "preprocessing follows the image size: resize {resize}, crop {}, in the ratio of {} to {}",
                crop.shorter(),
                usual.resize,
                usual.crop.shorter()
            ));
        }
        _ => {}
    }
    stored
}
