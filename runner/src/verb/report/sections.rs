//! A section for each kind of result.

pub mod bench;
pub mod calibration;
pub mod compare;
pub mod eval;
pub mod found;
pub mod gate;
pub mod other;

use std::collections::BTreeMap;

use crate::model::opened::Loaded;
use crate::report::document::{Column, Document, Table};
use crate::report::html::Piece;
use crate::report::placement;
use crate::report::plot::Figure;
use crate::report::plot::scale::PlotError;

/// A plot with its table; where the numbers give no plot, the table alone and why.
pub(super) fn drawn(name: String, title: String, svg: Result<String, PlotError>, table: Table) -> Piece {
    match svg {
        Ok(svg) => Piece::Figure(Figure { name, title: title.into(), svg, table }),
        Err(error) => {
            let mut document = Document::default();
            document.heading(title);
            document.paragraph(error.to_string());
            document.table(table);
            Piece::Document(document)
        }
    }
}

/// Where each candidate ran, with which library and options.
pub(super) fn candidates<'a>(loaded: impl Iterator<Item = (&'a str, &'a Loaded)>) -> Piece {
    let mut table = Table::new([
        Column::text("provider"),
        Column::text("model"),
        Column::text("library"),
        Column::text("nodes placed on"),
        Column::text("options"),
    ]);
    for (model, loaded) in loaded {
        let options: Vec<String> = loaded.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.rows.push(vec![
            loaded.provider.clone().into(),
            model.to_owned().into(),
            loaded.library_version.clone().into(),
            placement(loaded).into(),
            options.join(" ").into(),
        ]);
    }
    let mut document = Document::default();
    if !table.rows.is_empty() {
        document.heading("Placement and options");
    }
    document.table(table);
    Piece::Document(document)
}

/// A model as the page calls it.
pub(super) fn called(names: &BTreeMap<&str, String>, model: &str) -> String {
    names.get(model).cloned().unwrap_or_else(|| model.to_owned())
}
