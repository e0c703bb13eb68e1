//! The onnxruntime library: where it is found, how it is installed, how it is loaded.
//!
//! One process loads one library, once, and only worker processes do: a provider that takes the process down takes a
//! worker down. [`install`] puts the pinned packages in a folder of their own, [`find`] lists what is there and chooses
//! one library for all providers asked for where one serves them all, [`load`] opens it.

pub mod find;
pub mod install;
pub mod pip;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The oldest onnxruntime accepted: 1.24 is the first that tells where each node was placed.
pub const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// Why no onnxruntime library could be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing was found anywhere.
    #[error(
        "no onnxruntime library found; looked at {}\nhint: run `resnext-run setup cpu`, or name the library with --ort-lib",
        list(.searched)
    )]
    NotFound {
        /// The places looked at, in order.
        searched: Vec<PathBuf>,
    },
    /// A place was named outright and holds no library.
    #[error(
        "{origin} names {}, where there is no onnxruntime library\nhint: name libonnxruntime itself or the folder that \
         holds it, or run `resnext-run setup cpu` and drop the setting", .path.display()
    )]
    NotThere {
        /// Who named it: `--ort-lib` or `ORT_DYLIB_PATH`.
        origin: &'static str,
        /// What it named.
        path: PathBuf,
    },
    /// The dynamic loader refused the file.
    #[error("{} could not be loaded: {reason}\nhint: run `resnext-run setup cpu`, or name another library with --ort-lib", .path.display())]
    Unloadable {
        /// The library.
        path: PathBuf,
        /// The loader's own words.
        reason: String,
    },
    /// The file is a library, but not onnxruntime.
    #[error(
        "{} is not onnxruntime: it exports no OrtGetApiBase\nhint: run `resnext-run setup cpu`, or name another library with --ort-lib",
        .path.display()
    )]
    NotOnnxruntime {
        /// The library.
        path: PathBuf,
    },
    /// The library is too old.
    #[error(
        "{} is onnxruntime {found}; 1.{OLDEST_MINOR} or newer is needed\nhint: run `resnext-run setup cpu`, or name another library \
         with --ort-lib", .path.display()
    )]
    TooOld {
        /// The library.
        path: PathBuf,
        /// The version it reports.
        found: String,
    },
    /// The library loaded and then failed to start.
    #[error("onnxruntime {version} at {} failed to start: {reason}", .path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// The version it reports.
        version: String,
        /// onnxruntime's own words.
        reason: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The loaded library and its one environment.
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
                let _ = writeln!(std::io::stderr(), "onnxruntime: {message}");
            }
        }))
        .build()
        .map_err(|error| RuntimeError::Start {
            path: owned,
            version: version.clone(),
            reason: error.message().to_owned(),
        })?;
    // The environment starts at the most verbose level; formatting messages nobody reads would cost every run.
    environment.set_log_level(least);
    Ok(Runtime { environment, version })
}
