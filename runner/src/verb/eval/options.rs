//! What is asked of `eval`.

use std::path::PathBuf;

use crate::backend::onnxruntime::options::ProviderOptions;
use crate::input::decode::Exif;
use crate::model::said::Asked;

use super::numbering::ClassOrder;

/// What to evaluate, on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The models.
    pub models: Vec<PathBuf>,
    /// The labelled images.
    pub folder: PathBuf,
    /// The file that says which image is of which class, where it does not lie in the folder.
    pub image_labels: Option<PathBuf>,
    /// What is said of the models.
    pub asked: Asked,
    /// How class folders are numbered, where that is said.
    pub class_order: Option<ClassOrder>,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
    /// Height and width of the images, for models that leave them open.
    pub image_size: Option<(usize, usize)>,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// Where the models run.
    pub providers: ProviderOptions,
}
