//! Flags of `eval`.

use crate::backend::onnxruntime::args::ProviderArgs;
use crate::verb::flags::*;
use clap::Args;
use std::path::{Path, PathBuf};

/// `eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// ONNX models, then the labelled images: a folder of class folders, or of images with a file of labels
    #[arg(required = true, num_args = 2.., value_names = ["MODEL", "DIR"])]
    paths: Vec<PathBuf>,
    /// File of labels, where it does not lie in the folder
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) labels: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: Batch,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Eval {
    /// The models and the folder.
    pub(crate) fn models_and_folder(&self) -> (&[PathBuf], &Path) {
        match self.paths.split_last() {
            Some((folder, models)) => (models, folder),
            None => (&[], Path::new("")),
        }
    }
}
