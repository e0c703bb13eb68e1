//! What is known of a checkpoint's tensors before a number is read, and of what lies beside them.

use std::fmt;

use onnx_file::element::ElementType;

/// What a checkpoint says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, without the key that nested the weights and without a stripped prefix.
    pub name: String,
    /// Element type as stored.
    pub dtype: ElementType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// An object beside the weights that was passed over unbuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Key of the outermost dictionary that it lies under.
    pub key: String,
    /// Its class, `module.Name`.
    pub class: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key.escape_debug(), self.class.escape_debug())
    }
}

/// How a layer before the network normalises images of values from 0 to 1: per channel, of three.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What it subtracts.
    pub mean: [f64; 3],
    /// What it divides by.
    pub std: [f64; 3],
}
