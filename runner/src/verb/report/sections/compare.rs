//! A comparison on the page.

use super::found::{Found, reason, texts};
use super::{called, candidates, drawn};
use crate::record::compare::{Comparison, Layers, Status};
use crate::report::document::{Cell, Column, Document, Table, Tone};
use crate::report::html::Piece;
use crate::report::number::scientific;
use crate::report::plot::{self, Series};
use crate::report::short_names;

/// What the comparison found.
pub(crate) fn found(comparison: &Comparison, name: &str) -> Found {
    let mut document = Document::default();
    let against = comparison.reference.as_deref().unwrap_or("nothing, for want of a result");
    document.paragraph(format!("inputs: {}; compared against {against}", comparison.inputs));
    document.table(outputs(comparison));
    let failures = comparison.rows.iter().flat_map(|row| {
        let failures = texts(Some(&serde_json::Value::Array(row.failures.clone())));
        failures.into_iter().map(|failure| format!("{} {}: {failure}", row.provider, row.model))
    });
    document.list("What differs", failures.collect());
    let mut pieces = vec![Piece::Document(document)];
    if let Some(layers) = comparison.layers.as_ref().filter(|layers| !layers.looked_at.is_empty()) {
        pieces.push(by_layer(layers, name));
    }
    let loaded = comparison.rows.iter().filter_map(|row| Some((row.model.as_str(), row.loaded.as_ref()?)));
    pieces.push(candidates(loaded));
    Found { verdicts: vec![verdict(comparison)], pieces }
}

fn verdict(comparison: &Comparison) -> Cell {
    let count = |of: &[Status]| comparison.rows.iter().filter(|row| of.contains(&row.status)).count();
    let reference_fails = comparison.rows.iter().any(|row| row.status == Status::Reference && !row.failures.is_empty());
    let differ = count(&[Status::Differs, Status::NotRepeatable]) + usize::from(reference_fails);
    let (agree, silent) = (count(&[Status::Agrees]), count(&[Status::NoResult]));
    let missing = if silent == 0 { String::new() } else { format!("; {silent} gave no result") };
    let against = comparison.reference.as_deref().unwrap_or("the reference");
    match (differ, agree) {
        (1.., _) => Cell::toned(format!("Mismatch: {differ} differ from {against}{missing}."), Tone::Bad),
        (0, 0) if silent > 0 => Cell::toned(format!("Nothing was compared{missing}."), Tone::Bad),
        (0, 0) => Cell::toned("Two runs on the same input agree; nothing else was there to compare with.", Tone::Good),
        (0, _) => {
            let tone = if silent == 0 { Tone::Good } else { Tone::Bad };
            Cell::toned(format!("{agree} of {} agree with {against}{missing}.", agree + silent), tone)
        }
    }
}

fn outputs(comparison: &Comparison) -> Table {
    let names = short_names(comparison.rows.iter().map(|row| row.model.as_str()));
    let mut table = Table::new([
        Column::text("provider"),
        Column::text("model"),
        Column::text("status"),
        Column::text("output"),
        Column::number("max abs"),
        Column::number("max rel"),
        Column::number("rms"),
        Column::number("reference rms"),
        Column::number("beyond"),
        Column::text("tolerance"),
    ]);
    for row in &comparison.rows {
        let status = match row.status {
            Status::Reference => "reference".into(),
            Status::Agrees => Cell::toned("agrees", Tone::Good),
            Status::Differs => Cell::toned("differs", Tone::Bad),
            Status::NotRepeatable => Cell::toned("not repeatable", Tone::Bad),
            Status::NoResult => Cell::toned("no result", Tone::Bad),
            Status::NotCompared => "not compared".into(),
        };
        let head = [row.provider.clone().into(), called(&names, &row.model).into(), status];
        if let Some(error) = &row.error {
            table.rows.push(head.into_iter().chain([Cell::toned(reason(error), Tone::Bad)]).collect());
            continue;
        }
        for metrics in &row.outputs {
            let number = |value: Option<f64>| Cell::from(value.map(scientific).unwrap_or_default());
            let allowed = metrics.tolerance;
            let cells = [
                metrics.name.clone().into(),
                number(metrics.max_abs),
                number(metrics.max_rel),
                number(metrics.rms),
                number(metrics.reference_rms),
                metrics.beyond_tolerance.to_string().into(),
                format!("{} + {} rel", scientific(allowed.atol), scientific(allowed.rtol)).into(),
            ];
            table.rows.push(head.iter().cloned().chain(cells).collect());
        }
    }
    table
}

/// The largest difference of each block as a share of its reference, along the graph.
fn by_layer(layers: &Layers, name: &str) -> Piece {
    let [first, second] = &layers.candidates;
    let mut table = Table::new([
        Column::number("block"),
        Column::text("node"),
        Column::text(""),
        Column::number("max abs"),
        Column::number("reference rms"),
        Column::number("share"),
    ]);
    let mut points = Vec::new();
    for (at, looked) in layers.looked_at.iter().enumerate() {
        let metrics = &looked.metrics;
        let share = metrics.max_abs.zip(metrics.reference_rms).map(|(most, rms)| most / rms);
        // What differs in nothing stands below all that could differ.
        let share = share.filter(|share| share.is_finite()).map(|share| share.max(1e-9));
        points.extend(share.map(|share| ((at + 1) as f64, share)));
        let number = |value: Option<f64>| Cell::from(value.map(scientific).unwrap_or_default());
        table.rows.push(vec![
            (at + 1).to_string().into(),
            looked.node.clone().into(),
            if looked.agrees { Cell::toned("agrees", Tone::Good) } else { Cell::toned("differs", Tone::Bad) },
            number(metrics.max_abs),
            number(metrics.reference_rms),
            number(share),
        ]);
    }
    let series = [Series { name: "largest difference / root mean square, 1e-9 for none".into(), points }];
    let svg = plot::lines(&series, ["block, in the order of the graph", "share"], None);
    drawn(format!("{name}-layers"), format!("By block, {second} against {first}"), svg, table)
}
