//! Whether an installation is still what it was: a list of its files with their SHA-256 and sizes, written with them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use onnx_file::{digest, open};

use super::find::{self, LIST};

/// How closely files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Their sizes, which takes no time.
    Sizes,
    /// Every byte.
    Contents,
}

/// What is wrong with an installation.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// No library for this platform is in it.
    #[error("it holds no onnxruntime library")]
    NoLibrary,
    /// A file has gone or cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what was installed.
    #[error("{} is not what was installed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The list of files does not parse.
    #[error("line {line} of its list of files, {}, is none", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Writes the list of all files below `folder`.
///
/// # Errors
/// What the system says of a file.
pub(crate) fn list(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    below(folder, &mut files)?;
    files.sort();
    let mut text = Vec::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file);
        let (sha256, size) = (digest::file(&file)?, fs::metadata(&file)?.len());
        writeln!(text, "{sha256} {size} {}", name.to_string_lossy().replace('\\', "/"))?;
    }
    fs::write(folder.join(LIST), text)
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { below(&entry.path(), files)? } else { files.push(entry.path()) }
    }
    Ok(())
}

/// Compares the files of the installation in `folder` with its list. Without a list, which versions before wrote none,
/// that a library is there is all that can be told.
///
/// # Errors
/// The first [`Damage`] found.
pub fn check(folder: &Path, look: Look) -> Result<(), Damage> {
    if find::in_folder(&folder.join("onnxruntime").join("capi")).is_none() {
        return Err(Damage::NoLibrary);
    }
    let path = folder.join(LIST);
    let text = match open::read_text(&path, open::SMALL) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| Damage::Unreadable { path: path.clone(), source })?,
    };
    for (at, line) in text.lines().enumerate() {
        let malformed = || Damage::List { path: path.clone(), line: at + 1 };
        let mut parts = line.splitn(3, ' ');
        let (Some(sha256), Some(size), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let size: u64 = size.parse().map_err(|_| malformed())?;
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(malformed());
        }
        let file = folder.join(name);
        let unreadable = |source| Damage::Unreadable { path: file.clone(), source };
        let is_as_long = fs::metadata(&file).map_err(unreadable)?.len() == size;
        if !is_as_long || (look == Look::Contents && digest::file(&file).map_err(unreadable)? != sha256) {
            return Err(Damage::Changed { path: file });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let capi = folder.path().join("onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        let name = if cfg!(windows) {
            "onnxruntime.dll"
        } else if cfg!(target_os = "macos") {
            "libonnxruntime.1.32.0.dylib"
        } else {
            "libonnxruntime.so.1.32.0"
        };
        let library = capi.join(name);
        fs::write(&library, "library").unwrap();
        fs::write(folder.path().join("LICENSE"), "free").unwrap();
        (folder, library)
    }

    #[test]
    fn whatever_happens_to_a_file_is_found() {
        let (folder, library) = installation();
        check(folder.path(), Look::Sizes).unwrap();
        list(folder.path()).unwrap();
        check(folder.path(), Look::Sizes).unwrap();
        fs::write(&library, "").unwrap();
        assert!(matches!(check(folder.path(), Look::Sizes), Err(Damage::Changed { path }) if path == library));
        fs::write(&library, "lubrary").unwrap();
        check(folder.path(), Look::Sizes).unwrap();
        assert!(matches!(check(folder.path(), Look::Contents), Err(Damage::Changed { path }) if path == library));
        fs::write(&library, "library").unwrap();
        check(folder.path(), Look::Contents).unwrap();
        fs::remove_file(folder.path().join("LICENSE")).unwrap();
        assert!(matches!(check(folder.path(), Look::Sizes), Err(Damage::Unreadable { .. })));
        fs::write(folder.path().join(LIST), "of nothing\n").unwrap();
        assert!(matches!(check(folder.path(), Look::Sizes), Err(Damage::List { line: 1, .. })));
        fs::write(folder.path().join(LIST), format!("{} 1 ../x\n", "0".repeat(64))).unwrap();
        assert!(matches!(check(folder.path(), Look::Sizes), Err(Damage::List { line: 1, .. })));
        fs::remove_file(library).unwrap();
        assert!(matches!(check(folder.path(), Look::Sizes), Err(Damage::NoLibrary)));
    }
}
