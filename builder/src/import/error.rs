//! Why a model could not be read back.

use onnx_file::raw::TensorError;

use crate::shape::ShapeError;

/// Why a model could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A node that the graph has no operator for, or in a form it does not know.
    #[error("node '{node}' ({op}): {reason}")]
    Node {
        /// The node, or its first output where it has no name.
        node: String,
        /// Its operator.
        op: String,
        /// What is not understood.
        reason: String,
    },
    /// The model does not take one image.
    #[error("the model should have one input [N, 3, H, W]; it has {found}")]
    Input {
        /// What it has.
        found: String,
    },
    /// An initializer.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Operands do not fit.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}
