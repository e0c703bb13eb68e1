//! What a user should know of the part of a checkpoint that was taken.

use super::error::BuildError;
use super::plan::{LabelsChoice, Plan, PreprocessChoice, Weights};
use crate::architecture::{Output, StrideIn};
use crate::checkpoint::{ChannelOrder, Checkpoint, Naming};
use crate::note::Note;
use crate::sidecar::Sidecar;

/// `plan` with what it leaves open taken from the files beside the weights, and what was.
///
/// # Errors
/// [`BuildError::Otherwise`] where they say that the network is none of the family, though its tensors are, and
/// [`BuildError::Beside`] where one cannot be read.
pub(crate) fn with_sidecar(plan: &Plan) -> Result<(Plan, Vec<Note>), BuildError> {
    let (mut plan, mut notes) = (plan.clone(), Vec::new());
    let Weights::File(path) = &plan.weights else { return Ok((plan, notes)) };
    let beside = Sidecar::beside(path)?;
    if let Some((otherwise, file)) = beside.otherwise {
        return Err(BuildError::Otherwise { path: file.display().to_string(), otherwise });
    }
    if let (PreprocessChoice::Known, Some((preprocess, file))) = (&plan.preprocess, beside.preprocess) {
        notes.push(Note::PreprocessingFrom { file, resize: preprocess.resize, crop: preprocess.crop });
        // A square that was asked for stays, and the preprocessing follows it.
        let asked = plan.image.as_ref().and_then(|[height, width]| height.fixed().filter(|_| height == width));
        let asked = asked.and_then(|side| u32::try_from(side).ok()).filter(|side| *side != preprocess.crop.shorter());
        plan.preprocess = PreprocessChoice::Given(asked.map_or(preprocess, |side| preprocess.scaled(side)));
    }
    let logits = !plan.no_top && (plan.outputs.is_empty() || plan.outputs.contains(&Output::Logits));
    if let (LabelsChoice::Known, true, Some((labels, file))) = (&plan.labels, logits, beside.labels) {
        notes.push(Note::LabelsFrom { file, count: labels.names.len() });
        plan.labels = LabelsChoice::Given(labels);
    }
    if beside.stride_in_1x1 && plan.stride_in == StrideIn::default() {
        notes.push(Note::StrideFrom { file: path.clone() });
        plan.stride_in = StrideIn::Conv1x1;
    }
    Ok((plan, notes))
}

/// How the weights were found.
pub(crate) fn notes(checkpoint: &Checkpoint) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(key) = checkpoint.nested_under() {
        notes.push(Note::NestedUnder { key: key.to_owned() });
    }
    if !checkpoint.alternatives().is_empty() {
        notes.push(Note::OtherWeights { others: checkpoint.alternatives().to_vec() });
    }
    if let Some(prefix) = checkpoint.stripped_prefix() {
        notes.push(Note::PrefixRemoved { prefix: prefix.to_owned() });
    }
    if checkpoint.naming() != Naming::Torchvision {
        notes.push(Note::Naming { naming: checkpoint.naming() });
    }
    if checkpoint.channel_order() == ChannelOrder::Bgr {
        notes.push(Note::ChannelsReversed);
    }
    if let Some(head) = checkpoint.head() {
        if head.layers != ["fc"] {
            notes.push(Note::Classifier { layers: head.layers.clone() });
        }
        if !head.biased {
            notes.push(Note::NoBias);
        }
    }
    if !checkpoint.folded().is_empty() {
        notes.push(Note::FoldedIn { layers: checkpoint.folded().to_vec() });
    }
    if !checkpoint.left_out().is_empty() {
        notes.push(Note::LeftOut { tensors: checkpoint.left_out().to_vec() });
    }
    if !checkpoint.skipped().is_empty() {
        notes.push(Note::Skipped { objects: checkpoint.skipped().iter().map(ToString::to_string).collect() });
    }
    notes
}
