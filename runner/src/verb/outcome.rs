//! What all results have in common.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::ExitCode;

use onnx_file::exit::Exit;
use serde::{Serialize, Serializer};

use crate::exit::exit_code;
use crate::host::environment::Environment;
use crate::model::opened::ModelError;
use crate::next::Next;
use crate::note::{Named, Note};
use crate::report::document::Document;

/// The result of a verb: data that is written as JSON as it is, a form for people, a form for spreadsheets, and what it
/// means for the exit code.
pub trait Outcome: Serialize + Sized {
    /// What the JSON calls it.
    const KIND: &'static str;

    /// Version of the JSON's shape. It goes up where a field goes, gets another name or another meaning.
    const SCHEMA_VERSION: u32;

    /// For people.
    fn document(report: &Report<Self>) -> Document;

    /// For spreadsheets.
    fn csv(&self) -> String;

    /// Whether what was tested failed the test; that comes before all else.
    fn mismatch(&self) -> bool {
        false
    }

    /// Who gave no result or an incomplete one, and why.
    fn failures(&self) -> Vec<(Named, &ModelError)> {
        Vec::new()
    }

    /// What may come next; `kept` is where its JSON is kept.
    fn next(_report: &Report<Self>, _kept: Option<&Path>) -> Vec<Next> {
        Vec::new()
    }

    /// Whether nothing was found before the run was stopped.
    fn is_empty(&self) -> bool {
        false
    }

    /// What errors and inputs call for, in any order.
    fn exits(&self) -> Vec<Exit>;

    /// The exit code.
    fn exit_code(&self) -> ExitCode {
        exit_code(self.mismatch(), self.exits().into_iter())
    }
}

/// A result with what every result says besides: the machine, caveats, whether it is whole. It reads as the result.
///
/// The JSON of every verb begins with these fields, and the fields of the result follow beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Report<T> {
    /// Machine and time.
    pub environment: Environment,
    /// Caveats.
    pub notes: Vec<Note>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// What was found.
    pub result: T,
}

impl<T> Report<T> {
    /// A result that is whole, without caveats.
    pub fn of(environment: Environment, result: T) -> Report<T> {
        Report { environment, notes: Vec::new(), interrupted: false, result }
    }
}

impl<T: Outcome> Report<T> {
    /// The exit code: an interrupt's where nothing was found before it, that of the result otherwise.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.interrupted && self.result.is_empty() {
            return Exit::Interrupted.into();
        }
        self.result.exit_code()
    }
}

impl<T> Deref for Report<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.result
    }
}

impl<T> DerefMut for Report<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.result
    }
}

impl<T: Outcome> Serialize for Report<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'r, T> {
            schema_version: u32,
            kind: &'static str,
            environment: &'r Environment,
            #[serde(serialize_with = "crate::coded::with_text")]
            notes: &'r [Note],
            interrupted: bool,
            #[serde(flatten)]
            result: &'r T,
        }
        let Report { environment, notes, interrupted, result } = self;
        let (schema_version, kind) = (T::SCHEMA_VERSION, T::KIND);
        Whole { schema_version, kind, environment, notes, interrupted: *interrupted, result }.serialize(serializer)
    }
}
