//! Flags of `doctor`.

use crate::backend::onnxruntime::args::LibraryArgs;
use crate::verb::flags::Exports;
use clap::Args;

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}
