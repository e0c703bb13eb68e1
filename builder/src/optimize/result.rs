//! What became of a model, or why nothing did.

use std::io;
use std::path::PathBuf;

use onnx_file::element::ElementType;
use onnx_file::exit::Exit;
use onnx_file::metadata::Preprocess;
use onnx_file::raw::TensorError;
use onnx_file::read::ReadError;
use serde::Serialize;

use crate::calibration::CalibrationError;
use crate::ends::Change;
use crate::graph::Pass;
use crate::note::WithSentence;
use crate::passes::{PassRun, Reason};
use crate::precision::Effect;
use crate::target::Purpose;
use crate::validate::GraphError;

/// Version of [`Optimized`] as JSON.
pub const SCHEMA_VERSION: u32 = 2;

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Optimized {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The model.
    pub input: String,
    /// What the passes were chosen for.
    pub target: Purpose,
    /// Why they were chosen.
    pub reasons: Vec<String>,
    /// Passes that ran.
    pub passes: Vec<PassRun>,
    /// The arithmetic that the graph carries, and what it did to the weights.
    #[serde(flatten)]
    pub precision: Effect,
    /// Nodes of the model.
    pub nodes: usize,
    /// Nodes that passed through as they were.
    pub untouched: usize,
    /// Nodes that changed.
    pub rewritten: Vec<Rewrite>,
    /// Grouped convolutions and normalisations that did not, and why.
    pub declined: Vec<Declined>,
    /// How many labels were stored, where that was asked for.
    pub labels: Option<usize>,
    /// Preprocessing that was stored, where that was asked for.
    pub preprocess: Option<Preprocess>,
    /// What was done to its inputs and outputs, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<Change>,
    /// Files written, the model last.
    pub files: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Seconds from file to file.
    pub seconds: f64,
}

/// A node that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Its name.
    pub node: String,
    /// What it was.
    pub from: Form,
    /// What it is.
    pub to: Form,
}

/// A node that a pass was meant for and that stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declined {
    /// Its name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why.
    #[serde(flatten)]
    pub reason: WithSentence<Refusal>,
}

/// Why a node stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// A pass left it.
    Declined {
        /// Which.
        pass: Pass,
        /// Why.
        because: Reason,
    },
    /// What it computes could not be proven from the file.
    Unproven {
        /// What stands against it.
        because: Obstacle,
    },
}

/// What stands against rewriting a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "obstacle", rename_all = "snake_case")]
pub enum Obstacle {
    /// A parameter does not follow from the file.
    Computed {
        /// Which.
        parameter: String,
    },
    /// A parameter is also an input, for which a caller may feed another.
    Overridable {
        /// Which.
        parameter: String,
    },
    /// No parameter at all.
    NoWeight,
    /// Parameters of different types.
    MixedTypes,
    /// An input of another type than the parameters.
    OtherType {
        /// Of the input.
        input: ElementType,
        /// Of the parameters.
        parameters: ElementType,
    },
    /// Parameters that are no floating-point numbers.
    Integers {
        /// What they are.
        element: ElementType,
    },
    /// Parameters that are rounded already, and would be so a second time.
    Rounded {
        /// To what.
        element: ElementType,
    },
    /// 8-bit integers in floating-point clothes, for which runtimes have kernels of their own.
    Quantized,
    /// An operator that has no rule in integers.
    NoRule,
    /// Nothing that it takes is made by a node that could be extracted.
    NothingExtracted,
    /// It computes on a constant.
    OnConstant {
        /// Which.
        operand: String,
    },
    /// A convolution over another number of dimensions than two.
    Dimensions {
        /// How many.
        dimensions: usize,
    },
    /// An attribute or a shape that is not understood.
    Form {
        /// What of it.
        reason: String,
    },
}

/// What a node computes, as far as passes change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A convolution.
    Conv {
        /// Its groups.
        groups: usize,
        /// Input channels a group.
        channels: usize,
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// With the normalisation after it folded in.
        folded: bool,
    },
    /// An operator between integers.
    Integers(&'static str),
    /// Another operator.
    Other(String),
    /// Nothing by itself: it is part of the node before.
    Folded,
}

impl Serialize for Form {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a model was not rewritten.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    /// The request.
    #[error("{0}")]
    Request(String),
    /// The model could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of its tensors is damaged.
    #[error("{path}: {source}")]
    Tensor {
        /// The model.
        path: String,
        /// Which.
        source: TensorError,
    },
    /// A weight that came out infinite or not a number.
    #[error(
        "{path}: '{name}' of '{node}' is not finite at index {index} after {passes}; its normalisation is broken, or try --no-fold-bn"
    )]
    NotFinite {
        /// The model.
        path: String,
        /// The weight.
        name: String,
        /// The convolution.
        node: String,
        /// Flat index.
        index: usize,
        /// Passes that ran.
        passes: String,
    },
    /// A weight that f16 cannot hold.
    #[error("{path}: '{name}' of '{node}' is {value} at index {index}, and f16 ends at {limit}; its scale is broken", limit = ElementType::F16.max_finite())]
    Overflow {
        /// The model.
        path: String,
        /// The weight.
        name: String,
        /// The convolution.
        node: String,
        /// Flat index.
        index: usize,
        /// The number there.
        value: f64,
    },
    /// Two gibibytes or more with external data forbidden.
    #[error(
        "the model takes {bytes} bytes, more than the 2,147,483,647 a protobuf file can hold; use --external-data auto"
    )]
    TooLarge {
        /// Bytes of the model.
        bytes: u64,
    },
    /// The calibration file, or what it speaks against.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A bug in a pass.
    #[error("internal error: a pass left an invalid graph: {0}")]
    Graph(#[from] GraphError),
    /// The output could not be written.
    #[error("cannot write {path}: {source}; the old file, if any, is as it was")]
    Output {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl OptimizeError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Request(_) | Self::TooLarge { .. } => Exit::Usage,
            Self::Calibration(_)
            | Self::Read(_)
            | Self::Tensor { .. }
            | Self::NotFinite { .. }
            | Self::Overflow { .. } => Exit::BadInput,
            Self::Output { .. } => Exit::Output,
            Self::Graph(_) => Exit::Internal,
        }
    }
}
