//! A file that appears whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes to `.NAME.partial` beside the destination and renames it on [`AtomicFile::commit`].
///
/// Dropped without a commit it removes the partial file and leaves the destination as it was. A process that is killed
/// leaves at most that one partial file, which the next writer of the same destination replaces. Nothing is flushed to
/// the disk's own cache: the promise holds against a dying process, not against a power cut.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    partial: PathBuf,
    destination: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Opens the partial file for `destination`.
    ///
    /// # Errors
    /// Whatever the file system says; also if `destination` has no file name, or is a folder.
    pub fn create(destination: &Path) -> io::Result<Self> {
        let name = destination
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the output path has no file name"))?;
        if destination.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "the output path is a folder"));
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".partial");
        let partial = destination.with_file_name(hidden);
        let file = claim(&partial)?;
        Ok(Self { file, partial, destination: destination.to_owned(), committed: false })
    }

    /// Renames the partial file into place.
    ///
    /// # Errors
    /// Whatever the file system says; the partial file is then removed.
    pub fn commit(self) -> io::Result<()> {
        let destination = self.destination.clone();
        self.commit_as(&destination)
    }

    /// As [`AtomicFile::commit`], under a name that was not known before the content was, in the same folder.
    ///
    /// # Errors
    /// As for [`AtomicFile::commit`].
    pub fn commit_as(mut self, destination: &Path) -> io::Result<()> {
        self.file.flush()?;
        fs::rename(&self.partial, destination)?;
        self.committed = true;
        Ok(())
    }
}

/// Opens `partial` for this process alone. One that a killed process left is taken over; one that a living process
/// writes to is refused, since the first of two writers to finish would rename the other's half into place.
fn claim(partial: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(partial)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process is writing to {}; wait for it to end", partial.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Between opening and locking, the other process may have renamed this very file into place.
        if is_still_at(&file, partial)? {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file cannot be renamed away.
#[cfg(not(unix))]
fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; the next writer replaces what cannot be removed.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_the_old_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert!(folder.path().join(".m.onnx.partial").exists());
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_committed_file_replaces_the_old_one_and_a_stale_partial() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::write(&path, "old").unwrap();
        fs::write(folder.path().join(".m.onnx.partial"), "left by a killed process, and longer").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_writer_is_refused_while_the_first_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let mut first = AtomicFile::create(&path).unwrap();
        first.write_all(b"first").unwrap();
        assert_eq!(AtomicFile::create(&path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        first.commit().unwrap();
        let mut second = AtomicFile::create(&path).unwrap();
        second.write_all(b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first", "until it is committed");
        second.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
    }

    #[test]
    fn a_folder_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AtomicFile::create(folder.path()).is_err());
    }
}
