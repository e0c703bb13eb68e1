//! Why a published file could not be had.

use std::io;
use std::path::{Path, PathBuf};

use onnx_file::exit::Exit;

use super::by_hand::ByHand;
use super::request::Length;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The environment makes no sense.
    #[error("{0}")]
    Settings(String),
    /// The file in the cache cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file in the cache is not what its name promises.
    #[error(
        "{path}, found in the cache, should have a SHA-256 that starts with {expected} and has {found}: it is damaged, or another file under this name; it was left as it is. Delete it or move it away to have it downloaded again, or pass --weights FILE"
    )]
    Cached {
        /// The file.
        path: String,
        /// What the name promises.
        expected: String,
        /// The digest, in hex.
        found: String,
    },
    /// A Hugging Face repository that its cache does not have.
    #[error(
        "{repository} at revision {revision} is not in Hugging Face's cache ({folder}), and {variable} forbids to download it: unset that, fetch it with `hf download {repository}`, or pass --weights FOLDER"
    )]
    NotCached {
        /// `ORG/NAME`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// Where it would lie.
        folder: String,
        /// The environment variable that forbids the network.
        variable: &'static str,
    },
    /// A Hugging Face repository without weights under a name that is usual.
    #[error(
        "{repository} at revision {revision} has none of {}: if its weights have another name, pass their address, --weights {endpoint}/{repository}/resolve/{revision}/FILE", names.join(", ")
    )]
    NoWeights {
        /// `ORG/NAME`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// What was asked for.
        names: Vec<&'static str>,
        /// The server.
        endpoint: String,
    },
    /// An index of shards that cannot be followed.
    #[error("{path}: {reason}; fetch the repository by other means and pass --weights FOLDER")]
    Index {
        /// The index.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be reached, or does not have the file, or broke off.
    #[error("cannot download {url}: {reason}{kept}. {by_hand}")]
    Download {
        /// Where from.
        url: String,
        /// What went wrong.
        reason: String,
        /// What is there already.
        kept: Box<Kept>,
        /// How to do without this program's help.
        by_hand: Box<ByHand>,
    },
    /// Something came whose digest is another.
    #[error(
        "{url} sent {bytes} bytes{length} with SHA-256 {found}, which should start with {expected}: the server or a proxy sent another file, or it was damaged on its way; nothing was kept. Try again. {by_hand}"
    )]
    Digest {
        /// Where from.
        url: String,
        /// How many bytes came.
        bytes: u64,
        /// How many should have.
        length: Length,
        /// What the name promises.
        expected: String,
        /// The digest, in hex.
        found: String,
        /// How to do without this program's help.
        by_hand: Box<ByHand>,
    },
    /// More bytes than the file has.
    #[error("{url} sends more than the file has{length}, so it is another file; nothing was kept. {by_hand}")]
    TooLarge {
        /// Where from.
        url: String,
        /// How many bytes were expected.
        length: Length,
        /// How to do without this program's help.
        by_hand: Box<ByHand>,
    },
    /// More bytes than any checkpoint of the family has.
    #[error(
        "{url} sends more than {limit} bytes, which no checkpoint of these networks has; nothing was kept. {by_hand}"
    )]
    Endless {
        /// Where from.
        url: String,
        /// How many are taken.
        limit: u64,
        /// How to do without this program's help.
        by_hand: Box<ByHand>,
    },
    /// The cache cannot be written.
    #[error(
        "cannot write {path}: {source}; free space or give permission, set TORCH_HOME (for hf-hub: HF_HOME) to a folder that can be written, or pass --weights FILE"
    )]
    Write {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) => Exit::Usage,
            Self::Read { .. } | Self::Cached { .. } | Self::Digest { .. } | Self::TooLarge { .. } => Exit::BadInput,
            Self::Endless { .. } | Self::Index { .. } => Exit::BadInput,
            Self::Download { .. } | Self::NotCached { .. } | Self::NoWeights { .. } => Exit::Unavailable,
            Self::Write { .. } => Exit::Output,
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.display().to_string(), source }
    }
}

/// What an interrupted download left; printed after the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes.
    pub bytes: u64,
    /// Where.
    pub partial: PathBuf,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bytes {
            0 => Ok(()),
            bytes => {
                write!(f, "; {bytes} bytes lie in {}, and the next try goes on from there", self.partial.display())
            }
        }
    }
}
