//! Images that cannot be used, and why.

use serde::Serialize;

/// What is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Defect {
    /// The file cannot be read.
    #[error("{reason}")]
    Unreadable {
        /// What the system says.
        reason: String,
    },
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// None of the formats that are read.
    #[error("{found}")]
    UnknownFormat {
        /// What it is instead, as far as that is known.
        found: String,
    },
    /// The header claims more than is ever decoded.
    #[error("{width}x{height} pixels are more than the limit of {} million", most_pixels / 1_000_000)]
    TooLarge {
        /// Claimed width.
        width: u32,
        /// Claimed height.
        height: u32,
        /// The limit.
        most_pixels: u64,
    },
    /// The file ends within the image.
    #[error("the image is cut off")]
    Truncated,
    /// It could not be brought to the size of the network's input.
    #[error("{reason}")]
    Unsizable {
        /// Why.
        reason: String,
    },
    /// The decoder refused it.
    #[error("cannot be decoded: {reason}")]
    Undecodable {
        /// What the decoder said.
        reason: String,
    },
}

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its file.
    pub path: String,
    /// What is wrong with it.
    #[serde(serialize_with = "crate::coded::one_with_text")]
    pub reason: Defect,
}
