//! Accuracies that `resnext-run eval` measured, for the card.

use std::path::Path;

use onnx_file::open;
use onnx_file::text::Shown;
use serde::Deserialize;

use super::error::BundleError;

/// A model on a data set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accuracy {
    pub(super) model: String,
    pub(super) provider: String,
    pub(super) folder: String,
    pub(super) top1: Proportion,
    pub(super) top5: Option<Proportion>,
}

/// How often it was right.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Proportion {
    pub(super) successes: u64,
    pub(super) trials: u64,
    pub(super) proportion: f64,
    pub(super) interval: [f64; 2],
}

#[derive(Deserialize)]
struct Evaluation {
    kind: String,
    #[serde(default)]
    folder: String,
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    model: String,
    provider: String,
    top1: Option<Proportion>,
    top5: Option<Proportion>,
}

/// What the evaluation at `path` found.
pub(super) fn read(path: &Path) -> Result<Vec<Accuracy>, BundleError> {
    let bad = |reason: String| BundleError::Results { path: path.to_owned(), reason };
    let text = open::read_text(path, open::SMALL).map_err(|error| bad(error.to_string()))?;
    let found: Evaluation = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if found.kind != "eval" {
        return Err(bad(format!("it is a result of '{}', not of eval", Shown(found.kind))));
    }
    let folder = found.folder;
    let accuracies = found.candidates.into_iter().filter_map(|candidate| {
        let Candidate { model, provider, top1, top5 } = candidate;
        Some(Accuracy { model, provider, folder: folder.clone(), top1: top1?, top5 })
    });
    let accuracies: Vec<Accuracy> = accuracies.collect();
    if accuracies.is_empty() { Err(bad("no model of it has an accuracy".into())) } else { Ok(accuracies) }
}
