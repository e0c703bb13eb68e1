//! What all results have in common.

use std::process::ExitCode;

use onnx_file::exit::Exit;
use serde::Serialize;

use crate::exit::exit_code;
use crate::report::document::Document;

/// The result of a verb: data that is written as JSON as it is, a form for people, a form for spreadsheets, and what it
/// means for the exit code.
pub trait Outcome: Serialize {
    /// What the JSON calls it.
    const KIND: &'static str;

    /// For people.
    fn document(&self) -> Document;

    /// For spreadsheets.
    fn csv(&self) -> String;

    /// Whether what was tested failed the test; that comes before all else.
    fn mismatch(&self) -> bool {
        false
    }

    /// What errors and inputs call for, in any order.
    fn exits(&self) -> Vec<Exit>;

    /// The exit code.
    fn exit_code(&self) -> ExitCode {
        exit_code(self.mismatch(), self.exits().into_iter())
    }
}
