//! Flags of `gate`.

use std::path::PathBuf;

use clap::Args;

use crate::verb::flags::Exports;
use crate::verb::regression::flags::LimitArgs;

/// `gate`.
#[derive(Debug, Args)]
pub struct Gate {
    /// The earlier measurement, as `bench --export-json` wrote it
    #[arg(value_name = "BASELINE.json")]
    pub(crate) before: PathBuf,
    /// The later one
    #[arg(value_name = "RESULTS.json")]
    pub(crate) now: PathBuf,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}
