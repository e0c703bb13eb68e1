//! What the section of every result is made of.

use serde_json::Value;

use crate::record::Kind;
use crate::report::document::Cell;
use crate::report::html::Piece;

/// What a result gives a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) verdicts: Vec<Cell>,
    pub(crate) pieces: Vec<Piece>,
}

/// The sentences of notes, which stand alone in version 1.
pub(crate) fn texts(notes: Option<&Value>) -> Vec<String> {
    let text = |note: &Value| note.as_str().or_else(|| note.get("text")?.as_str()).map(str::to_owned);
    notes.and_then(Value::as_array).into_iter().flatten().filter_map(text).collect()
}

/// What ended something, in words.
pub(crate) fn reason(error: &Value) -> String {
    let text = error.as_str().or_else(|| error.get("detail")?.as_str()).or_else(|| error.get("text")?.as_str());
    text.map_or_else(|| error.to_string(), str::to_owned)
}

/// The verb that a result is of.
pub(crate) fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Infer => "infer",
        Kind::Compare => "compare",
        Kind::Bench => "bench",
        Kind::Eval => "eval",
        Kind::Tune => "tune",
        Kind::Calibrate => "calibrate",
        Kind::Quantize => "quantize",
        Kind::Doctor => "doctor",
        Kind::Gate => "gate",
        Kind::Recheck => "recheck",
    }
}
