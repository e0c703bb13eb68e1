//! Flags of `calibrate`.

use std::path::PathBuf;

use clap::Args;

use crate::backend::onnxruntime::args::ProviderArgs;
use crate::verb::about::Preparation;
use crate::verb::flags::{Exports, at_least_one, images_at_once};

/// Synthetic inputs where nothing else is asked for.
const SYNTHETIC: usize = 16;

/// `calibrate`.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// Images (JPEG, PNG, WebP), or folders of them, prepared as the model says; seeded synthetic inputs unless given
    #[arg(long, value_name = "DIR", num_args = 1.., help_heading = "Input")]
    pub(crate) images: Vec<PathBuf>,
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
    pub(crate) preparation: Preparation,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Calibrate {
    /// Synthetic inputs asked for.
    pub(crate) fn synthetic(&self) -> usize {
        self.count.unwrap_or(SYNTHETIC)
    }
}
