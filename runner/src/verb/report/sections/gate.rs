//! The judgement of two measurements on the page.

use super::found::Found;
use crate::report::document::{Cell, Document};
use crate::report::html::Piece;
use crate::verb::regression::{Gated, document};

/// What was found of two measurements.
pub(crate) fn found(gated: &Gated) -> Found {
    let mut described = Document::default();
    document::describe(&mut described, gated);
    let (text, tone) = document::verdict(gated);
    Found { verdicts: vec![Cell::toned(text, tone)], pieces: vec![Piece::Document(described)] }
}
