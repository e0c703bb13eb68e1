//! How workers are started.

use super::options::LibraryOptions;
use super::worker;
use super::worker::Launcher;
use super::worker::limit::Limit;
use crate::exit::Failure;
use crate::host::child;
use crate::terminal::args::Global;
use onnx_file::exit::Exit;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// How workers are started under these flags.
pub(crate) fn launcher(global: &Global, library: &LibraryOptions) -> Result<Launcher, Failure> {
    let unknown = |error: io::Error| Failure::new(Exit::Internal, format!("this program cannot find itself: {error}"));
    let mut launcher = Launcher::this_program().map_err(unknown)?;
    launcher.show_output = global.verbose;
    if let Some(limit) = library.timeout {
        launcher.load_limit = limit;
        launcher.run_limit = limit;
    }
    Ok(launcher)
}

/// As [`launcher`], for a check-up: nothing is built or measured, so a hang shows sooner.
pub(crate) fn check_up_launcher(global: &Global, library: &LibraryOptions) -> Result<Launcher, Failure> {
    let timeout = Some(library.timeout.unwrap_or(CHECK_UP_LIMIT));
    launcher(global, &LibraryOptions { timeout, ..library.clone() })
}

/// How long a library or a provider may take to show that it works.
const CHECK_UP_LIMIT: Duration = Duration::from_secs(60);

/// Serves the parent that started this process, whose id is the first argument that it gives, and ends with it. The others
/// are the limits of its memory.
pub fn worker(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, Failure> {
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok());
    if parent.is_some_and(|parent| !child::end_with(parent)) {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(limit) = Limit::parse(arguments) {
        limit.apply();
    }
    worker::serve::serve().map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(Exit::Usage, error))
}
