//! Flags of `compare`.

use super::options::{InputsFrom, Options};
use super::tolerance::ToleranceOverride;
use crate::backend::onnxruntime::args::ProviderArgs;
use crate::backend::onnxruntime::provider::OptionError;
use crate::input::decode::Exif;
use crate::verb::flags::*;
use crate::verb::outputs::Outputs;
use crate::verb::shapes::Shapes;
use clap::Args;
use std::path::PathBuf;

/// `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// ONNX models, `-` for one from standard input; the first on the first provider is what the others are compared with
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
    /// What becomes of an image whose EXIF orientation says that it lies on a side
    #[arg(long, value_enum, default_value = "apply", help_heading = "Input")]
    pub(crate) exif: Exif,
    /// Batch size, and number of synthetic images; the first model's own where it is fixed, and 4 otherwise, unless given
    #[arg(short, long, value_name = "N", value_parser = images_at_once, help_heading = "Input")]
    pub(crate) batch_size: Option<usize>,
    #[command(flatten)]
    shapes: Shapes,
    /// Compare with these outputs (.npz, .npy, .safetensors) instead of the first candidate's
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) reference: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    /// Absolute tolerance; by the coarser precision of the two unless given
    #[arg(long, value_name = "X", value_parser = tolerance, help_heading = "Measuring")]
    pub(crate) atol: Option<f64>,
    /// Relative tolerance; by the coarser precision of the two unless given
    #[arg(long, value_name = "X", value_parser = tolerance, help_heading = "Measuring")]
    pub(crate) rtol: Option<f64>,
    /// Find the first block whose output differs between the first two candidates
    #[arg(long, help_heading = "Measuring")]
    pub(crate) layers: bool,
    /// Keep the inputs used (.npz, .npy, .safetensors)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) save_inputs: Option<PathBuf>,
    /// Keep the first candidate's outputs (.npz, .npy, .safetensors)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) save_outputs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Compare {
    /// The files that it writes.
    pub(crate) fn outputs(&self) -> Outputs<'_> {
        let outputs = self.exports.outputs().with_arrays("--save-outputs", self.save_outputs.as_deref());
        outputs.with_arrays("--save-inputs", self.save_inputs.as_deref())
    }

    /// What was asked for.
    ///
    /// # Errors
    /// [`OptionError`] for options that no provider asked for takes.
    pub(crate) fn options(&self) -> Result<Options, OptionError> {
        let Inputs { seed, load_inputs, images } = &self.inputs;
        let inputs = match load_inputs {
            Some(path) => InputsFrom::File(path.clone()),
            None if images.is_empty() => InputsFrom::Noise { seed: seed.seed },
            None => InputsFrom::Images(images.clone(), self.exif),
        };
        Ok(Options {
            models: self.models.clone(),
            shapes: self.shapes.shape.clone(),
            providers: self.providers.options()?,
            inputs,
            save_inputs: self.save_inputs.clone(),
            save_outputs: self.save_outputs.clone(),
            batch: self.batch_size,
            reference: self.reference.clone(),
            tolerance: ToleranceOverride { atol: self.atol, rtol: self.rtol },
            layers: self.layers,
        })
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    parsed.ok_or_else(|| "it must be a number from 0 on".to_owned())
}
