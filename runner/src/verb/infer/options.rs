//! What is asked of `infer`.

use std::path::PathBuf;

use crate::backend::onnxruntime::options::ProviderOptions;
use crate::input::decode::Exif;
use crate::model::said::Asked;

/// What to classify, by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The model.
    pub model: PathBuf,
    /// Images, or folders of them.
    pub images: Vec<PathBuf>,
    /// What is said of the model.
    pub asked: Asked,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
    /// Classes to report for each image.
    pub top_k: usize,
    /// Height and width of the images, for models that leave them open.
    pub image_size: Option<(usize, usize)>,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// Where the model runs.
    pub providers: ProviderOptions,
}
