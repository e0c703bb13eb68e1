//! Why there is no calibration.

use onnx_file::expose::ExposeError;

use crate::input::broken::Broken;
use crate::model::file::MetadataError;
use crate::model::opened::ModelError;

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The model file is unusable.
    #[error(transparent)]
    File(#[from] MetadataError),
    /// Its weights cannot be read.
    #[error(transparent)]
    Weights(#[from] onnx_file::read::ReadError),
    /// The copy with all values as outputs could not be written.
    #[error(transparent)]
    Write(#[from] ExposeError),
    /// The provider gave no result, or stopped giving any.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No image could be read.
    #[error("none of the {count} images can be read; the first, {}: {}", first.path, first.reason)]
    NoImage {
        /// Images tried.
        count: usize,
        /// The first of them.
        first: Broken,
    },
    /// Stopped before the first result.
    #[error("stopped before the first input was through: there is no range to tell")]
    Stopped,
}
