//! One file of a cache: there already, or downloaded.

use std::io;
use std::path::{Path, PathBuf};

use onnx_file::digest;

use super::download;
use super::error::HubError;
use super::partial::Partial;
use super::request::{Event, Hub, Wanted};

/// A file or folder of a cache that is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was not there before.
    pub downloaded: bool,
    /// What may belong to it and could not be asked for.
    pub unasked: Option<Unasked>,
}

/// Files of a repository of which nobody knows whether it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unasked {
    /// Their names.
    pub files: Vec<&'static str>,
    /// Why they could not be asked for.
    pub reason: String,
}

/// The file `wanted` at `path`: there already, or downloaded to it.
pub(super) fn obtain(
    wanted: &Wanted,
    path: &Path,
    hub: &Hub,
    on: &mut dyn FnMut(Event<'_>),
) -> Result<Fetched, HubError> {
    if exists(path)? {
        return cached(wanted, path);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|source| HubError::write(folder, source))?;
    let mut waiting = false;
    let claimed = Partial::claim(path, |done| {
        if !waiting {
            on(Event::Waiting { file: path });
        }
        waiting = true;
        on(Event::Received { done, total: wanted.length.bytes() });
    });
    match claimed.map_err(|source| HubError::write(path, source))? {
        None => cached(wanted, path),
        Some(mut partial) => {
            download::download(wanted, hub, &mut partial, on)?;
            partial.commit().map_err(|source| HubError::write(path, source))?;
            Ok(Fetched { path: path.to_owned(), downloaded: true, unasked: None })
        }
    }
}

/// Whether something is at `path`.
pub(super) fn exists(path: &Path) -> Result<bool, HubError> {
    match path.metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(source) => Err(HubError::Read { path: path.display().to_string(), source }),
    }
}

fn cached(wanted: &Wanted, path: &Path) -> Result<Fetched, HubError> {
    let there = Fetched { path: path.to_owned(), downloaded: false, unasked: None };
    let Some(expected) = wanted.sha256.clone() else { return Ok(there) };
    let path = path.display().to_string();
    match digest::file(&there.path) {
        Ok(found) if found.starts_with(&expected) => Ok(there),
        Ok(found) => Err(HubError::Cached { path, expected, found }),
        Err(source) => Err(HubError::Read { path, source }),
    }
}
