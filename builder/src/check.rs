//! `check`: which stacks take a file.

use std::path::{Path, PathBuf};

use onnx_file::exit::Exit;
use onnx_file::outline::{Outline, OutlineError};
use serde::Serialize;

use crate::stacks::{Answer, Facts, STACKS, Stack, named};
use crate::suggest;

/// Version of [`Checked`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// What stacks make of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The file.
    pub file: String,
    /// Version of the format.
    pub ir_version: i64,
    /// Version of the default operator set.
    pub opset: i64,
    /// Whether the stacks that must take it do; all of them where none was named.
    pub taken: bool,
    /// What each makes of it.
    pub stacks: Vec<Answer>,
}

/// Why a file was not checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is no model.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// There is no such stack.
    #[error("no stack '{name}'{near}; there are {known}")]
    Unknown {
        /// As asked for.
        name: String,
        /// What may be meant.
        near: String,
        /// All there are.
        known: String,
    },
}

impl CheckError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Outline(_) => Exit::BadInput,
            Self::Unknown { .. } => Exit::Usage,
        }
    }
}

/// Checks the file at `path` for the stacks called `names`, or for all.
///
/// # Errors
/// [`CheckError`]; that a stack does not take it is none.
pub fn check(path: &Path, names: &[String]) -> Result<Checked, CheckError> {
    let all = || STACKS.iter().map(|stack| stack.name);
    let unknown = |name: &String| CheckError::Unknown {
        name: name.clone(),
        near: suggest::question(&suggest::nearest(name, all())),
        known: all().collect::<Vec<_>>().join(", "),
    };
    let mut stacks: Vec<&Stack> = Vec::new();
    for name in names {
        let stack = named(name).ok_or_else(|| unknown(name))?;
        if !stacks.iter().any(|other| other.name == stack.name) {
            stacks.push(stack);
        }
    }
    if stacks.is_empty() {
        stacks = STACKS.iter().collect();
    }
    let facts = Facts::of(&Outline::read(path)?);
    let answers: Vec<Answer> = stacks.into_iter().map(|stack| stack.answer(&facts)).collect();
    Ok(Checked {
        schema_version: SCHEMA_VERSION,
        file: PathBuf::from(path).display().to_string(),
        ir_version: facts.ir,
        opset: facts.opset,
        taken: answers.iter().all(|answer| answer.takes),
        stacks: answers,
    })
}
