//! A build as JSON: what was made, with the digest of every file.

use std::io;
use std::path::PathBuf;

use onnx_file::{digest, open};
use serde::Serialize;

use super::summary::Summary;

/// Version of [`Document`].
pub const SCHEMA_VERSION: u32 = 1;

/// What a build did, and the files that it left.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What was done.
    #[serde(flatten)]
    pub summary: &'a Summary,
    /// Files written, the model last.
    pub files: Vec<Written>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Its path.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, in hex.
    pub sha256: String,
}

impl Written {
    /// What is at `path`.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn at(path: PathBuf) -> io::Result<Self> {
        let file = open::file(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, bytes, sha256: digest::hex(&digest::sha256(file)?) })
    }
}

impl<'a> Document<'a> {
    /// Reads the files of `summary` for their digests.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn of(summary: &'a Summary) -> io::Result<Self> {
        let files = summary.files.iter().cloned().map(Written::at).collect::<io::Result<_>>()?;
        Ok(Self { schema_version: SCHEMA_VERSION, summary, files })
    }
}
