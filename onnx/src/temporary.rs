//! Temporary files and folders of one process, which go with it, however it ends.
//!
//! Dropped ones go at once; a signal's handler removes those that are left with [`remove_all`]; and what a process leaves
//! that was killed is removed by the next one that makes such a thing in the same folder: each is locked while its owner
//! lives, and the system lets go of a lock when its owner dies.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::open;

/// Paths that are to go.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Younger ones may not have been locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A temporary file or folder, removed when this is dropped.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    /// Holds the lock.
    _owner: Option<File>,
}

impl Temporary {
    /// Makes the file `PREFIX...SUFFIX` in `folder`, where the three dots are random, and lets `write` fill it.
    ///
    /// # Errors
    /// What the system says; nothing is left then.
    pub fn file(
        folder: &Path,
        (prefix, suffix): (&str, &str),
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<Temporary> {
        sweep(folder, prefix, suffix, YOUNG);
        let made = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder)?;
        let (file, path) = made.into_parts();
        let path = path.keep()?;
        let mut content = file.try_clone()?;
        let temporary = Temporary::own(path, Some(file))?;
        write(&mut content)?;
        Ok(temporary)
    }

    /// Makes the folder `PREFIX...` in `folder`, where the three dots are random.
    ///
    /// # Errors
    /// What the system says; nothing is left then.
    pub fn folder(folder: &Path, prefix: &str) -> io::Result<Temporary> {
        sweep(folder, prefix, "", YOUNG);
        let path = tempfile::Builder::new().prefix(prefix).tempdir_in(folder)?.keep();
        // Unix opens folders like files. Elsewhere what a killed process leaves stays.
        let owner = cfg!(unix).then(|| open::folder(&path)).transpose().inspect_err(|_| remove(&path))?;
        Temporary::own(path, owner)
    }

    fn own(path: PathBuf, owner: Option<File>) -> io::Result<Temporary> {
        live().insert(path.clone());
        // From here on dropping removes it.
        let temporary = Temporary { path, _owner: owner };
        match temporary._owner.as_ref().map(File::try_lock) {
            // A file system without locks keeps what a killed process leaves.
            None | Some(Ok(()) | Err(fs::TryLockError::Error(_))) => Ok(temporary),
            Some(Err(fs::TryLockError::WouldBlock)) => {
                Err(io::Error::other("somebody else holds a new temporary file"))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut live = live();
        remove(&self.path);
        live.remove(&self.path);
    }
}

/// Removes all that this process has made and not dropped: for the handler of a signal, before it ends the process.
pub fn remove_all() {
    std::mem::take(&mut *live()).iter().for_each(|path| remove(path));
}

/// Removes what processes that are gone have left in `folder`.
fn sweep(folder: &Path, prefix: &str, suffix: &str, young: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix));
        let Some(about) = ours.then(|| entry.metadata().ok()).flatten().filter(|about| !about.is_symlink()) else {
            continue;
        };
        let old = about.modified().is_ok_and(|when| when.elapsed().is_ok_and(|age| age >= young));
        let owner = if about.is_dir() { open::folder(&entry.path()) } else { open::file_itself(&entry.path()) };
        if old && owner.is_ok_and(|owner| owner.try_lock().is_ok()) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    // It may be gone already, and what cannot be removed is found by the next sweep.
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn live() -> std::sync::MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_filled_and_goes_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let made = Temporary::file(folder.path(), ("part-", ".onnx"), |file| file.write_all(b"x")).unwrap();
        assert_eq!(fs::read(made.path()).unwrap(), b"x");
        drop(made);
        assert_eq!(names(folder.path()), 0);
        let failed = Temporary::file(folder.path(), ("part-", ".onnx"), |_| Err(io::Error::other("full")));
        assert!(failed.is_err() && names(folder.path()) == 0);
    }

    #[test]
    fn what_a_dead_owner_left_is_swept_and_what_a_living_one_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let living = Temporary::folder(folder.path(), ".x.tuning-").unwrap();
        let dead = folder.path().join(".x.tuning-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("1.onnx"), "x").unwrap();
        let other = folder.path().join(".y.tuning-notes");
        fs::create_dir(&other).unwrap();
        sweep(folder.path(), ".x.tuning-", "", Duration::from_secs(600));
        assert!(dead.exists(), "it is young");
        sweep(folder.path(), ".x.tuning-", "", Duration::ZERO);
        assert!(!dead.exists());
        assert!(living.path().exists(), "its owner lives");
        assert!(other.exists(), "it is called otherwise");
    }
}
