//! Published checkpoints in torch's own cache: found there, or downloaded to it, so that torch and this program share
//! one copy.
//!
//! A file appears in the cache whole and with the digest its name promises, or not at all: what is on its way lies in
//! `.NAME.partial` beside it, which one process holds at a time and the next one takes up where the last was cut off.

mod download;
pub mod huggingface;
mod partial;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onnx_file::digest;
use onnx_file::exit::Exit;

use crate::published::PublishedWeights;
use partial::Partial;

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

/// A file of the cache whose digest is as its name promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was not there before.
    pub downloaded: bool,
}

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
        "cannot write {path}: {source}; make room or give permission, set TORCH_HOME to a folder that can be written, or pass --weights FILE"
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

    fn write(path: &Path, source: io::Error) -> Self {
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

/// The file of `entry`: from the folder of `hub` where it is there, else downloaded to it. `on` hears what happens.
///
/// # Errors
/// [`HubError`]; whatever was in the cache is as it was, save for `.NAME.partial`.
pub fn fetch(entry: &Entry, hub: &Hub, on: &mut dyn FnMut(Event<'_>)) -> Result<Fetched, HubError> {
    let path = hub.folder.join(&entry.file_name);
    if exists(&path)? {
        return cached(entry, path);
    }
    std::fs::create_dir_all(&hub.folder).map_err(|source| HubError::write(&hub.folder, source))?;
    let mut waiting = false;
    let claimed = Partial::claim(&path, |done| {
        if !waiting {
            on(Event::Waiting { file: &path });
        }
        waiting = true;
        on(Event::Received { done, total: entry.bytes });
    });
    match claimed.map_err(|source| HubError::write(&path, source))? {
        None => cached(entry, path),
        Some(mut partial) => {
            download::download(entry, hub, &mut partial, on)?;
            partial.commit().map_err(|source| HubError::write(&path, source))?;
            Ok(Fetched { path, downloaded: true })
        }
    }
}

fn exists(path: &Path) -> Result<bool, HubError> {
    match path.metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(source) => Err(HubError::Read { path: path.display().to_string(), source }),
    }
}

fn cached(entry: &Entry, path: PathBuf) -> Result<Fetched, HubError> {
    let name = || path.display().to_string();
    let found = digest::file(&path).map_err(|source| HubError::Read { path: name(), source })?;
    match found.starts_with(&entry.sha256_prefix) {
        true => Ok(Fetched { path, downloaded: false }),
        false => Err(HubError::Cached { path: name(), expected: entry.sha256_prefix.clone(), found }),
    }
}
