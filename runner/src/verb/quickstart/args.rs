//! Flags of `quickstart`.

use clap::Args;
use std::path::PathBuf;

/// `quickstart`.
#[derive(Debug, Args)]
pub struct Quickstart {
    /// Folder for model.onnx, compare.json and bench.json
    #[arg(long, value_name = "DIR", default_value = "quickstart", help_heading = "Output")]
    pub(crate) dir: PathBuf,
}
