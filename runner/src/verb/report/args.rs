//! Flags of `report`.

use std::path::PathBuf;

use clap::Args;

/// `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Results of any verb, as `--export-json` wrote them, or report pages
    #[arg(required = true, value_name = "RESULTS.json")]
    pub(crate) results: Vec<PathBuf>,
    /// The page to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "report.html", help_heading = "Output")]
    pub(crate) output: PathBuf,
    /// Write each plot to this folder, too
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) export_svg: Option<PathBuf>,
    /// Replace outputs that exist
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,
}
