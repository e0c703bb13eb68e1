//! What is fetched, from where, and what is told on the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::published::PublishedWeights;

/// Where torchvision's files are published.
pub const BASE_URL: &str = "https://download.pytorch.org/models";

/// Environment variable that names a mirror in place of [`BASE_URL`].
pub const URL_VARIABLE: &str = "RESNEXT_WEIGHTS_URL";

/// Environment variable that sets [`Hub::stall`], in seconds.
pub const TIMEOUT_VARIABLE: &str = "RESNEXT_WEIGHTS_TIMEOUT";

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
        /// Bytes in all, as far as is known.
        total: u64,
    },
    /// A try failed, and another will be made.
    Retrying {
        /// What failed.
        reason: &'a str,
        /// When.
        pause: Duration,
    },
}
