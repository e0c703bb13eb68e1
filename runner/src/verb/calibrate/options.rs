//! What is asked of `calibrate`.

use std::path::PathBuf;

use crate::backend::onnxruntime::options::ProviderOptions;
use crate::input::decode::Exif;
use crate::model::said::Asked;

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
    /// What is said of the model: how images are prepared, instead of what it says itself.
    pub asked: Asked,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
    /// The one provider.
    pub providers: ProviderOptions,
}
