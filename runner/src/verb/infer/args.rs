//! Flags of `infer`.

use crate::backend::onnxruntime::args::ProviderArgs;
use crate::input::decode::Exif;
use crate::verb::about::About;
use crate::verb::flags::*;
use clap::Args;
use std::path::PathBuf;

/// `infer`.
#[derive(Debug, Args)]
pub struct Infer {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// Images (JPEG, PNG, WebP, BMP, GIF, TIFF, PNM), or folders of them
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Classes to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = at_least_one, help_heading = "Output")]
    pub(crate) top_k: usize,
    /// What becomes of an image whose EXIF orientation says that it lies on a side
    #[arg(long, value_enum, default_value = "apply", help_heading = "Input")]
    pub(crate) exif: Exif,
    #[command(flatten)]
    pub(crate) about: About,
    #[command(flatten)]
    pub(crate) batch: Batch,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}
