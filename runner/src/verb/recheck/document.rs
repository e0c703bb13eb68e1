//! Judged results to be read, and as comma-separated values.

use super::result::{Item, Judged, Rechecked, Verdict};
use crate::record::Kind;
use crate::report::csv::{kebab, number, render, strings};
use crate::report::document::{Cell, Column, Document, Table, Tone};
use crate::report::number::{scientific, three_digits};

/// Describes what was judged.
pub fn document(rechecked: &Rechecked) -> Document {
    let mut document = Document::default();
    let mut table = Table::new([
        Column::text("file"),
        Column::text("what"),
        Column::number("measured"),
        Column::number("limit"),
        Column::text("verdict"),
    ]);
    for judged in &rechecked.results {
        for item in &judged.items {
            table.rows.push(vec![
                judged.file.clone().into(),
                item.name.clone().into(),
                item.measured.map(three_digits).unwrap_or_default().into(),
                limit(item).into(),
                word(item.verdict),
            ]);
        }
    }
    document.table(table.without_empty_columns());
    for judged in &rechecked.results {
        let (text, tone) = sentence(judged);
        document.verdict(format!("{}: {text}{}", judged.file, before(judged)), tone);
    }
    document
}

fn limit(item: &Item) -> String {
    match (item.limit, item.relative_limit) {
        (Some(limit), Some(relative)) => format!("{} + {} rel", scientific(limit), scientific(relative)),
        (Some(limit), None) => three_digits(limit),
        (None, _) => String::new(),
    }
}

fn word(verdict: Verdict) -> Cell {
    match verdict {
        Verdict::None => Cell::toned("not judged", Tone::Faint),
        Verdict::Passes => Cell::toned("passes", Tone::Good),
        Verdict::CannotTell => "cannot tell".into(),
        Verdict::NoResult => Cell::toned("no result", Tone::Bad),
        Verdict::Refused => Cell::toned("refused", Tone::Bad),
        Verdict::Fails => Cell::toned("fails", Tone::Bad),
    }
}

fn sentence(judged: &Judged) -> (&'static str, Tone) {
    let tone = if judged.fails { Tone::Bad } else { Tone::Plain };
    match judged.verdict {
        Verdict::None if judged.kind == Kind::Bench => ("no limit of times was asked for; give --max-regress", tone),
        Verdict::None => ("nothing in it is judged by a limit", tone),
        Verdict::Passes => ("passes", Tone::Good),
        Verdict::CannotTell => ("cannot tell: what was kept proves neither; measure or compare again", tone),
        Verdict::NoResult => ("passes where there is a result, and something gave none", Tone::Bad),
        Verdict::Refused => ("refused: its two measurements cannot be compared", Tone::Bad),
        Verdict::Fails => ("fails", Tone::Bad),
    }
}

/// What was said before, where it is something else.
fn before(judged: &Judged) -> &'static str {
    match judged.kept_verdict {
        kept if kept == judged.verdict => "",
        Verdict::None => "",
        Verdict::Passes => " (by its own limits it passes)",
        Verdict::CannotTell => " (by its own limits it could not be told)",
        Verdict::NoResult => " (by its own limits it passes where there is a result)",
        Verdict::Refused => " (by its own limits it was refused)",
        Verdict::Fails => " (by its own limits it fails)",
    }
}

/// A line for each item.
pub fn csv(rechecked: &Rechecked) -> String {
    let heading = strings(&["file", "what", "measured", "limit", "relative_limit", "verdict"]);
    let lines = rechecked.results.iter().flat_map(|judged| {
        judged.items.iter().map(|item| {
            let numbers = [item.measured, item.limit, item.relative_limit].map(number);
            let names = [judged.file.clone(), item.name.clone()];
            names.into_iter().chain(numbers).chain([kebab(&item.verdict)]).collect()
        })
    });
    render(std::iter::once(heading).chain(lines))
}
