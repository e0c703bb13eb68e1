//! What can be wrong with a checkpoint.

use std::path::PathBuf;

/// A checkpoint that was refused.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct CheckpointError {
    /// The file.
    pub path: PathBuf,
    pub(super) what: String,
}
