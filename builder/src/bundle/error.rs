//! The stacks that bundles are for, and why there is no bundle.

use std::io;
use std::path::PathBuf;

use onnx_file::exit::Exit;
use onnx_file::read::ReadError;
use serde::Serialize;

/// A stack that a bundle has a folder for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The model with golden cases, for every stack that reads ONNX
    Onnx,
    /// Triton's model repository
    Triton,
    /// optimum and transformers.js
    Huggingface,
    /// KServe's InferenceService on the Triton folder
    Kserve,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Onnx, Self::Triton, Self::Huggingface, Self::Kserve];

    /// Its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Triton => "triton",
            Self::Huggingface => "huggingface",
            Self::Kserve => "kserve",
        }
    }
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A request that cannot be met.
    #[error("{0}")]
    Request(String),
    /// A model cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An evaluation cannot be read.
    #[error("{}: {reason}; --results takes the JSON of 'resnext-run eval --export-json'", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A stack that was asked for cannot take the model.
    #[error("{format} cannot take {}: {reason}", path.display(), format = format.name())]
    Unfit {
        /// The stack.
        format: Format,
        /// The model.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder could not be written.
    #[error("cannot write {}: {source}; nothing is left of it", path.display())]
    Output {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BundleError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Request(_) | Self::Unfit { .. } => Exit::Usage,
            Self::Read(_) | Self::Results { .. } => Exit::BadInput,
            Self::Output { .. } => Exit::Output,
        }
    }
}
