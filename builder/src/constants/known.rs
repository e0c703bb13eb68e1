//! What is known of values.

use onnx_file::element::ElementType;

/// What is known of a value that is no constant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Type of its elements.
    pub(crate) element: Option<ElementType>,
    /// Its extents, where all are fixed.
    pub(crate) shape: Option<Vec<usize>>,
}
