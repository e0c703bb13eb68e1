//! Flags of `doctor`.

use crate::backend::onnxruntime::args::LibraryArgs;
use crate::verb::flags::Exports;
use clap::Args;

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    /// Ask the kernels again, whatever was found out about this library on this processor before
    #[arg(long, help_heading = "Provider")]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    pub(crate) exports: Exports,
}
