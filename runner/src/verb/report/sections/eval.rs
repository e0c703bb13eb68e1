//! An evaluation on the page.

use std::collections::BTreeMap;

use super::found::{Found, reason};
use super::{called, candidates, drawn};
use crate::record::eval::{Candidate, Evaluation, Rate};
use crate::report::document::{Cell, Column, Document, Table, Tone};
use crate::report::html::Piece;
use crate::report::number::{percent, three_digits};
use crate::report::plot::{self, Interval};
use crate::report::short_names;

/// Classes up to which the whole confusion matrix is shown.
const MATRIX: usize = 40;
/// Confusions shown where there are more classes.
const CONFUSIONS: usize = 20;

/// What the evaluation found.
pub(crate) fn found(evaluation: &Evaluation, name: &str) -> Found {
    let names = short_names(evaluation.candidates.iter().map(|candidate| candidate.model.as_str()));
    let who = |candidate: &Candidate| format!("{} {}", candidate.provider, called(&names, &candidate.model));
    let mut pieces = vec![accuracy(evaluation, &who, name)];
    for (at, candidate) in evaluation.candidates.iter().enumerate() {
        if !candidate.classes.is_empty() {
            pieces.push(confusion(candidate, &who(candidate), &format!("{name}-confusion-{}", at + 1)));
        }
    }
    let mut document = Document::default();
    document.list("Against the first", pairs(evaluation, &who));
    pieces.push(Piece::Document(document));
    let loaded = evaluation.candidates.iter();
    pieces.push(candidates(loaded.filter_map(|one| Some((one.model.as_str(), one.loaded.as_ref()?)))));
    Found { verdicts: evaluation.candidates.iter().map(|one| verdict(one, &who(one))).collect(), pieces }
}

fn rate(rate: &Rate) -> String {
    let [low, high] = rate.interval;
    format!("{} ({} to {})", percent(rate.proportion), percent(low), percent(high))
}

fn verdict(candidate: &Candidate, who: &str) -> Cell {
    match (&candidate.top1, &candidate.error) {
        _ if !candidate.not_finite.is_empty() => {
            let count = candidate.not_finite.len();
            Cell::toned(format!("{who} failed: its scores are NaN or infinite for {count} images."), Tone::Bad)
        }
        (Some(top1), None) => format!("{who} is right on {} of {} images.", rate(top1), candidate.images).into(),
        (Some(top1), Some(error)) => {
            let text = format!("{who} is right on {} of {} images, and ended early", rate(top1), candidate.images);
            Cell::toned(format!("{text}: {}.", reason(error)), Tone::Bad)
        }
        (None, error) => {
            let why = error.as_ref().map(|error| format!(": {}", reason(error))).unwrap_or_default();
            Cell::toned(format!("{who} gave no result{why}."), Tone::Bad)
        }
    }
}

fn accuracy(evaluation: &Evaluation, who: &impl Fn(&Candidate) -> String, name: &str) -> Piece {
    let mut table = Table::new([
        Column::text("candidate"),
        Column::number("images"),
        Column::number("top-1"),
        Column::text("95% interval"),
        Column::number("top-5"),
        Column::text("95% interval"),
    ]);
    let mut numbers = Vec::new();
    for candidate in &evaluation.candidates {
        let mut cells = vec![Cell::from(who(candidate)), candidate.images.to_string().into()];
        for (top, rate) in [("top-1", candidate.top1), ("top-5", candidate.top5)] {
            let interval = rate.map(|rate| rate.interval.map(percent).join(" to "));
            cells.extend([rate.map(|rate| percent(rate.proportion)).unwrap_or_default().into()]);
            cells.push(interval.unwrap_or_default().into());
            numbers.extend(rate.map(|rate| Interval {
                name: format!("{top} {}", who(candidate)),
                value: 100.0 * rate.proportion,
                interval: Some(rate.interval.map(|end| 100.0 * end)),
            }));
        }
        table.rows.push(cells);
    }
    let title = format!("Accuracy on the images of {}", evaluation.folder);
    drawn(format!("{name}-accuracy"), title, plot::intervals(&numbers, "% of images", None), table)
}

fn confusion(candidate: &Candidate, who: &str, name: &str) -> Piece {
    let labels: BTreeMap<usize, String> = candidate
        .classes
        .iter()
        .map(|class| (class.index, class.label.clone().unwrap_or_else(|| class.index.to_string())))
        .collect();
    let label = |index: usize| labels.get(&index).cloned().unwrap_or_else(|| index.to_string());
    if labels.len() > MATRIX {
        let mut confused: Vec<_> = candidate.confusion.iter().filter(|cell| cell.actual != cell.predicted).collect();
        confused.sort_by_key(|cell| (std::cmp::Reverse(cell.images), cell.actual, cell.predicted));
        let mut table = Table::new([Column::text("class"), Column::text("taken for"), Column::number("images")]);
        for cell in confused.iter().take(CONFUSIONS) {
            table.rows.push(vec![
                label(cell.actual).into(),
                label(cell.predicted).into(),
                cell.images.to_string().into(),
            ]);
        }
        let mut document = Document::default();
        document.heading(format!("Most frequent confusions, {who}"));
        document.table(table);
        return Piece::Document(document);
    }
    let mut table = Table::new(
        std::iter::once(Column::text("class")).chain(labels.values().map(|label| Column::number(label.clone()))),
    );
    let mut counts = Vec::new();
    for &actual in labels.keys() {
        let count = |&predicted: &usize| {
            let cell = candidate.confusion.iter().find(|cell| (cell.actual, cell.predicted) == (actual, predicted));
            cell.map_or(0, |cell| cell.images)
        };
        let row: Vec<usize> = labels.keys().map(count).collect();
        let cells = row.iter().map(|count| Cell::from(count.to_string()));
        table.rows.push(std::iter::once(Cell::from(label(actual))).chain(cells).collect());
        counts.push(row);
    }
    let names: Vec<String> = labels.values().cloned().collect();
    drawn(name.to_owned(), format!("Confusion matrix, {who}"), plot::matrix(&names, &counts), table)
}

fn pairs(evaluation: &Evaluation, who: &impl Fn(&Candidate) -> String) -> Vec<String> {
    let line = |pair: &crate::record::eval::Pair| {
        let (first, second) = (evaluation.candidates.first()?, evaluation.candidates.get(pair.candidate)?);
        let test = &pair.mcnemar;
        let shown = if test.difference_shown { "a difference is shown" } else { "no difference shown" };
        Some(format!(
            "of {} images only {} is right on {}, only {} on {}: {shown} (p = {})",
            pair.images,
            who(first),
            test.only_first,
            who(second),
            test.only_second,
            three_digits(test.p_value)
        ))
    };
    evaluation.pairs.iter().filter_map(line).collect()
}
