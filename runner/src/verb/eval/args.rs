//! Flags of `eval`.

use super::options::Options;
use crate::backend::onnxruntime::args::ProviderArgs;
use crate::backend::onnxruntime::provider::OptionError;
use crate::verb::flags::*;
use clap::Args;
use std::path::PathBuf;

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
    /// What was asked for.
    ///
    /// # Errors
    /// [`OptionError`] for options that no provider asked for takes.
    pub(crate) fn options(&self) -> Result<Options, OptionError> {
        let (folder, models) = self
            .paths
            .split_last()
            .map_or((PathBuf::new(), [].as_slice()), |(folder, models)| (folder.clone(), models));
        Ok(Options {
            models: models.to_vec(),
            folder,
            labels: self.labels.clone(),
            batch: self.batch.batch_size,
            providers: self.providers.options()?,
        })
    }
}
