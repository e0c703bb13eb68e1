//! Why two candidates could not be compared block by block.

use onnx_file::element::ElementType;
use onnx_file::exit::Exit;
use onnx_file::expose::ExposeError;

use crate::input;
use crate::model::file::MetadataError;
use crate::model::opened::ModelError;

/// Why the first diverging block could not be searched for.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// A model file is unusable.
    #[error(transparent)]
    Model(#[from] MetadataError),
    /// The inputs do not suit.
    #[error(transparent)]
    Input(#[from] input::UnfitInput),
    /// The temporary copy could not be written.
    #[error(transparent)]
    Write(#[from] ExposeError),
    /// The two graphs have no boundaries in common.
    #[error(
        "{first} and {second} share no block boundaries by name, and have {first_count} and {second_count} of them: \
         their layers cannot be compared one to one"
    )]
    Unmatched {
        /// First file.
        first: String,
        /// Second file.
        second: String,
        /// Boundaries of the first.
        first_count: usize,
        /// Boundaries of the second.
        second_count: usize,
    },
    /// One gives integers where the other gives floating-point numbers.
    #[error("{first}, and {second}: levels and the numbers that they stand for cannot be compared one to one")]
    Kinds {
        /// The first.
        first: Of,
        /// The second.
        second: Of,
    },
    /// A candidate gave no result with the added outputs.
    #[error("{candidate} with block outputs added: {error}")]
    Run {
        /// Provider and file.
        candidate: String,
        /// Why.
        error: ModelError,
    },
    /// A candidate did not return an output that was added.
    #[error("{candidate} did not return the added output {value}")]
    Missing {
        /// Provider and file.
        candidate: String,
        /// The value.
        value: String,
    },
}

impl LayersError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write(_) => Exit::Output,
            Self::Run { .. } | Self::Missing { .. } => Exit::Unavailable,
            Self::Model(_) | Self::Input(_) | Self::Unmatched { .. } | Self::Kinds { .. } => Exit::BadInput,
        }
    }
}

/// A value of a candidate, and its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Of {
    /// Provider and file.
    pub candidate: String,
    /// The value.
    pub value: String,
    /// Type of its elements.
    pub element_type: ElementType,
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} is {}", self.value, self.candidate, self.element_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_cannot_be_written_is_an_output_that_failed_and_a_provider_that_did_is_unavailable() {
        let copy = ExposeError { path: "none".into(), source: std::io::ErrorKind::StorageFull.into() };
        assert_eq!(LayersError::from(copy).exit(), Exit::Output);
        let missing = LayersError::Missing { candidate: "cpu".into(), value: "v1".into() };
        assert_eq!(missing.exit(), Exit::Unavailable);
        let (first, second, first_count, second_count) = (String::new(), String::new(), 1, 2);
        assert_eq!(LayersError::Unmatched { first, second, first_count, second_count }.exit(), Exit::BadInput);
    }
}
