//! Writing to the terminal: results to standard output, remarks and progress to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use onnx_file::exit::Exit;
use resnext_runner::metadata::MetadataError;
use resnext_runner::model::ModelError;
use resnext_runner::provider::OptionError;
use resnext_runner::runtime::RuntimeError;
use resnext_runner::runtime::install::InstallError;

use crate::cli::{Color, Global};

/// Why a verb came to nothing: what to say and how to exit.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// Tells the user and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let _ = writeln!(io::stderr(), "error: {}", self.message);
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
        Failure::new(Exit::Unavailable, error.to_string())
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Failure {
        let exit = match error {
            InstallError::Io { .. } => Exit::Output,
            InstallError::Hash { .. } | InstallError::Incomplete { .. } | InstallError::Wheel { .. } => Exit::BadInput,
            _ => Exit::Unavailable,
        };
        Failure::new(exit, error.to_string())
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
        Failure::new(exit, error.to_string())
    }
}

/// A result that JSON cannot say is this program's mistake.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::new(Exit::Internal, error.to_string())
    }
}

/// Writes a result to standard output. That its reader went away is no error: files may still be wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(()) => Ok(()),
        Err(error) => Err(Failure::new(Exit::Output, format!("standard output: {error}"))),
    }
}

/// Writes a remark to standard error unless it was asked to be quiet.
pub(crate) fn remark(quiet: bool, text: impl std::fmt::Display) {
    if !quiet {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Whether progress may be drawn.
pub(crate) fn shows_progress(quiet: bool) -> bool {
    !quiet && !no_color() && io::stderr().is_terminal()
}

/// Whether standard output may be coloured.
pub(crate) fn colour(global: &Global) -> bool {
    match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !no_color() && io::stdout().is_terminal(),
    }
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
