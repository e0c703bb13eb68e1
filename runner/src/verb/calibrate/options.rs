//! What is asked of `calibrate`.

use std::path::PathBuf;

use crate::backend::onnxruntime::options::ProviderOptions;
use crate::model::said::AskedPreprocess;

/// What to calibrate, on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The model.
    pub model: PathBuf,
    /// Images, or folders of them; synthetic inputs where there are none.
    pub images: Vec<PathBuf>,
    /// Images to take, at equal distances, or synthetic inputs.
    pub count: Option<usize>,
    /// Seed of synthetic inputs.
    pub seed: u64,
    /// Inputs at once.
    pub batch: usize,
    /// How images are prepared, instead of what the model says.
    pub preprocess: Option<AskedPreprocess>,
    /// The one provider.
    pub providers: ProviderOptions,
}
