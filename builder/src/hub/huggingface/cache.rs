//! The cache's layout: `models--ORG--NAME` with `blobs`, `refs` and `snapshots`.

use std::io;
use std::path::{Path, PathBuf};

use onnx_file::open;

use super::plain::is_plain_text;
use crate::hub::error::HubError;

/// One repository in the cache.
pub(super) struct Stored(PathBuf);

impl Stored {
    /// The repository `name` in `cache`, there or not.
    pub(super) fn new(cache: &Path, name: &str) -> Self {
        // Links lead from one of its folders to another, wherever this process runs.
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
        Self(cache.join(format!("models--{}", name.replace('/', "--"))))
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The folder of the files at `commit`.
    pub(super) fn folder_of(&self, commit: &str) -> PathBuf {
        self.0.join("snapshots").join(commit)
    }

    /// The file with the contents that a server calls `tag`.
    pub(super) fn blob(&self, tag: &str) -> PathBuf {
        self.0.join("blobs").join(tag)
    }

    /// The commit that `revision` means, by `refs` or by its own name, where there is a snapshot of it.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        let reference = open::read_text(&self.0.join("refs").join(revision), 256).ok();
        let commit = reference.map_or_else(|| revision.replace('/', "-"), |text| text.trim().to_owned());
        (is_plain_text(&commit) && self.folder_of(&commit).is_dir()).then_some(commit)
    }

    /// Whether `file` is in the snapshot of `commit`, or known not to be in the repository.
    pub(super) fn is_known(&self, commit: &str, file: &str) -> bool {
        // A link that leads nowhere is followed: what it led to is gone.
        self.folder_of(commit).join(file).exists() || self.absence(commit, file).exists()
    }

    /// Notes that the repository has no `file` at `commit`. Where that cannot be written it is asked for again.
    pub(super) fn set_absent(&self, commit: &str, file: &str) {
        let path = self.absence(commit, file);
        let parent = path.parent().unwrap_or(&self.0);
        let _ = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, ""));
    }

    /// What says that there is no `file`.
    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        self.0.join(".no_exist").join(commit).join(file)
    }

    /// Notes the commit that `revision` means.
    pub(super) fn set_reference(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.0.join("refs").join(revision);
        let parent = path.parent().unwrap_or(&self.0);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, commit))
            .map_err(|source| HubError::write(&path, source))
    }

    /// Puts `blob` under the name `file` into the snapshot of `commit`.
    pub(super) fn link(&self, commit: &str, file: &str, blob: &Path) -> Result<(), HubError> {
        let folder = self.folder_of(commit);
        let path = folder.join(file);
        std::fs::create_dir_all(&folder)
            .and_then(|()| if path.exists() { Ok(()) } else { place(blob, &path) })
            .map_err(|source| HubError::write(&path, source))
    }
}

/// A link, relative so that the cache may be moved.
#[cfg(unix)]
fn place(blob: &Path, path: &Path) -> io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    // One that leads nowhere is of a cache that was cleaned by hand.
    if path.is_symlink() {
        std::fs::remove_file(path)?;
    }
    match std::os::unix::fs::symlink(Path::new("../../blobs").join(name), path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// A copy, where links need rights that users rarely have: so does `huggingface_hub`.
#[cfg(not(unix))]
fn place(blob: &Path, path: &Path) -> io::Result<()> {
    std::fs::copy(blob, path).map(|_| ())
}
