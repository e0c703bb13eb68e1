//! What a user should know of the part of a checkpoint that was taken.

use crate::checkpoint::{Checkpoint, Naming};
use crate::note::Note;

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
    if let Some(head) = checkpoint.head() {
        if head.layers != ["fc"] {
            notes.push(Note::Classifier { layers: head.layers.clone() });
        }
        if !head.biased {
            notes.push(Note::NoBias);
        }
    }
    if !checkpoint.left_out().is_empty() {
        notes.push(Note::LeftOut { tensors: checkpoint.left_out().to_vec() });
    }
    if !checkpoint.skipped().is_empty() {
        notes.push(Note::Skipped { objects: checkpoint.skipped().iter().map(ToString::to_string).collect() });
    }
    notes
}
