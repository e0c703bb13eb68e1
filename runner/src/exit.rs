//! Exit codes: which error calls for which.

use std::io::{self, Write};
use std::process::ExitCode;

use onnx_file::exit::Exit;
use onnx_file::text::Terminal;

use crate::backend::onnxruntime::provider::OptionError;
use crate::backend::onnxruntime::runtime::error::InstallError;
use crate::backend::onnxruntime::runtime::error::RuntimeError;
use crate::model::file::MetadataError;
use crate::model::opened::ModelError;
use crate::record::RecordError;
use crate::report::document::Line;

/// Why a verb came to nothing: what to say and how to exit.
#[derive(Debug)]
pub struct Failure {
    /// How the program is to exit.
    pub exit: Exit,
    /// What to say.
    pub message: String,
}

impl Failure {
    /// A failure with its message, which is one line: paths and names in it are others', and none of them begins a
    /// line of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: Line::from(message).to_string() }
    }

    /// A failure whose message has lines: hints, and what other programs printed.
    pub fn lines(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// Tells the user and gives the exit code.
    pub fn report(&self) -> ExitCode {
        let _ = writeln!(Terminal::new(io::stderr()), "error: {}", self.message);
        self.exit.into()
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Failure {
        Failure::new(Exit::Usage, error.to_string())
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Failure {
        Failure::lines(Exit::Unavailable, error.to_string())
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Failure {
        let exit = match error {
            InstallError::Io { .. } => Exit::Output,
            InstallError::Hash { .. } | InstallError::Incomplete { .. } | InstallError::Wheel { .. } => Exit::BadInput,
            _ => Exit::Unavailable,
        };
        Failure::lines(exit, error.to_string())
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Failure {
        Failure::new(Exit::BadInput, error.to_string())
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Failure {
        Failure::new(Exit::BadInput, error.to_string())
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Failure {
        let exit = match error {
            ModelError::BadModel(_) | ModelError::BadInput(_) => Exit::BadInput,
            ModelError::Fallback(_) => Exit::Fallback,
            _ => Exit::Unavailable,
        };
        Failure::lines(exit, error.to_string())
    }
}

/// A result that JSON cannot say is this program's mistake.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::new(Exit::Internal, error.to_string())
    }
}

/// What an error calls for.
pub fn exit_of(error: &ModelError) -> Exit {
    Failure::from(error.clone()).exit
}

/// The exit code of a result: a mismatch before a refused fallback before a provider that gave no result before an
/// input that does not suit.
pub fn exit_code(mismatch: bool, exits: impl Iterator<Item = Exit>) -> ExitCode {
    if mismatch {
        return Exit::Mismatch.into();
    }
    let rank = |exit: &Exit| match exit {
        Exit::Fallback => 0,
        Exit::Unavailable => 1,
        _ => 2,
    };
    exits.min_by_key(rank).unwrap_or(Exit::Success).into()
}
