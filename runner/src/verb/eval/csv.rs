//! Results of `eval` as comma-separated values.

use super::result::Evaluation;
use super::tally::ClassRow;
use crate::report::csv::{number, render, strings};
use crate::report::document::one_line;

/// A line for each class of each candidate of an evaluation; one without a class for a candidate that has none, and for
/// each image that could not be read.
pub fn csv(evaluation: &Evaluation) -> String {
    let heading = strings(&[
        "provider",
        "model",
        "class",
        "label",
        "images",
        "right",
        "recall",
        "recall_low",
        "recall_high",
        "predicted",
        "precision",
        "error",
    ]);
    let without_class = |provider: &str, model: &str, error: String| {
        let mut line = strings(&[provider, model]);
        line.resize(11, String::new());
        line.push(error);
        line
    };
    let lines = evaluation.candidates.iter().flat_map(|candidate| {
        let error = candidate.error.as_ref().map(|error| one_line(&error.to_string())).unwrap_or_default();
        let failed = candidate.not_finite.iter().map(|path| format!("{path}: {}", crate::input::classify::NOT_FINITE));
        let failed: Vec<String> = failed.collect();
        if candidate.classes.is_empty() {
            let errors = if failed.is_empty() { vec![error] } else { failed };
            return errors.into_iter().map(|e| without_class(&candidate.provider, &candidate.model, e)).collect();
        }
        let line = |row: &ClassRow| {
            vec![
                candidate.provider.clone(),
                candidate.model.clone(),
                row.index.to_string(),
                row.label.clone().unwrap_or_default(),
                row.images.to_string(),
                row.right.to_string(),
                number(row.recall.map(|recall| recall.proportion)),
                number(row.recall.map(|recall| recall.interval[0])),
                number(row.recall.map(|recall| recall.interval[1])),
                row.predicted.to_string(),
                number(row.precision),
                error.clone(),
            ]
        };
        candidate.classes.iter().map(line).collect::<Vec<_>>()
    });
    let broken = evaluation.broken.iter().map(|one| without_class("", "", format!("{}: {}", one.path, one.reason)));
    render(std::iter::once(heading).chain(lines).chain(broken))
}
