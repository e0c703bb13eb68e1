//! What is asked of `quantize`.

use std::path::PathBuf;

use resnext_builder::calibration::method::RangeMethod;
use resnext_builder::target::Target;
use resnext_builder::weight::WeightRange;

use crate::backend::onnxruntime::options::ProviderOptions;
use crate::input::decode::Exif;

/// What to quantize, on what, and how much it may lose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The model.
    pub model: PathBuf,
    /// Where the int8 file goes.
    pub output: PathBuf,
    /// Replace it.
    pub force: bool,
    /// Images, or folders of them.
    pub images: Vec<PathBuf>,
    /// Images to judge by; every second of `images` where none are given.
    pub eval: Option<PathBuf>,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
    /// What the file is for.
    pub target: Target,
    /// What weights use of their 8 bits; the target's own unless given.
    pub weight_range: Option<WeightRange>,
    /// How ranges follow from what is measured.
    pub range_method: RangeMethod,
    /// Nodes to keep in f32.
    pub keep_f32: Vec<String>,
    /// The largest loss, in points of top-1, that passes.
    pub max_loss: Option<f64>,
    /// Images at once.
    pub batch: usize,
    /// The one provider.
    pub providers: ProviderOptions,
}
