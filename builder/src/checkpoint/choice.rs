//! What the command line asks of a checkpoint, where the file alone does not settle it; and what it left open.

use serde::Serialize;

/// The order in which a network takes the colour channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ChannelOrder {
    /// Red, green, blue: what every model written here takes.
    Rgb,
    /// Blue, green, red: Caffe's, which OpenCV gives.
    Bgr,
}

/// Which part of a checkpoint is meant, and what may be passed over. The default lets the file decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Key of the weights, dots between one and the next.
    pub key: Option<String>,
    /// Prefix of the network's tensors.
    pub prefix: Option<String>,
    /// Heads to leave out.
    pub drop_heads: Vec<String>,
    /// Order of the colour channels that the network takes; `None` is what its names say.
    pub channel_order: Option<ChannelOrder>,
    /// Leave every head out.
    pub no_head: bool,
    /// Exact `module.Name`s of objects to pass over unbuilt, beside those known to be harmless.
    pub skip: Vec<String>,
}

/// What a file leaves open and its user has to choose before a network can be built of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Undecided {
    /// Networks under several prefixes: names are as the file has them.
    Prefixes {
        /// The prefixes.
        known: Vec<String>,
    },
    /// Linear layers that are not one plain classifier.
    Heads {
        /// Channels that the stages output.
        features: usize,
        /// The layers, with what each takes and gives.
        known: Vec<String>,
        /// Their tensors.
        tensors: Vec<String>,
    },
}
