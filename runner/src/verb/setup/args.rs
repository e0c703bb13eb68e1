//! Flags of `setup`.

use crate::backend::onnxruntime::runtime::package::Package;
use clap::Args;
use std::path::PathBuf;

/// `setup`.
#[derive(Debug, Args)]
pub struct Setup {
    /// What to install
    #[arg(value_enum, default_value_t = Package::Cpu)]
    pub(crate) package: Package,
    /// Take this wheel, or all wheels in this folder, instead of downloading; may be repeated
    #[arg(long, value_name = "WHEEL", help_heading = "Input")]
    pub(crate) from: Vec<PathBuf>,
    /// Folder to install below, instead of the user's data folder; name the same folder later with --ort-lib or RESNEXT_ORT_DIR
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) dir: Option<PathBuf>,
}
