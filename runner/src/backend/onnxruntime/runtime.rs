//! The onnxruntime library: where it is found, how it is installed, how it is loaded.
//!
//! One process loads one library, once, and only worker processes do: a provider that takes the process down takes a
//! worker down. [`install`] puts the pinned packages in a folder of their own, [`find`] lists what is there and chooses
//! one library for all providers asked for where one serves them all, [`load`] opens it.

pub mod error;
pub mod find;
pub mod install;
pub mod intact;
pub mod package;
pub mod pip;

use onnx_file::text::Shown;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::runtime::error::{OLDEST_MINOR, RuntimeError};

/// The loaded library and its one environment.
#[derive(Clone)]
pub struct Runtime {
    /// The environment in which sessions are made.
    pub environment: ort::environment::Environment,
    /// Version of the library, as it reports it (`1.32.0`).
    pub version: String,
}

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Version, such as `1.32.0`.
    pub version: String,
    /// onnxruntime's own account of how it was built.
    pub build: String,
    /// onnxruntime's names of the providers compiled in, as far as this program can use them; that they work is
    /// another matter.
    pub compiled_in: Vec<String>,
}

impl Runtime {
    /// What the library says of itself.
    pub fn description(&self) -> Description {
        use ort::ep::{CPU, CUDA, ExecutionProvider, TensorRT};
        let known = [
            (<CPU as ExecutionProvider>::NAME, CPU::is_available()),
            (<CUDA as ExecutionProvider>::NAME, CUDA::is_available()),
            (<TensorRT as ExecutionProvider>::NAME, TensorRT::is_available()),
        ];
        let compiled_in = known.into_iter().filter(|(_, available)| matches!(available, Ok(true)));
        Description {
            version: self.version.clone(),
            build: ort::info().to_owned(),
            compiled_in: compiled_in.map(|(name, _)| name.to_owned()).collect(),
        }
    }
}

/// What onnxruntime says of an error, as one line: names of the model stand in it as they are in the file.
pub(crate) fn said(error: &ort::Error) -> String {
    let lines = error.message().lines().map(str::trim).filter(|line| !line.is_empty());
    Shown(lines.collect::<Vec<_>>().join("; ")).to_string()
}

/// Loads the library at `path` and starts its environment; `verbose` lets warnings through to standard error.
///
/// To be called once in a process: onnxruntime cannot be unloaded or loaded twice. The caller's environment must hold
/// `ORT_DISABLE_TELEMETRY=1` from the start of the process, since onnxruntime's own packages report home otherwise.
///
/// # Errors
/// [`RuntimeError`] when the file cannot be loaded, is not onnxruntime, is too old, or fails to start.
pub fn load(path: &Path, verbose: bool) -> Result<Runtime, RuntimeError> {
    use ort::logging::LogLevel;
    let owned = path.to_path_buf();
    let absolute = std::path::absolute(path)
        .map_err(|error| RuntimeError::Unloadable { path: owned.clone(), reason: error.to_string() })?;
    let version = super::native::library_version(&absolute)?;
    let minor = version.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < OLDEST_MINOR) {
        return Err(RuntimeError::TooOld { path: owned, found: version });
    }
    // `Display` of this error says only that opening failed; `Debug` carries the loader's words.
    let builder = ort::init_from(&absolute)
        .map_err(|error| RuntimeError::Unloadable { path: owned.clone(), reason: format!("{error:?}") })?;
    let least = if verbose { LogLevel::Warning } else { LogLevel::Error };
    let environment = builder
        .with_name("resnext-run")
        .with_telemetry(false)
        .with_logger(std::sync::Arc::new(move |level, _category: &str, _id: &str, _location: &str, message: &str| {
            if level >= least {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "onnxruntime: {}", Shown(message));
            }
        }))
        .build()
        .map_err(|error| RuntimeError::Start { path: owned, version: version.clone(), reason: said(&error) })?;
    // The environment starts at the most verbose level; formatting messages nobody reads would cost every run.
    environment.set_log_level(least);
    Ok(Runtime { environment, version })
}
