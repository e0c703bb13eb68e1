//! Why a published file could not be had.

use std::io;
use std::path::{Path, PathBuf};

use onnx_file::exit::Exit;

use super::request::URL_VARIABLE;

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
        "{path}, found in torch's cache, should have a SHA-256 that starts with {expected} and has {found}: it is damaged, or another file under this name; it was left as it is. Delete it or move it away to have it downloaded again, or pass --weights FILE"
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
        "{repository} at revision {revision} is not in Hugging Face's cache ({folder}): fetch it with `hf download {repository}`, or pass --weights FOLDER"
    )]
    NotCached {
        /// `ORG/NAME`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// Where it would lie.
        folder: String,
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
        "{url} sent {bytes} bytes (about {expected_bytes} are published) with SHA-256 {found}, which should start with {expected}: the server or a proxy sent another file, or it was damaged on its way; nothing was kept. Try again. {by_hand}"
    )]
    Digest {
        /// Where from.
        url: String,
        /// How many bytes came.
        bytes: u64,
        /// How many should have.
        expected_bytes: u64,
        /// What the name promises.
        expected: String,
        /// The digest, in hex.
        found: String,
        /// How to do without this program's help.
        by_hand: Box<ByHand>,
    },
    /// More bytes than the file has.
    #[error(
        "{url} sends more than the file has (about {expected_bytes} bytes are published), so it is another file; nothing was kept. {by_hand}"
    )]
    TooLarge {
        /// Where from.
        url: String,
        /// How many bytes were expected.
        expected_bytes: u64,
        /// How to do without this program's help.
        by_hand: Box<ByHand>,
    },
    /// The cache cannot be written.
    #[error(
        "cannot write {path}: {source}; free space or give permission, set TORCH_HOME to a folder that can be written, or pass --weights FILE"
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
            Self::Download { .. } | Self::NotCached { .. } => Exit::Unavailable,
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

/// Where to put the file by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByHand {
    /// Folder.
    pub folder: PathBuf,
    /// File name.
    pub file_name: String,
}

impl std::fmt::Display for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (folder, name) = (self.folder.display(), &self.file_name);
        write!(
            f,
            "Without a network: fetch it elsewhere and put it into the folder {folder} under the name {name}, or name a mirror in {URL_VARIABLE}"
        )
    }
}
