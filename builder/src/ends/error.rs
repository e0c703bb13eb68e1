//! What images can be, and why a model cannot have the ends that are asked for.

/// Type of the pixels that a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pixels {
    /// Normalised numbers
    F32,
    /// Pixels as they are, from 0 to 255: the graph normalises them
    U8,
}

/// Why a model cannot have such ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndsError {
    /// The input takes no images, or there are others.
    #[error("--layout and --input-type are for models that take images, and {0}")]
    NoImage(String),
    /// There is not exactly one input.
    #[error("--input-name names the only input, and the model has {0}")]
    Inputs(usize),
    /// Another number of names than of outputs.
    #[error("--output-names gives {given} names, and the model has {} outputs: {}", found.len(), found.join(", "))]
    Outputs {
        /// Names given.
        given: usize,
        /// Names of the outputs.
        found: Vec<String>,
    },
    /// A name that no tensor should have.
    #[error("'{}' is no name for an input or output; use letters, digits, '_', '.', '-', '/' or ':'", .0.escape_debug())]
    Name(String),
    /// A name that is given twice.
    #[error("'{0}' would be the name of two inputs or outputs; give each its own")]
    Twice(String),
    /// The model takes u8 already.
    #[error("the model takes pixels as they are already, u8; drop --input-type")]
    AlreadyPixels,
    /// Numbers cannot be made of what the model takes.
    #[error(
        "the model takes u8, and how it normalises them is in its graph; --input-type f32 needs the model without it"
    )]
    Pixels,
    /// Nobody says how images are normalised.
    #[error(
        "--input-type u8 puts the normalisation into the graph, and nothing says which; give --preprocess v1|v2|FILE"
    )]
    NoPreprocess,
    /// Four channels.
    #[error("--input-type u8 is for images of 1 or 3 channels, and the model takes {0}")]
    Channels(usize),
    /// There are no logits.
    #[error("--softmax is for outputs of logits, one number for each class, and {0}")]
    NoLogits(String),
}
