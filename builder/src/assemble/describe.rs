//! What the finished file says about itself.

use onnx_file::metadata::{Key, Labels, Metadata, Preprocess, Provenance, Recipe, Weights};

use super::plan::{LabelsChoice, Plan, PreprocessChoice};
use super::resolve::Resolved;
use crate::architecture::CHANNELS;
use crate::architecture::Output;
use crate::checkpoint::{ChannelOrder, Checkpoint, Normalisation};
use crate::graph::Dim;
use crate::note::Note;
use crate::passes::{self, PassRun};
use crate::precision::Effect;
use crate::published::{self, Published};
use crate::variant::Stem;

/// Metadata, and what the user should be told of the choices in it.
pub(crate) struct Description {
    pub(crate) metadata: Metadata,
    pub(crate) notes: Vec<Note>,
}

/// Where a network comes from; `sha256` is the checkpoint's, in hex, none for random weights.
pub(crate) fn origin(resolved: &Resolved, sha256: Option<&str>) -> Provenance {
    let weights = match sha256 {
        Some(sha256) => Weights::Checkpoint { sha256: sha256.into() },
        None => Weights::Random { seed: resolved.random.seed },
    };
    Provenance { variant: Some(resolved.variant.to_string()), weights: Some(weights) }
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
    let file = resolved.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path().file_name()).unwrap_or_default();
    metadata.set_origin(&origin(resolved, sha256), &file.to_string_lossy());
    if sha256.is_some() {
        if let Some(known) = known {
            metadata.set(Key::WeightsName, known.name());
        }
        metadata.set(Key::LicenseNote, "The weights are under the licence of whoever published the checkpoint.");
    }
    match resolved.options.channels {
        CHANNELS => metadata.set_json(Key::Preprocess, &preprocess(plan, resolved, known, &mut notes)),
        channels => notes.push(Note::NoPreprocessing { channels }),
    }
    if let Some(checkpoint) = resolved.checkpoint.as_ref().filter(|checkpoint| !checkpoint.alternatives().is_empty()) {
        metadata.set(Key::WeightsKey, checkpoint.nested_under().unwrap_or_default());
    }
    if resolved.options.outputs.contains(&Output::Logits) {
        let labels = match (&plan.labels, known) {
            (LabelsChoice::Given(labels), _) => labels.clone(),
            (LabelsChoice::ImageNet, _) => Labels::imagenet(),
            (LabelsChoice::Known, Some(known)) if known.is_classifier() => Labels::imagenet(),
            (LabelsChoice::Known, _) => Labels::default(),
        };
        metadata.set_labels(&labels);
    }
    metadata.set(Key::Target, plan.rationale.target.to_string());
    if !plan.rationale.reasons.is_empty() {
        metadata.set(Key::Lowering, plan.rationale.reasons.join("; "));
    }
    metadata.set(Key::Passes, passes::summary(runs));
    effect.describe(&mut metadata);
    Description { metadata, notes }
}

/// How images are prepared; `notes` takes what the user should be told of it.
pub(super) fn preprocess(
    plan: &Plan,
    resolved: &Resolved,
    known: Option<Published>,
    notes: &mut Vec<Note>,
) -> Preprocess {
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
    if let (PreprocessChoice::Known, None, Some(Normalisation { mean, std })) =
        (&plan.preprocess, known, resolved.normalisation)
    {
        let own = Preprocess { mean, std, ..stored };
        if own.check().is_ok() {
            notes.push(Note::NormalisationFound { resize, crop });
            return own;
        }
    }
    let order = resolved.checkpoint.as_ref().map(Checkpoint::channel_order);
    if let (PreprocessChoice::Known, None, Some(ChannelOrder::Bgr)) = (&plan.preprocess, known, order) {
        // Detectron's configurations give a deviation to its ResNeXts alone, and it is ImageNet's.
        let undivided = variant.cardinality == 1;
        notes.push(Note::PixelMeans { undivided, resize, crop });
        let imagenet = Preprocess::imagenet(Recipe::V1, side);
        let std = if undivided { [1.0 / 255.0; 3] } else { imagenet.std };
        return Preprocess { mean: imagenet.mean, std, ..stored };
    }
    match (&plan.preprocess, known, &resolved.checkpoint, variant.stem) {
        (PreprocessChoice::Given(_), ..) if plan.image.is_none() && crop.extents() != [usual; 2] => {
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
