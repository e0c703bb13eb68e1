//! What is read of a file's contents, and why it is not.

use std::collections::BTreeSet;
use std::io;

use onnx_file::budget::OverBudget;

use crate::model::tensor::Tensor;

/// Which arrays of a file are read.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    All,
    /// Those of these names, or the only one that there is.
    Named(&'a BTreeSet<&'a str>),
}

impl Wanted<'_> {
    /// Whether an array called so is read, of a file that holds so many.
    pub(super) fn reads(self, name: &str, count: usize) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Named(names) => count == 1 || names.contains(name),
        }
    }
}

/// Why the contents of a file are not read; the path is added where it is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Budget(#[from] OverBudget),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Arrays that were read, and the names of all that are there.
pub(super) type Held = (Vec<Tensor>, Vec<String>);
