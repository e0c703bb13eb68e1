//! Flags of `calibrate`.

use std::path::PathBuf;

use clap::Args;

use super::options::Options;
use crate::backend::onnxruntime::args::ProviderArgs;
use crate::exit::Failure;
use crate::input::decode::Exif;
use crate::verb::about::Preparation;
use crate::verb::flags::{Exports, at_least_one, images_at_once};

/// `calibrate`.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// The ONNX model; `-` is standard input
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) preparation: Preparation,
    /// Images (JPEG, PNG, WebP), or folders of them, prepared as the model says; seeded synthetic inputs unless given
    #[arg(long, value_name = "DIR", num_args = 1.., help_heading = "Input")]
    pub(crate) images: Vec<PathBuf>,
    /// What becomes of an image whose EXIF orientation says that it lies on a side
    #[arg(long, value_enum, default_value = "apply", help_heading = "Input")]
    pub(crate) exif: Exif,
    /// Images to take, at equal distances (all unless given); or synthetic inputs (16 unless given)
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Input")]
    pub(crate) count: Option<usize>,
    /// Seed of synthetic inputs
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Input")]
    pub(crate) seed: u64,
    /// Inputs at once; all values inside the network are in memory for each of them
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = images_at_once, help_heading = "Input")]
    pub(crate) batch_size: usize,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    /// Write the ranges, which `resnext-build --calibration` takes: the same as --export-json
    #[arg(short, long, value_name = "FILE", help_heading = "Output", conflicts_with = "export_json")]
    output: Option<PathBuf>,
    #[command(flatten)]
    exports: Exports,
}

impl Calibrate {
    /// Where results go.
    pub(crate) fn exports(&self) -> Exports {
        let export_json = self.exports.export_json.clone().or_else(|| self.output.clone());
        Exports { export_json, ..self.exports.clone() }
    }

    /// What was asked for.
    ///
    /// # Errors
    /// [`Failure`] for options that no provider asked for takes, and for a preprocessing that does not parse.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options {
            model: self.model.clone(),
            images: self.images.clone(),
            count: self.count,
            seed: self.seed,
            batch: self.batch_size,
            asked: self.preparation.asked()?,
            exif: self.exif,
            providers: self.providers.options()?,
        })
    }
}
