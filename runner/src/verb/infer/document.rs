//! Classified images to be read.

use super::inference::Inference;
use crate::report::document::Column;
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::note::sentences;
use crate::report::number::percent;
use crate::verb::outcome::Report;

/// Describes what is in each image.
pub fn document(inference: &Report<Inference>) -> Document {
    let mut document = Document::default();
    let mut table = Table::new([Column::text("image"), Column::number("probability"), Column::text("class")]);
    for image in &inference.images {
        let mut name: Cell = image.path.clone().into();
        if let Some(error) = &image.error {
            table.rows.push(vec![name, Cell::toned(error.as_str(), Tone::Bad)]);
            continue;
        }
        for class in &image.top {
            let label = match &class.label {
                Some(label) => format!("{label} ({})", class.index),
                None => class.index.to_string(),
            };
            table.rows.push(vec![std::mem::take(&mut name), percent(class.probability).into(), label.into()]);
        }
    }
    document.table(table);
    document.list("Notes", sentences(&inference.notes));
    if let Some(error) = &inference.error {
        document.verdict(format!("ended after {} images: {error}", inference.images.len()), Tone::Bad);
    }
    document
}
