//! Results that have no plots of their own: what they say, as far as every result says it.

use serde_json::Value;

use super::found::{Found, verb};
use crate::record::Record;
use crate::report::document::{Cell, Column, Document, Table, Tone};
use crate::report::html::Piece;

/// The fields that hold a text, a number or a truth, and the lists by their length.
pub(crate) fn found(record: &Record) -> Found {
    let mut table = Table::new([Column::text("field"), Column::text("value")]);
    for (name, value) in record.value.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Array(items) if !items.is_empty() => format!("{} items", items.len()),
            _ => continue,
        };
        table.rows.push(vec![name.clone().into(), value.into()]);
    }
    let mut document = Document::default();
    document.table(table);
    // What is a verdict in one word is one here.
    let verdict = record.value.get("verdict").and_then(Value::as_str);
    let verdicts = verdict.map(|verdict| Cell::toned(format!("{}: {verdict}", verb(record.kind)), Tone::Plain));
    Found { verdicts: verdicts.into_iter().collect(), pieces: vec![Piece::Document(document)] }
}
