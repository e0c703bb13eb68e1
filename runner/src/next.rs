//! What to do with a result, as data. The sentences are in [`crate::report::next`].

use crate::model::opened::ModelError;
use crate::note::{Named, Note};

/// What may come next, where a result calls for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Find the block where two candidates begin to differ.
    Layers,
    /// Ask which providers work, and how to fix those that do not.
    Doctor,
    /// Ask whether the library that was installed computes rightly here.
    DoctorAfterSetup {
        /// The folder that it is in, where that is not where it is looked for.
        library: Option<String>,
    },
    /// Find a faster lowering.
    Tune {
        /// The model file.
        model: String,
        /// Provider.
        provider: String,
    },
    /// Write an int8 model by the ranges found.
    Int8 {
        /// The model file.
        model: String,
        /// The file of ranges.
        ranges: String,
    },
    /// Measure ranges on images, and keep them.
    Ranges {
        /// The model file.
        model: String,
    },
    /// Say how images are prepared.
    Preprocess,
    /// Number class folders in the order of their names.
    ClassesByName,
    /// Name the model's classes, so that class folders are matched with them.
    NameClasses,
}

impl Next {
    /// Where a provider gave no result for want of something on this machine.
    pub(crate) fn after(failures: &[(Named, &ModelError)]) -> Option<Next> {
        failures.iter().any(|(_, error)| matches!(error, ModelError::Unavailable(_))).then_some(Next::Doctor)
    }

    /// Where nobody said how images are prepared.
    pub(crate) fn preprocess(notes: &[Note]) -> Option<Next> {
        notes.iter().any(|note| matches!(note, Note::PreprocessingAssumed { .. })).then_some(Next::Preprocess)
    }
}
