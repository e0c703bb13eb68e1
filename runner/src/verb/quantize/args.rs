//! Flags of `quantize`.

use std::path::PathBuf;

use clap::Args;
use resnext_builder::calibration::method::RangeMethod;
use resnext_builder::cli::TargetChoice;
use resnext_builder::weight::WeightRange;

use super::options::Options;
use crate::backend::onnxruntime::args::ProviderArgs;
use crate::backend::onnxruntime::provider::OptionError;
use crate::input::decode::Exif;
use crate::verb::flags::{Exports, images_at_once};

/// `quantize`.
#[derive(Debug, Args)]
pub struct Quantize {
    /// The ONNX model, in f32; `-` is standard input
    pub(crate) model: PathBuf,
    /// Images (JPEG, PNG, WebP), or folders of them: every second measures the ranges, the others judge
    #[arg(long, value_name = "DIR", num_args = 1.., required = true, help_heading = "Input")]
    pub(crate) images: Vec<PathBuf>,
    /// Judge by these images instead, and measure the ranges on all of --images
    #[arg(long, value_name = "DIR", help_heading = "Input")]
    pub(crate) eval: Option<PathBuf>,
    /// What becomes of an image whose EXIF orientation says that it lies on a side
    #[arg(long, value_enum, default_value = "apply", help_heading = "Input")]
    exif: Exif,
    /// Images at once
    #[arg(short, long, value_name = "N", default_value = "8", value_parser = images_at_once, help_heading = "Input")]
    batch_size: usize,
    /// Compile for a provider; 'cpu' is onnxruntime's on this machine's processor
    #[arg(long, value_enum, default_value_t, help_heading = "Lowering")]
    target: TargetChoice,
    /// What weights use of their 8 bits [default: the target's]
    #[arg(long, value_enum, value_name = "RANGE", help_heading = "Precision")]
    weight_range: Option<WeightRange>,
    /// How ranges follow from the measured values: min-max, percentile=99.99, mse or entropy
    #[arg(long, value_name = "METHOD", default_value_t, help_heading = "Precision")]
    range_method: RangeMethod,
    /// Nodes to keep in f32, by their names in the graph
    #[arg(long, value_name = "NODE", value_delimiter = ',', help_heading = "Precision")]
    keep_f32: Vec<String>,
    /// Fail where the loss of top-1 may be larger, in points, by its one-sided 95% bound
    #[arg(long, value_name = "POINTS", help_heading = "Precision")]
    max_loss: Option<f64>,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    /// Where to write the int8 file
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: PathBuf,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Quantize {
    /// What was asked for.
    ///
    /// # Errors
    /// [`OptionError`] for options that no provider asked for takes.
    pub(crate) fn options(&self) -> Result<Options, OptionError> {
        Ok(Options {
            model: self.model.clone(),
            output: self.output.clone(),
            force: self.exports.force,
            images: self.images.clone(),
            eval: self.eval.clone(),
            exif: self.exif,
            target: self.target.into(),
            weight_range: self.weight_range,
            range_method: self.range_method,
            keep_f32: self.keep_f32.clone(),
            max_loss: self.max_loss,
            batch: self.batch_size,
            providers: self.providers.options()?,
        })
    }
}
