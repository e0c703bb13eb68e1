//! What is asked of `eval`.

use std::path::PathBuf;

use crate::backend::onnxruntime::options::ProviderOptions;

/// What to evaluate, on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The models.
    pub models: Vec<PathBuf>,
    /// The labelled images.
    pub folder: PathBuf,
    /// A file of labels that does not lie in the folder.
    pub labels: Option<PathBuf>,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// Where the models run.
    pub providers: ProviderOptions,
}
