//! Published checkpoints in torch's own cache: found there, or downloaded to it, so that torch and this program share
//! one copy.
//!
//! A file appears in the cache whole and with the digest its name promises, or not at all: what is on its way lies in
//! `.NAME.partial` beside it, which one process holds at a time and the next one takes up where the last was cut off.

mod download;
mod error;
pub mod huggingface;
mod partial;
mod request;
mod settings;

pub use error::{ByHand, HubError, Kept};
pub use request::{BASE_URL, Entry, Event, Hub, SLACK, TIMEOUT_VARIABLE, URL_VARIABLE};

use std::io;
use std::path::{Path, PathBuf};

use onnx_file::digest;

use partial::Partial;

/// A file of the cache whose digest is as its name promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was not there before.
    pub downloaded: bool,
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
