//! The page as a whole: what was found on top, a section for each result, the machines, the results themselves.

use std::collections::{BTreeMap, BTreeSet};

use onnx_file::exit::Exit;
use serde_json::Value;

use super::sections::found::{Found, texts, verb};
use super::sections::{bench, calibration, compare, eval, gate, other};
use crate::exit::Failure;
use crate::host::environment::Environment;
use crate::record::{self, Kind, LeftOut, Record};
use crate::report::document::{Cell, Column, Document, Table};
use crate::report::html::{Page, Piece, Section, render};
use crate::report::{json, machine, short_names};

/// Longest page, in bytes.
const LONGEST: usize = 1_000_000;
/// Dots that lie on one another stand side by side in so many lanes; fewer where the page would be too long.
const LANES: [usize; 3] = [8, 3, 1];

/// What is left out of the embedded results where the page would be too long: first what nothing on it shows.
const LEAVING_OUT: [&[LeftOut]; 3] = [&[], &[LeftOut::Histograms], &[LeftOut::Histograms, LeftOut::Samples]];

/// The page of these results: as long as allowed, first with fewer lanes of dots and then without histograms and raw
/// samples in the embedded results, which it says.
pub(crate) fn page(records: &[Record]) -> Result<Page, Failure> {
    for left_out in LEAVING_OUT {
        for lanes in LANES {
            let page = with(records, lanes, left_out)?;
            if render(&page).len() <= LONGEST {
                return Ok(page);
            }
        }
    }
    let text = match records {
        [one] => format!(
            "{}: this result needs a page of more than {LONGEST} bytes, even without raw samples and histograms; measure \
             fewer models or batch sizes in one file",
            one.path.display()
        ),
        _ => format!("these results need a page of more than {LONGEST} bytes; give fewer of them, or several pages"),
    };
    Err(Failure::new(Exit::Usage, text))
}

fn with(records: &[Record], lanes: usize, left_out: &[LeftOut]) -> Result<Page, Failure> {
    let mut page = Page { title: "Results of resnext-run".into(), ..Page::default() };
    let paths: Vec<String> = records.iter().map(|record| record.path.display().to_string()).collect();
    let names = short_names(paths.iter().map(String::as_str));
    for (at, (record, path)) in records.iter().zip(&paths).enumerate() {
        let found = found(record, at, lanes)?;
        let heading = format!("{}: {}", verb(record.kind), names.get(path.as_str()).unwrap_or(path));
        page.verdicts.extend(found.verdicts);
        page.sections.push(Section { heading, pieces: found.pieces });
    }
    page.sections.push(Section { heading: "Machines".into(), pieces: vec![Piece::Document(machines(records))] });
    let mut missing = BTreeSet::new();
    for (record, path) in records.iter().zip(&paths) {
        let (text, without) = embedded(record, left_out)?;
        missing.extend(without);
        page.data.push((path.clone(), text));
    }
    let mut data = Document::default();
    data.paragraph(held(&missing));
    page.sections.push(Section { heading: "Data".into(), pieces: vec![Piece::Document(data)] });
    Ok(page)
}

/// A result as the page holds it, and what it lacks, here or since an earlier page.
fn embedded(record: &Record, left_out: &[LeftOut]) -> Result<(String, BTreeSet<LeftOut>), Failure> {
    if left_out.is_empty() {
        return Ok((record.text.clone(), record.left_out()));
    }
    let mut shortened = record.clone();
    left_out.iter().for_each(|&what| shortened.leave_out(what));
    Ok((json::render(&shortened.value)?, shortened.left_out()))
}

/// What the page holds besides what it shows.
fn held(missing: &BTreeSet<LeftOut>) -> String {
    let name = |what: &LeftOut| match what {
        LeftOut::Samples => "the raw samples of measurements",
        LeftOut::Histograms => "the histograms of calibrations",
    };
    let names: Vec<&str> = missing.iter().map(name).collect();
    if names.is_empty() {
        return "This file holds the results as JSON, raw samples included: `resnext-run report` reads it.".to_owned();
    }
    let names = names.join(" and ");
    format!(
        "This file holds the results as JSON, without {names}, which would make it too long: the files named above hold them."
    )
}

fn found(record: &Record, at: usize, lanes: usize) -> Result<Found, Failure> {
    let name = format!("{}-{}", at + 1, verb(record.kind));
    let mut found = match record.kind {
        Kind::Bench => bench::found(&record.typed(Kind::Bench, "bench")?, &name, lanes),
        Kind::Compare => compare::found(&record.typed(Kind::Compare, "compare")?, &name),
        Kind::Eval => eval::found(&record.typed(Kind::Eval, "eval")?, &name),
        Kind::Gate => gate::found(&record.typed(Kind::Gate, "gate")?),
        Kind::Calibrate => calibration::found(&record.typed(Kind::Calibrate, "calibrate")?, &name),
        _ => other::found(record),
    };
    // A verdict that was asked for together with the measurement.
    if let Some(gated) = record.value.get("gate").and_then(|gated| record::typed_value(gated).ok()) {
        let Found { verdicts, pieces } = gate::found(&gated);
        found.verdicts.splice(0..0, verdicts);
        found.pieces.extend(pieces);
    }
    let mut notes = Document::default();
    notes.list("Notes", texts(record.value.get("notes")));
    if record.value.get("interrupted").and_then(Value::as_bool) == Some(true) {
        notes.paragraph("It was stopped early: this is what was found until then.");
    }
    found.pieces.push(Piece::Document(notes));
    Ok(found)
}

/// Where each result was made, and in what these places differ.
fn machines(records: &[Record]) -> Document {
    let paths: Vec<String> = records.iter().map(|record| record.path.display().to_string()).collect();
    let names = short_names(paths.iter().map(String::as_str));
    let mut document = Document::default();
    let environments: Vec<(String, Environment)> = records
        .iter()
        .zip(&paths)
        .filter_map(|(record, path)| {
            let environment = record::typed_value(record.value.get("environment")?).ok()?;
            Some((names.get(path.as_str()).unwrap_or(path).clone(), environment))
        })
        .collect();
    let mut table = Table::new([Column::text("result"), Column::text("machine"), Column::text("program")]);
    for (name, environment) in &environments {
        table.rows.push(vec![
            name.clone().into(),
            machine(environment).into(),
            environment.program_version.clone().into(),
        ]);
    }
    document.table(table);
    let fields = |environment: &Environment| -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let value = serde_json::to_value(environment).unwrap_or_default();
        flattened("", &value, &mut fields);
        fields
    };
    let all: Vec<BTreeMap<String, String>> = environments.iter().map(|(_, environment)| fields(environment)).collect();
    let Some(first) = all.first() else { return document };
    let differs = |field: &&String| all.iter().any(|other| other.get(*field) != first.get(*field));
    let names = environments.iter().map(|(name, _)| Column::text(name.clone()));
    let mut table = Table::new(std::iter::once(Column::text("field")).chain(names));
    for field in first.keys().filter(differs) {
        let values = all.iter().map(|fields| Cell::from(fields.get(field).cloned().unwrap_or_default()));
        table.rows.push(std::iter::once(Cell::from(field.clone())).chain(values).collect());
    }
    if !table.rows.is_empty() {
        document.heading("What differs between them");
        document.table(table);
    }
    document
}

fn flattened(path: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flattened(&path, value, fields);
            }
        }
        Value::String(text) => drop(fields.insert(path.to_owned(), text.clone())),
        other => drop(fields.insert(path.to_owned(), other.to_string())),
    }
}
