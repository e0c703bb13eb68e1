//! What is read of a graph between two additions.

/// A convolution: channels, kernel, stride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conv {
    pub(super) out: usize,
    pub(super) inner: usize,
    pub(super) group: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

/// What lies between two additions.
pub(super) struct Unit {
    pub(super) main: Vec<Conv>,
    pub(super) shortcut: Option<Conv>,
    /// Branches that the main path is split into, and whether their sum is taken after the last convolution.
    pub(super) split: Option<(usize, bool)>,
    pub(super) subsampled: bool,
}
