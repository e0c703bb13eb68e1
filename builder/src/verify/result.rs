//! What a comparison finds, and why one cannot be made.

use ndarray::ArrayD;
use onnx_file::budget::OverBudget;
use onnx_file::exit::Exit;
use onnx_file::read::ReadError;
use serde::Serialize;

use super::constants::{Constants, Different};
use crate::checkpoint::CheckpointError;
use crate::import::ImportError;
use crate::shape::ShapeError;
use crate::sidecar::{Otherwise, SidecarError};
use crate::validate::GraphError;
use crate::weights::WeightsError;

/// Largest relative L2 distance of an f32 model's output: rounding each weight once gives about 1e-7.
pub const TOLERANCE: f64 = 1e-6;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Version of this structure.
    pub schema_version: u32,
    /// The model.
    pub model: String,
    /// The checkpoint.
    pub weights: String,
    /// The architecture in the checkpoint.
    pub variant: String,
    /// Height and width of the images.
    pub image_size: [usize; 2],
    /// Seed of the images.
    pub seed: u64,
    /// Largest distance that passes.
    pub tolerance: f64,
    /// What the outputs are compared with.
    pub basis: Basis,
    /// Two for each output of the model.
    pub outputs: Vec<Compared>,
    /// The integers of an int8 file of this program, one by one; none for others.
    pub constants: Option<Constants>,
    /// Whether every output is within the tolerance, and every integer as it should be.
    pub equal: bool,
}

impl Verdict {
    /// The outputs that differ, each with its distance, as text.
    pub fn differences(&self) -> String {
        let different = self.outputs.iter().filter(|output| !output.equal());
        let one = |c: &Compared| {
            let leaky = if c.leaky { " with leaky ReLUs" } else { "" };
            format!(
                "'{}' is {:.1e} from {}{leaky} (relative L2, at most {:.0e})",
                c.output, c.relative_l2, c.against, c.tolerance
            )
        };
        let constants = self.constants.iter().flat_map(|constants| &constants.different);
        different.map(one).chain(constants.map(Different::to_string)).collect::<Vec<_>>().join(", ")
    }

    /// The largest distance of an output.
    pub fn largest(&self) -> f64 {
        self.outputs.iter().map(|output| output.relative_l2).fold(0.0, f64::max)
    }
}

/// What a model is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The checkpoint's forward pass.
    Exact,
    /// That of the checkpoint with each weight rounded to f16, as this program rounds.
    Rounded,
    /// That of the checkpoint rounded to integers, as this program rounds.
    Quantized,
    /// The checkpoint's forward pass, within twice what rounding to f16 or to integers does to it: another program's way of
    /// rounding is not known.
    WithinRounding,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name in the model.
    pub output: String,
    /// What it was compared with: logits, c2, c3, ...
    pub against: String,
    /// Whether every ReLU was replaced by a leaky one, so that weights behind dead channels count.
    pub leaky: bool,
    /// L2 norm of the difference over that of the checkpoint's; infinite where a value is not a number.
    pub relative_l2: f64,
    /// What rounding to f16 or to integers does to it, by the same measure; none where the model is f32.
    pub rounding_l2: Option<f64>,
    /// Largest distance that passes.
    pub tolerance: f64,
}

impl Compared {
    /// Whether the distance passes.
    pub fn equal(&self) -> bool {
        self.relative_l2 <= self.tolerance
    }
}

/// Why no verdict was reached.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file beside the weights tells of a network that only looks like one of the family.
    #[error("{path} says that {otherwise}, which no tensor shows: what these weights mean cannot be computed here")]
    Otherwise {
        /// The configuration.
        path: String,
        /// What it says.
        otherwise: Otherwise,
    },
    /// A file beside the weights cannot be read.
    #[error(transparent)]
    Beside(#[from] SidecarError),
    /// The model could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The model has parts that are not understood.
    #[error("{model}: {source}")]
    Import {
        /// The model.
        model: String,
        /// Which.
        source: ImportError,
    },
    /// The model's graph is damaged.
    #[error("{model}: {source}; the file is damaged, or was edited by hand")]
    Graph {
        /// The model.
        model: String,
        /// What is wrong.
        source: GraphError,
    },
    /// A value too large to compute.
    #[error(
        "{model}: the value '{value}' has {elements} elements, more than any image calls for; the file is damaged, or its image size is wrong"
    )]
    TooLarge {
        /// The model.
        model: String,
        /// The value.
        value: String,
        /// Its elements.
        elements: u64,
    },
    /// All values together.
    #[error("{model}: {source}")]
    Memory {
        /// The model.
        model: String,
        /// What takes how much.
        source: OverBudget,
    },
    /// A weight of the model is damaged.
    #[error("{model}: {source}")]
    Tensor {
        /// The model.
        model: String,
        /// Which.
        source: onnx_file::raw::TensorError,
    },
    /// The checkpoint.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The network does not fit the model's images.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A bug in a pass.
    #[error("internal error: lowering the checkpoint moves its {output} by {relative_l2:.1e} before any rounding")]
    Lowering {
        /// logits, c2, c3, ...
        output: String,
        /// By how much.
        relative_l2: f64,
    },
    /// An output that the network does not have.
    #[error("{model}: the output '{output}' of shape {shape:?} is neither logits nor a feature map of {variant}")]
    Output {
        /// The model.
        model: String,
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The network.
        variant: String,
    },
}

impl VerifyError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        if matches!(self, Self::Lowering { .. }) { Exit::Internal } else { Exit::BadInput }
    }
}

impl From<CheckpointError> for VerifyError {
    fn from(error: CheckpointError) -> Self {
        Self::Weights(error.into())
    }
}

/// L2 norm of the difference over that of `exact`: 0 where nothing differs, be it all zero, and infinite where a value is
/// not a number.
pub(super) fn distance(found: &ArrayD<f64>, exact: &ArrayD<f64>) -> f64 {
    let difference: f64 = found.iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum();
    if difference == 0.0 {
        return 0.0;
    }
    let distance = (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt();
    if distance.is_nan() { f64::INFINITY } else { distance }
}
