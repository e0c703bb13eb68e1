//! Flags of `doctor`.

use crate::backend::onnxruntime::args::LibraryArgs;
use clap::Args;

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    /// Write the findings as JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}
