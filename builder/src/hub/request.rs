//! What is fetched, from where, and what is told on the way.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::by_hand::ByHand;
use super::token::Token;
use crate::published::PublishedWeights;

/// A published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, on the server and in the cache.
    pub file_name: String,
    /// First hex digits of its SHA-256.
    pub sha256_prefix: String,
    /// Its length in bytes, to within [`SLACK`].
    pub bytes: u64,
}

/// Bytes by which a file may be longer than its entry says: published sizes are rounded.
pub const SLACK: u64 = 1 << 20;

impl From<&PublishedWeights> for Entry {
    fn from(known: &PublishedWeights) -> Self {
        Self { file_name: known.file_name(), sha256_prefix: known.sha256_prefix.into(), bytes: known.bytes() }
    }
}

/// How long a file on a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// To within [`SLACK`].
    About(u64),
    /// To the byte.
    Exactly(u64),
    /// Nobody said so yet.
    Unknown,
}

/// What a server may send where it says how much it will be: the optimizer state of the largest network fits in.
const MOST_ANNOUNCED: u64 = 1 << 35;

/// What a server may send that does not say how much it will be.
const MOST_UNANNOUNCED: u64 = 1 << 30;

impl Length {
    /// The bytes, as far as they are known.
    pub(super) fn bytes(self) -> Option<u64> {
        match self {
            Self::About(bytes) | Self::Exactly(bytes) => Some(bytes),
            Self::Unknown => None,
        }
    }

    /// No file of this length has more bytes, where a server `announces` so many of them or none.
    pub(super) fn most(self, announced: Option<u64>) -> u64 {
        match (self, announced) {
            (Self::About(bytes), _) => bytes + SLACK,
            (Self::Exactly(bytes), _) => bytes,
            (Self::Unknown, Some(_)) => MOST_ANNOUNCED,
            (Self::Unknown, None) => MOST_UNANNOUNCED,
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::About(bytes) => write!(f, " (about {bytes} are published)"),
            Self::Exactly(bytes) => write!(f, " ({bytes} were announced)"),
            Self::Unknown => Ok(()),
        }
    }
}

/// A file on a server.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Where it is.
    pub(super) url: String,
    /// Who asks.
    pub(super) token: Option<Token>,
    /// First hex digits of its SHA-256, where they are known.
    pub(super) sha256: Option<String>,
    /// Its length.
    pub(super) length: Length,
    /// How to do without this program's help.
    pub(super) by_hand: ByHand,
}

/// A cache and a server to fill it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// Folder that files lie in.
    pub folder: PathBuf,
    /// Address that file names are appended to, `http://` or `https://`, without a slash at its end.
    pub base_url: String,
    /// How long a server may take to answer, and then leave a download without a byte.
    pub stall: Duration,
    /// How long to wait before another try; the second wait is twice as long, and so on.
    pub pause: Duration,
}

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Another process downloads the same file; its result will do.
    Waiting {
        /// The file in the cache.
        file: &'a Path,
    },
    /// The first request goes out.
    Started {
        /// Where to.
        url: &'a str,
        /// The file in the cache.
        file: &'a Path,
        /// Bytes that an earlier, interrupted download left.
        resumed: u64,
    },
    /// More of the file is there, here or at the process that is waited for.
    Received {
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// A try failed, and another will be made.
    Retrying {
        /// What failed.
        reason: &'a str,
        /// When.
        pause: Duration,
    },
}
