//! Classified images to be read.

use super::inference::Inference;
use crate::input::classify::Class;
use crate::report::document::Column;
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::note::sentences;
use crate::report::number::{four_digits, percent};
use crate::verb::outcome::Report;
use onnx_file::meaning::Meaning;

/// Describes what is in each image.
pub fn document(inference: &Report<Inference>) -> Document {
    let mut document = Document::default();
    document.paragraph(format!("input {}; output {}", inference.input, inference.output));
    let column = match inference.output.meaning {
        Meaning::IndependentProbabilities => "probability (of each class by itself)",
        Meaning::Scores => "score",
        _ => "probability",
    };
    let mut table = Table::new([Column::text("image"), Column::number(column), Column::text("class")]);
    for image in &inference.images {
        let mut name: Cell = image.path.clone().into();
        if let Some(error) = &image.error {
            table.rows.push(vec![name, Cell::toned(error.to_string(), Tone::Bad)]);
            continue;
        }
        for class in &image.top {
            let label = match &class.label {
                Some(label) => format!("{label} ({})", class.index),
                None => class.index.to_string(),
            };
            table.rows.push(vec![std::mem::take(&mut name), number(class), label.into()]);
        }
    }
    document.table(table);
    document.aside(|document| document.list("Notes", sentences(&inference.notes)));
    if let Some(error) = &inference.error {
        document.verdict(format!("ended after {} images: {error}", inference.images.len()), Tone::Bad);
    }
    document
}

/// The probability of a class, or what the model gave in place of one.
fn number(class: &Class) -> Cell {
    match (class.probability, class.score) {
        (Some(probability), _) => percent(probability).into(),
        (None, Some(score)) => four_digits(score).into(),
        (None, None) => Cell::toned("not given", Tone::Faint),
    }
}
