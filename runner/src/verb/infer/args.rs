//! Flags of `infer`.

use super::options::Options;
use crate::backend::onnxruntime::args::ProviderArgs;
use crate::exit::Failure;
use crate::input::decode::Exif;
use crate::verb::about::About;
use crate::verb::flags::*;
use crate::verb::shapes::ImageSize;
use clap::Args;
use std::path::PathBuf;

/// `infer`.
#[derive(Debug, Args)]
pub struct Infer {
    /// The ONNX model; `-` is standard input
    pub(crate) model: PathBuf,
    /// Images (JPEG, PNG, WebP, BMP, GIF, TIFF, PNM), or folders of them
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) about: About,
    /// What becomes of an image whose EXIF orientation says that it lies on a side
    #[arg(long, value_enum, default_value = "apply", help_heading = "Input")]
    pub(crate) exif: Exif,
    #[command(flatten)]
    size: ImageSize,
    #[command(flatten)]
    pub(crate) batch: Batch,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    /// Classes to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = at_least_one, help_heading = "Output")]
    pub(crate) top_k: usize,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Infer {
    /// What was asked for.
    ///
    /// # Errors
    /// [`Failure`] for options that no provider asked for takes, and for files of labels or preprocessing that cannot be
    /// read.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options {
            model: self.model.clone(),
            images: self.images.clone(),
            asked: self.about.asked()?,
            exif: self.exif,
            top_k: self.top_k,
            batch: self.batch.batch_size,
            image_size: self.size.image_size,
            providers: self.providers.options()?,
        })
    }
}
