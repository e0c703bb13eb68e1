//! The file that a download goes to until it is whole.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use onnx_file::{atomic, open};

/// `.NAME.partial` beside its destination, locked: one process writes to it at a time. The lock ends with its process,
/// however that ends, and what was written stays.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    destination: PathBuf,
    len: u64,
}

impl Partial {
    /// Opens the partial file of `destination`, with what an earlier download left in it. While another process holds
    /// it, `waiting` is called ten times a second with the bytes that one has; `None` once that has put `destination`
    /// into place.
    pub(super) fn claim(destination: &Path, mut waiting: impl FnMut(u64)) -> io::Result<Option<Self>> {
        let path = atomic::partial(destination)?;
        let file = loop {
            if let Some(file) = atomic::claim(&path)? {
                break file;
            }
            // Between the two calls it may have been renamed into place.
            waiting(fs::metadata(&path).map_or(0, |there| there.len()));
            std::thread::sleep(Duration::from_millis(100));
        };
        let partial = Self { len: file.metadata()?.len(), file, path, destination: destination.to_owned() };
        if !destination.exists() {
            return Ok(Some(partial));
        }
        partial.remove();
        Ok(None)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it will be.
    pub(super) fn destination(&self) -> &Path {
        &self.destination
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes at its end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.len = 0;
        self.file.set_len(0)
    }

    /// SHA-256 of what is in it.
    pub(super) fn sha256(&mut self) -> io::Result<[u8; 32]> {
        self.file.rewind()?;
        onnx_file::digest::sha256(&self.file)
    }

    /// Renames it into place, on the disk and not only in its cache: a power cut leaves the whole file or none.
    pub(super) fn commit(self) -> io::Result<()> {
        let committed = self.file.sync_all().and_then(|()| fs::rename(&self.path, &self.destination));
        if committed.is_err() {
            self.remove();
        } else if let Some(Ok(folder)) = self.destination.parent().map(open::folder) {
            // Not every file system has it, and the name is there for every living process.
            let _ = folder.sync_all();
        }
        committed
    }

    /// Removes it where it cannot be of use to a later download.
    pub(super) fn remove(&self) {
        // Nobody is left to tell; the next download replaces what cannot be removed.
        let _ = fs::remove_file(&self.path);
    }
}
