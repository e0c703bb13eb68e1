//! Why a build fails.

use std::io;

use onnx_file::budget::OverBudget;
use onnx_file::element::ElementType;
use onnx_file::exit::Exit;

use crate::calibration::CalibrationError;
use crate::hub::HubError;
use crate::passes::UnknownNode;
use crate::published::NameError;
use crate::shape::ShapeError;
use crate::sidecar::{Otherwise, SidecarError};
use crate::tuning::TuningError;
use crate::validate::GraphError;
use crate::variant::VariantError;
use crate::verify::{Verdict, VerifyError};
use crate::weights::WeightsError;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither network nor weights were named.
    #[error("nothing to build: give --variant, for example --variant 50_32x4d, or --weights FILE")]
    Nothing,
    /// A request that contradicts itself or the network.
    #[error("{0}")]
    Request(String),
    /// No such network.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// No such published weights.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The published weights could not be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The checkpoint.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file's digest is not what its name promises.
    #[error(
        "{path} should have a SHA-256 that starts with {expected} and has {found}: the download is damaged or the file was renamed; fetch it again, or rename it if it is your own"
    )]
    Digest {
        /// The checkpoint.
        path: String,
        /// What the name promises.
        expected: String,
        /// The digest, in hex.
        found: String,
    },
    /// The file's digest is not the one that was asked for.
    #[error(
        "{path} has the SHA-256 {found}, and --sha256 asks for {expected}: it is another file, or damaged; nothing was built"
    )]
    OtherDigest {
        /// The checkpoint.
        path: String,
        /// What it has to begin with.
        expected: String,
        /// The digest, in hex.
        found: String,
    },
    /// The file beside the weights tells of a network that only looks like one of the family.
    #[error(
        "{path} says that {otherwise}, which no tensor shows and this program does not write; export it with its own framework"
    )]
    Otherwise {
        /// The configuration.
        path: String,
        /// What it says.
        otherwise: Otherwise,
    },
    /// A file beside the weights cannot be read.
    #[error(transparent)]
    Beside(#[from] SidecarError),
    /// The checkpoint could not be read for its digest.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The checkpoint.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A weight that came out infinite or not a number.
    #[error(
        "'{name}' is not finite at index {index} after {passes}; the checkpoint's normalisation statistics are broken, or try --no-fold-bn"
    )]
    NotFinite {
        /// The weight.
        name: String,
        /// Flat index.
        index: usize,
        /// Passes that ran.
        passes: String,
    },
    /// A weight that f16 cannot hold.
    #[error(
        "'{name}' is {value} at index {index}, and f16 ends at {limit}; keep its node in f32 with --keep-f32 {node}, or build with --dtype f32",
        limit = ElementType::F16.max_finite()
    )]
    Overflow {
        /// The weight.
        name: String,
        /// Flat index.
        index: usize,
        /// The number there.
        value: f64,
        /// The node that uses it.
        node: String,
    },
    /// A node to be kept in f32 that is not there.
    #[error(transparent)]
    Keep(#[from] UnknownNode),
    /// The network does not fit the image.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A bug in a pass.
    #[error("internal error: a pass left an invalid graph: {0}")]
    Graph(#[from] GraphError),
    /// A bug in a shape.
    #[error("internal error: {0}")]
    Internal(String),
    /// More than 2 GiB with external data forbidden.
    #[error(
        "{variant} takes {bytes} bytes, more than the 2,147,483,647 a protobuf file can hold; use --external-data auto"
    )]
    TooLarge {
        /// The network.
        variant: String,
        /// Bytes of the model.
        bytes: u64,
    },
    /// The tuning file.
    #[error(transparent)]
    Tuning(#[from] TuningError),
    /// The calibration file, or what it speaks against.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// What was written could not be compared with the checkpoint.
    #[error("the model was built, and cannot be verified: {0}; nothing is kept")]
    Verify(#[from] Box<VerifyError>),
    /// What was written computes something else than the checkpoint means.
    #[error(
        "the model does not compute what the checkpoint means: {}; nothing is kept. Where sums of its weights cancel, f32 cannot hold them: \
         resnext-build inspect shows what the file holds",
        .0.differences()
    )]
    Different(Box<Verdict>),
    /// A weight beyond the memory there is.
    #[error(transparent)]
    Memory(#[from] OverBudget),
    /// The output could not be written.
    #[error("cannot write {path}: {source}; the old file, if any, is as it was")]
    Output {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BuildError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Nothing | Self::Request(_) | Self::Variant(_) | Self::Name(_) => Exit::Usage,
            Self::TooLarge { .. } | Self::Shape(_) | Self::Keep(_) => Exit::Usage,
            Self::Hub(error) => error.exit(),
            Self::Tuning(_) | Self::Weights(_) | Self::Digest { .. } | Self::Read { .. } | Self::OtherDigest { .. } => {
                Exit::BadInput
            }
            Self::NotFinite { .. } | Self::Overflow { .. } | Self::Calibration(_) => Exit::BadInput,
            Self::Memory(_) | Self::Otherwise { .. } | Self::Beside(_) => Exit::BadInput,
            Self::Different(_) => Exit::Mismatch,
            Self::Verify(error) => error.exit(),
            // The reader closed the pipe: it has what it wanted.
            Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Output { .. } => Exit::Output,
            Self::Graph(_) | Self::Internal(_) => Exit::Internal,
        }
    }
}
