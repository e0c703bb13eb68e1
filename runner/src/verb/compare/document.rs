//! A comparison to be read.

use super::comparison::{Comparison, Row, Status};
use super::layers::Layers;
use super::metrics::Metrics;
use crate::report::document::Column;
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::note::sentences;
use crate::report::number::{percent, scientific, shape};
use crate::report::{placement, short_names};
use crate::verb::outcome::Report;

/// Describes a comparison: every output of every candidate, what is wrong, and the verdict.
pub fn document(comparison: &Report<Comparison>) -> Document {
    let names = short_names(comparison.rows.iter().map(|row| row.model.as_str()));
    let name = |row: &Row| names.get(row.model.as_str()).cloned().unwrap_or_else(|| row.model.clone());
    let mut document = Document::default();
    let against = comparison.reference.as_deref().unwrap_or("nothing, for want of a result");
    document.paragraph(format!(
        "inputs: {} {}; compared against {against}",
        comparison.inputs,
        shape(&comparison.input_shape)
    ));
    document.table(outputs(comparison, &name));
    document.table(candidates(comparison, &name));
    let failure = |row: &Row| {
        let who = format!("{} {}", row.provider, name(row));
        row.failures.iter().map(move |failure| format!("{who}: {failure}")).collect::<Vec<_>>()
    };
    document.list("What differs", comparison.rows.iter().flat_map(failure).collect());
    if let Some(found) = &comparison.layers {
        layers(&mut document, found);
    }
    document.aside(|document| document.list("Notes", sentences(&comparison.notes)));
    verdict(&mut document, comparison);
    document
}

fn outputs(comparison: &Comparison, name: &impl Fn(&Row) -> String) -> Table {
    let columns = [
        Column::text("provider"),
        Column::text("model"),
        Column::text("status"),
        Column::text("output"),
        Column::number("max abs"),
        Column::number("max rel"),
        Column::number("rms"),
        Column::number("reference rms"),
        Column::number("cosine"),
        Column::number("top-1"),
        Column::number("top-5"),
        Column::number("flips"),
        Column::number("noise"),
        Column::number("tolerance"),
    ];
    let mut table = Table::new(columns);
    for row in &comparison.rows {
        let head = [row.provider.clone().into(), name(row).into(), status(row.status)];
        if let Some(error) = &row.error {
            let mut cells = head.to_vec();
            cells.push(Cell::toned(error.to_string(), Tone::Bad));
            table.rows.push(cells);
            continue;
        }
        for metrics in &row.outputs {
            let mut cells = head.to_vec();
            cells.extend(numbers(metrics));
            table.rows.push(cells);
        }
        if row.outputs.is_empty() {
            table.rows.push(head.to_vec());
        }
    }
    table.without_empty_columns()
}

fn numbers(metrics: &Metrics) -> Vec<Cell> {
    let classes = metrics.classes.as_ref();
    vec![
        metrics.name.clone().into(),
        scientific(metrics.max_abs).into(),
        scientific(metrics.max_rel).into(),
        scientific(metrics.rms).into(),
        scientific(metrics.reference_rms).into(),
        metrics.cosine.map(|cosine| format!("{cosine:.8}")).unwrap_or_default().into(),
        classes.map(|classes| percent(classes.top1)).unwrap_or_default().into(),
        classes.and_then(|classes| classes.top5).map(percent).unwrap_or_default().into(),
        classes.map(|classes| classes.margin_flips.to_string()).unwrap_or_default().into(),
        scientific(metrics.noise_floor).into(),
        format!("{} + {} rel", scientific(metrics.tolerance.atol), scientific(metrics.tolerance.rtol)).into(),
    ]
}

fn candidates(comparison: &Comparison, name: &impl Fn(&Row) -> String) -> Table {
    let mut table = Table::new([
        Column::text("provider"),
        Column::text("model"),
        Column::text("precision"),
        Column::text("library"),
        Column::text("nodes placed on"),
    ]);
    for row in &comparison.rows {
        let Some(loaded) = &row.loaded else { continue };
        table.rows.push(vec![
            row.provider.clone().into(),
            name(row).into(),
            row.precision.to_string().into(),
            loaded.library_version.clone().into(),
            placement(loaded).into(),
        ]);
    }
    table
}

fn status(status: Status) -> Cell {
    match status {
        Status::Reference => "reference".into(),
        Status::Agrees => Cell::toned("agrees", Tone::Good),
        Status::Differs => Cell::toned("differs", Tone::Bad),
        Status::NotRepeatable => Cell::toned("not repeatable", Tone::Bad),
        Status::NoResult => Cell::toned("no result", Tone::Bad),
        Status::NotCompared => "not compared".into(),
    }
}

fn layers(document: &mut Document, layers: &Layers) {
    document.heading(format!("Block outputs, {} against {}", layers.candidates[1], layers.candidates[0]));
    let mut table = Table::new([
        Column::number("block"),
        Column::text("node"),
        Column::text(""),
        Column::number("max abs"),
        Column::number("reference rms"),
        Column::number("cosine"),
    ]);
    for looked in &layers.looked_at {
        let block = match looked.position {
            at if at < layers.boundaries => format!("{}/{}", at + 1, layers.boundaries),
            _ => String::new(),
        };
        table.rows.push(vec![
            block.into(),
            looked.node.clone().into(),
            if looked.agrees { Cell::toned("agrees", Tone::Good) } else { Cell::toned("differs", Tone::Bad) },
            scientific(looked.metrics.max_abs).into(),
            scientific(looked.metrics.reference_rms).into(),
            looked.metrics.cosine.map(|cosine| format!("{cosine:.8}")).unwrap_or_default().into(),
        ]);
    }
    document.table(table);
    document.paragraph(match (&layers.first_diverging, &layers.last_agreeing) {
        (Some(first), Some(last)) => format!("the first to differ is {first}; {last} before it agrees"),
        (Some(first), None) => format!("the first to differ is {first}, before which there is none"),
        (None, _) => "no block output differs, with the block outputs added to the graph".to_owned(),
    });
}

fn verdict(document: &mut Document, comparison: &Comparison) {
    let silent = comparison.errors().count();
    let compared = comparison.rows.iter().filter(|row| row.status == Status::Agrees).count();
    let missing = match silent {
        0 => String::new(),
        1 => "; 1 gave no result".to_owned(),
        n => format!("; {n} gave no result"),
    };
    if comparison.mismatch() {
        document.verdict(format!("mismatch{missing}"), Tone::Bad);
    } else if compared == 0 && silent > 0 {
        document.verdict(format!("nothing compared{missing}"), Tone::Bad);
    } else if compared == 0 {
        document.verdict("two runs on the same input agree; nothing else was there to compare with", Tone::Good);
    } else {
        let tone = if silent == 0 { Tone::Good } else { Tone::Bad };
        document.verdict(format!("all that gave a result agree{missing}"), tone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::precision::Precision;
    use crate::model::tensor::{Data, Tensor};
    use crate::report::text;
    use crate::verb::compare::layers::Looked;
    use crate::verb::compare::metrics::Metrics;
    use crate::verb::compare::tolerance::{Tolerance, ToleranceOverride};

    #[test]
    fn blocks_are_numbered_and_the_models_own_outputs_are_not() {
        let one = Tensor { name: "v".into(), shape: vec![1], data: Data::F32(vec![1.0]) };
        let choose = |rms| Tolerance::choose(ToleranceOverride::default(), Precision::F32, rms);
        let looked = |position| Looked {
            position,
            node: format!("node{position}"),
            value: "v".into(),
            agrees: position < 2,
            metrics: Metrics::of(&one, &one, choose, 0.0),
        };
        let found = Layers {
            candidates: ["cpu".into(), "cuda".into()],
            boundaries: 2,
            looked_at: (0..3).map(looked).collect(),
            last_agreeing: Some("node1".into()),
            first_diverging: Some("outputs".into()),
        };
        let mut document = Document::default();
        layers(&mut document, &found);
        let text = text::render(&document, false);
        let blocks = ["1/2", "2/2", "3/2"].map(|block| text.contains(block));
        assert_eq!(blocks, [true, true, false], "{text}");
        assert!(text.contains("the first to differ is outputs; node1 before it agrees"), "{text}");
    }
}
