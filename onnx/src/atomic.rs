//! A file that appears whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::open;

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
    // Last, so that it is dropped when the partial file is gone.
    open: Open,
}

/// The partial files that are open in this process, by a number of their own, each with its path once it is this
/// process's; and whether they are to be given up.
static OPEN: Mutex<BTreeMap<u64, Option<PathBuf>>> = Mutex::new(BTreeMap::new());
static OPENED: AtomicU64 = AtomicU64::new(0);
static STOPPED: AtomicBool = AtomicBool::new(false);

/// One in [`OPEN`].
#[derive(Debug)]
struct Open(u64);

impl Open {
    fn count() -> Self {
        let number = OPENED.fetch_add(1, Ordering::SeqCst);
        opened().insert(number, None);
        Self(number)
    }

    fn claimed(&self, partial: &Path) {
        opened().insert(self.0, Some(partial.to_owned()));
    }

    /// From here on the file at the path is somebody else's.
    fn given_away(&self) {
        opened().insert(self.0, None);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        opened().remove(&self.0);
    }
}

fn opened() -> MutexGuard<'static, BTreeMap<u64, Option<PathBuf>>> {
    // A panic elsewhere leaves the list as true as it was.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes writing to any [`AtomicFile`] of this process fail from now on, so that whoever writes gives up and leaves
/// nothing behind. Returns whether any is still open.
pub fn stop() -> bool {
    STOPPED.store(true, Ordering::SeqCst);
    !opened().is_empty()
}

/// As [`stop`]; then waits until none is open, at most for `longest`, and removes what a writer still has that was too
/// busy to notice: for a process that ends now.
pub fn stop_within(longest: Duration) {
    let start = Instant::now();
    while stop() && start.elapsed() < longest {
        std::thread::sleep(Duration::from_millis(10));
    }
    for partial in opened().values().flatten() {
        // There is nobody left to tell.
        let _ = fs::remove_file(partial);
    }
}

/// Whether [`stop`] was called.
pub fn stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}

impl AtomicFile {
    /// Opens the partial file for `destination`.
    ///
    /// # Errors
    /// Whatever the file system says; also if `destination` has no file name, or is a folder, a pipe or a device, whose
    /// place a file would take.
    pub fn create(destination: &Path) -> io::Result<Self> {
        Self::create_over(destination, |_| Ok(()))
    }

    /// As [`AtomicFile::create`]; what a killed writer left in the partial file is shown to `inspect` before it is gone.
    ///
    /// # Errors
    /// As for [`AtomicFile::create`], and those of `inspect`.
    pub fn create_over(destination: &Path, inspect: impl FnOnce(&File) -> io::Result<()>) -> io::Result<Self> {
        match fs::metadata(destination) {
            Ok(there) if there.is_dir() => {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "the output path is a folder"));
            }
            Ok(there) if !there.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the output path is a pipe or a device"));
            }
            _ => {}
        }
        Self::over(partial(destination)?, destination, inspect)
    }

    /// Opens `partial` itself, for a file whose name is known only when [`AtomicFile::commit_as`] gives it; without
    /// that it is removed.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn create_unnamed(partial: &Path) -> io::Result<Self> {
        Self::over(partial.to_owned(), partial, |_| Ok(()))
    }

    fn over(partial: PathBuf, destination: &Path, inspect: impl FnOnce(&File) -> io::Result<()>) -> io::Result<Self> {
        // Before the file is there: an interrupt must not find one that nobody is said to write.
        let open = Open::count();
        let Some(mut file) = claim(&partial)? else {
            let text = format!("another process is writing to {}; wait for it to end", partial.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        };
        open.claimed(&partial);
        inspect(&file)?;
        file.set_len(0)?;
        file.rewind()?;
        keep_mode(&file, destination)?;
        Ok(Self { file, partial, destination: destination.to_owned(), committed: false, open })
    }

    /// Gives the file the permissions of the one at `old`, if there is one: that of a file which this one goes with.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn keep_mode_of(&self, old: &Path) -> io::Result<()> {
        keep_mode(&self.file, old)
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
        keep_mode(&self.file, destination)?;
        fs::rename(&self.partial, destination)?;
        self.open.given_away();
        self.committed = true;
        Ok(())
    }
}

/// Gives `file` the permissions of the file whose place it takes: what its owner alone could read stays so.
fn keep_mode(file: &File, old: &Path) -> io::Result<()> {
    match fs::metadata(old) {
        Ok(there) if there.is_file() => {
            let (old, new) = (there.permissions(), file.metadata()?.permissions());
            if old == new { Ok(()) } else { file.set_permissions(old) }
        }
        _ => Ok(()),
    }
}

/// `.NAME.partial` beside `destination`.
///
/// # Errors
/// If `destination` has no file name.
pub fn partial(destination: &Path) -> io::Result<PathBuf> {
    let name = destination
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the output path has no file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".partial");
    Ok(destination.with_file_name(hidden))
}

/// Opens `partial` for this process alone, as long as the file is open, with what a killed process left in it. `None`
/// while a living process has it: the first of two writers to finish would rename the other's half into place.
///
/// # Errors
/// Whatever the file system says; also for a link of either kind, through which somebody else's file would be
/// overwritten.
pub fn claim(partial: &Path) -> io::Result<Option<File>> {
    loop {
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", partial.display()));
        let file = open::lock_file(partial).map_err(at)?;
        if open::names(&file)? > 1 {
            let text = "it has a second name, under which it would be overwritten; remove it";
            return Err(at(io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Between opening and locking, the other process may have renamed this very file into place.
        if is_still_at(&file, partial)? {
            return Ok(Some(file));
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

/// Elsewhere files have no number to be told by; a name that is gone is told all the same.
#[cfg(not(unix))]
fn is_still_at(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if stopped() {
            return Err(io::Error::other("interrupted"));
        }
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
    fn what_a_killed_writer_left_can_be_seen_before_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::write(partial(&path).unwrap(), "left").unwrap();
        let mut seen = String::new();
        let file = AtomicFile::create_over(&path, |mut left| io::Read::read_to_string(&mut left, &mut seen).map(drop));
        let mut file = file.unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!((seen.as_str(), fs::read(&path).unwrap()), ("left", b"new".to_vec()));
    }

    #[test]
    fn a_file_counts_as_open_before_it_is_there_and_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let partial = partial(&path).unwrap();
        let is_listed = || opened().values().flatten().any(|path| *path == partial);
        let file = AtomicFile::create_over(&path, |_| {
            assert!(is_listed());
            Ok(())
        });
        assert!(is_listed(), "what ends the process removes it");
        drop(file.unwrap());
        assert!(!is_listed());
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"done").unwrap();
        file.commit().unwrap();
        assert!(!is_listed(), "somebody else may write one of that name now");
        assert!(AtomicFile::create_over(&path, |_| Err(io::Error::other("no"))).is_err());
    }

    #[test]
    fn a_file_without_a_name_takes_the_one_that_it_is_committed_as() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, path) = (folder.path().join("p"), folder.path().join("m.data"));
        drop(AtomicFile::create_unnamed(&partial).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut file = AtomicFile::create_unnamed(&partial).unwrap();
        file.write_all(b"new").unwrap();
        file.commit_as(&path).unwrap();
        assert_eq!((fs::read(&path).unwrap(), partial.exists()), (b"new".to_vec(), false));
    }

    #[cfg(unix)]
    #[test]
    fn a_partial_file_that_is_a_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("m.onnx"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, partial(&path).unwrap()).unwrap();
        assert!(AtomicFile::create(&path).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[cfg(unix)]
    #[test]
    fn a_partial_file_with_a_second_name_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("m.onnx"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        fs::hard_link(&victim, partial(&path).unwrap()).unwrap();
        assert!(AtomicFile::create(&path).unwrap_err().to_string().contains("second name"));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_mode_from_the_first_byte() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::write(&path, "old").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for expected in [0o600, 0o640, 0o444] {
            fs::set_permissions(&path, fs::Permissions::from_mode(expected)).unwrap();
            let file = AtomicFile::create(&path).unwrap();
            assert_eq!(mode(&partial(&path).unwrap()), expected);
            file.commit().unwrap();
            assert_eq!(mode(&path), expected);
        }
    }

    #[test]
    fn a_folder_and_a_device_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AtomicFile::create(folder.path()).is_err());
        #[cfg(unix)]
        assert!(AtomicFile::create(Path::new("/dev/null")).is_err());
    }
}
