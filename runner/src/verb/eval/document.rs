//! An evaluation to be read.

use crate::report::document::Column;
use crate::report::note::sentences;
use std::collections::BTreeMap;

use super::result::{Evaluated, Evaluation, Paired};
use super::tally::ClassRow;
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::number::{four_digits, percent, three_digits};
use crate::report::{SHOWN, broken, machine, short_names, shown};
use crate::stats::proportion::Wilson;
use crate::verb::outcome::Report;

/// Classes up to which the whole confusion matrix is shown.
const MATRIX: usize = 16;

/// Describes an evaluation: accuracy, classes, confusions, pairs, broken images, where the time went.
pub fn document(evaluation: &Report<Evaluation>) -> Document {
    let names = short_names(evaluation.candidates.iter().map(|candidate| candidate.model.as_str()));
    let mut document = Document::default();
    document.aside(|document| document.paragraph(machine(&evaluation.environment)));
    document.paragraph(format!(
        "{} images of {}, in batches of {}",
        evaluation.images, evaluation.folder, evaluation.batch
    ));
    document.aside(|document| document.list("Inputs and outputs", ports(evaluation, &names)));
    document.table(accuracy(evaluation, &names));
    let several = evaluation.candidates.len() > 1;
    for candidate in evaluation.candidates.iter().filter(|candidate| !candidate.classes.is_empty()) {
        let who = if several { format!(" of {}", called(candidate, &names)) } else { String::new() };
        classes(&mut document, candidate, &who);
        confusions(&mut document, candidate, &who);
    }
    for pair in &evaluation.pairs {
        paired(&mut document, evaluation, pair, &names);
    }
    for candidate in evaluation.candidates.iter().filter(|candidate| !candidate.not_finite.is_empty()) {
        let who = called(candidate, &names);
        document
            .list(&format!("Images whose scores by {who} are NaN or infinite"), shown(candidate.not_finite.clone()));
    }
    document.list("Broken images, which count neither as right nor as wrong", broken(&evaluation.broken));
    document.aside(|document| {
        document.heading("Where the time went");
        document.table(time(evaluation));
    });
    document.aside(|document| document.list("Notes", sentences(&evaluation.notes)));
    for candidate in evaluation.candidates.iter().filter(|candidate| !candidate.not_finite.is_empty()) {
        let (failed, seen) = (candidate.not_finite.len(), candidate.not_finite.len() + candidate.images);
        let who = called(candidate, &names);
        let text =
            format!("{who} failed: its scores are NaN or infinite for {failed} of {seen} images; it has no accuracy");
        document.verdict(text, Tone::Bad);
    }
    if evaluation.interrupted {
        document.verdict("stopped early: these are the images evaluated until then", Tone::Bad);
    }
    document
}

fn called(candidate: &Evaluated, names: &BTreeMap<&str, String>) -> String {
    let name = names.get(candidate.model.as_str()).cloned().unwrap_or_else(|| candidate.model.clone());
    format!("{} {name}", candidate.provider)
}

/// What each model is fed and what is read of it; once for a model on several providers.
fn ports(evaluation: &Evaluation, names: &BTreeMap<&str, String>) -> Vec<String> {
    let mut ports: Vec<String> = Vec::new();
    for Evaluated { model, input, output, .. } in &evaluation.candidates {
        let name = names.get(model.as_str()).unwrap_or(model);
        let line = format!("{name}: input {input}; output {output}");
        if !ports.contains(&line) {
            ports.push(line);
        }
    }
    ports
}

fn rate(rate: Option<Wilson>) -> [Cell; 2] {
    let Some(rate) = rate else { return [Cell::default(), Cell::default()] };
    let [low, high] = rate.interval;
    let interval = format!("{} to {}", percent(low), percent(high));
    [percent(rate.proportion).into(), Cell::toned(interval, Tone::Faint)]
}

fn accuracy(evaluation: &Evaluation, names: &BTreeMap<&str, String>) -> Table {
    let columns = [
        Column::text("provider"),
        Column::text("model"),
        Column::number("images"),
        Column::number("top-1"),
        Column::text("95% interval"),
        Column::number("top-5"),
        Column::text("95% interval"),
        Column::text("ended early by"),
    ];
    let mut table = Table::new(columns);
    for candidate in &evaluation.candidates {
        let name = names.get(candidate.model.as_str()).cloned().unwrap_or_else(|| candidate.model.clone());
        let mut cells: Vec<Cell> = vec![candidate.provider.clone().into(), name.into()];
        let error = candidate.error.as_ref().map(|error| Cell::toned(error.to_string(), Tone::Bad));
        if !candidate.not_finite.is_empty() {
            let (failed, seen) = (candidate.not_finite.len(), candidate.not_finite.len() + candidate.images);
            cells.push(Cell::toned(format!("NaN or infinite scores for {failed} of {seen} images"), Tone::Bad));
            table.rows.push(cells);
            continue;
        }
        match error {
            Some(error) if candidate.images == 0 => cells.push(error),
            error => {
                cells.push(candidate.images.to_string().into());
                cells.extend(rate(candidate.top1));
                cells.extend(rate(candidate.top5));
                cells.push(error.unwrap_or_default());
            }
        }
        table.rows.push(cells);
    }
    table.without_empty_columns()
}

fn label(row: &ClassRow) -> String {
    row.label.clone().unwrap_or_else(|| row.index.to_string())
}

/// A class as this candidate names it.
fn class_name(candidate: &Evaluated, index: usize) -> String {
    let row = candidate.classes.iter().find(|row| row.index == index);
    row.map_or_else(|| index.to_string(), label)
}

fn classes(document: &mut Document, candidate: &Evaluated, who: &str) {
    let mut rows: Vec<&ClassRow> = candidate.classes.iter().filter(|row| row.images > 0).collect();
    let all = rows.len();
    if all > SHOWN {
        let recall = |row: &&ClassRow| row.recall.map_or(0.0, |recall| recall.proportion);
        rows.sort_by(|a, b| recall(a).total_cmp(&recall(b)));
        rows.truncate(SHOWN);
    }
    let heading =
        if all > SHOWN { format!("The {SHOWN} worst of {all} classes{who}") } else { format!("Classes{who}") };
    document.heading(heading);
    let mut table = Table::new([
        Column::text("class"),
        Column::number("images"),
        Column::number("recognised"),
        Column::text("95% interval"),
        Column::number("taken for it"),
        Column::number("rightly"),
    ]);
    for row in rows {
        let mut cells: Vec<Cell> = vec![label(row).into(), row.images.to_string().into()];
        cells.extend(rate(row.recall));
        cells.push(row.predicted.to_string().into());
        cells.push(row.precision.map(percent).unwrap_or_default().into());
        table.rows.push(cells);
    }
    document.table(table);
}

fn confusions(document: &mut Document, candidate: &Evaluated, who: &str) {
    let rows: BTreeMap<usize, &ClassRow> = candidate.classes.iter().map(|row| (row.index, row)).collect();
    let name = |index: usize| rows.get(&index).map_or_else(|| index.to_string(), |row| label(row));
    if candidate.classes.len() <= MATRIX {
        document.heading(format!("Confusion matrix{who}: a row for each class, a column for what it was taken for"));
        let counts = rows.keys().map(|&index| Column::number(name(index)));
        let mut table = Table::new(std::iter::once(Column::text("class")).chain(counts));
        for (&actual, row) in rows.iter().filter(|(_, row)| row.images > 0) {
            let mut cells: Vec<Cell> = vec![label(row).into()];
            for &predicted in rows.keys() {
                let cell = candidate.confusion.iter().find(|c| (c.actual, c.predicted) == (actual, predicted));
                let tone = if actual == predicted { Tone::Good } else { Tone::Plain };
                cells.push(
                    cell.map_or_else(|| Cell::toned(".", Tone::Faint), |c| Cell::toned(c.images.to_string(), tone)),
                );
            }
            table.rows.push(cells);
        }
        document.table(table);
        return;
    }
    let mut confused: Vec<_> = candidate.confusion.iter().filter(|cell| cell.actual != cell.predicted).collect();
    confused.sort_by_key(|cell| std::cmp::Reverse(cell.images));
    let mut table = Table::new([Column::text("class"), Column::text("taken for"), Column::number("images")]);
    for cell in confused.iter().take(SHOWN) {
        table.rows.push(vec![name(cell.actual).into(), name(cell.predicted).into(), cell.images.to_string().into()]);
    }
    if !table.rows.is_empty() {
        document.heading(format!("Most frequent confusions{who}"));
        document.table(table);
    }
}

fn paired(document: &mut Document, evaluation: &Evaluation, pair: &Paired, names: &BTreeMap<&str, String>) {
    let (first, second) = (&evaluation.candidates[0], &evaluation.candidates[pair.candidate]);
    document.heading(format!("{} against {}", called(second, names), called(first, names)));
    let test = &pair.mcnemar;
    let Some(agreement) = pair.agreement else {
        document.paragraph("there is no image that both evaluated");
        return;
    };
    let summary =
        if test.difference_shown { "a difference in accuracy is shown" } else { "no difference in accuracy shown" };
    document.paragraph(format!(
        "they say the same of {} of the {} images that both evaluated; only {} is right on {}, only {} on {}: {summary} \
         (McNemar's exact test, p = {})",
        percent(agreement),
        pair.images,
        called(first, names),
        test.only_first,
        called(second, names),
        test.only_second,
        three_digits(test.p_value)
    ));
    let mut table = Table::new([
        Column::text("image"),
        Column::text("class"),
        Column::text("first says"),
        Column::text("second says"),
    ]);
    for difference in pair.differences.iter().take(SHOWN) {
        let said = |by: &Evaluated, predicted: usize, right: bool| {
            Cell::toned(class_name(by, predicted), if right { Tone::Good } else { Tone::Bad })
        };
        table.rows.push(vec![
            difference.path.clone().into(),
            class_name(first, difference.class).into(),
            said(first, difference.first, difference.first_right),
            said(second, difference.second, difference.second_right),
        ]);
    }
    document.table(table);
    let more = pair.differences.len().saturating_sub(SHOWN);
    if more > 0 {
        document.paragraph(format!("and {more} more images"));
    }
}

fn time(evaluation: &Evaluation) -> Table {
    let time = &evaluation.time;
    let seen = (time.images_per_second * time.wall_s).max(1.0);
    let mut table =
        Table::new([Column::text(""), Column::number("seconds"), Column::number("ms an image"), Column::text("")]);
    let mut row = |what: &str, seconds: f64, how: String| {
        table.rows.push(vec![
            what.into(),
            three_digits(seconds).into(),
            three_digits(seconds * 1e3 / seen).into(),
            Cell::toned(how, Tone::Faint),
        ]);
    };
    let threads = |n: usize| {
        if n == 1 { "processor time, on 1 thread".to_owned() } else { format!("processor time, on {n} threads") }
    };
    row("decode", time.prepare.decode_s, threads(time.threads));
    row("resize", time.prepare.resize_s, threads(time.threads));
    row("run", time.run_s, "meanwhile".to_owned());
    row("in all", time.wall_s, format!("{} images/s", four_digits(time.images_per_second)));
    table
}
