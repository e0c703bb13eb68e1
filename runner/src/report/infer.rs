//! Classified pictures to be read.

use super::document::{Cell, Document, Table, Tone};
use super::number::percent;
use crate::infer::Inference;

/// Describes what is in each picture.
pub fn document(inference: &Inference) -> Document {
    let mut document = Document::default();
    let mut table = Table::new(&["picture", ">probability", "class"]);
    for picture in &inference.pictures {
        let mut name: Cell = picture.path.clone().into();
        if let Some(error) = &picture.error {
            table.rows.push(vec![name, Cell::toned(error.as_str(), Tone::Bad)]);
            continue;
        }
        for class in &picture.top {
            let label = match &class.label {
                Some(label) => format!("{label} ({})", class.index),
                None => class.index.to_string(),
            };
            table.rows.push(vec![std::mem::take(&mut name), percent(class.probability).into(), label.into()]);
        }
    }
    document.table(table);
    document.list("Notes", inference.notes.clone());
    if let Some(error) = &inference.error {
        document.verdict(format!("ended after {} pictures: {error}", inference.pictures.len()), Tone::Bad);
    }
    document
}
