//! Why no onnxruntime library could be used or installed.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The oldest onnxruntime accepted: 1.24 is the first that tells where each node was placed.
pub const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// Why no onnxruntime library could be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
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

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The platform has no user data folder and none was named.
    #[error("there is no folder to install to: HOME is not set\nhint: name one with --dir")]
    NoFolder,
    /// No wheels are published for this platform.
    #[error(
        "no onnxruntime packages are published for {platform}\nhint: build onnxruntime 1.{} or newer and name the library with --ort-lib",
        OLDEST_MINOR
    )]
    Platform {
        /// Operating system and processor.
        platform: String,
    },
    /// No pip was found.
    #[error(
        "pip was not found (tried {tried})\nhint: install it (on Debian and Ubuntu `apt install python3-pip`), or fetch the \
         wheel of {packages} on another machine and run `resnext-run setup {package} --from WHEEL`"
    )]
    NoPip {
        /// The commands tried.
        tried: String,
        /// What has to be fetched.
        packages: String,
        /// The set's name.
        package: &'static str,
    },
    /// pip failed.
    #[error(
        "pip could not fetch {packages} ({status}):\n{output}\nhint: with a network, run `resnext-run setup {package}` again; without \
         one, fetch the wheels elsewhere and run `resnext-run setup {package} --from WHEEL`"
    )]
    Pip {
        /// What was to be fetched.
        packages: String,
        /// How pip ended.
        status: String,
        /// The end of what it wrote.
        output: String,
        /// The set's name.
        package: &'static str,
    },
    /// A wheel is not one of the pinned ones.
    #[error(
        "{} has SHA-256 {found}, which is none of those pinned for {packages}\nhint: fetch it again, for this version and this platform",
        .path.display()
    )]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// What it could have been.
        packages: String,
    },
    /// The wheels given do not make up the set.
    #[error("still missing: {missing}\nhint: give each wheel with --from, or the folder that holds them all")]
    Incomplete {
        /// The packages without a wheel.
        missing: String,
    },
    /// A wheel could not be read or unpacked.
    #[error("{} cannot be unpacked: {reason}", .path.display())]
    Wheel {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// What was unpacked holds no library for this platform.
    #[error("the wheels hold no onnxruntime library for {platform}\nhint: fetch the wheels of this platform")]
    Foreign {
        /// Operating system and processor.
        platform: String,
    },
    /// A file or folder could not be written or read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

pub(crate) fn platform() -> String {
    format!("{} on {}", env::consts::OS, env::consts::ARCH)
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path = path.to_path_buf();
    move |source| InstallError::Io { path: path.clone(), source }
}
