//! Which files a model may name: those that lie in its own folder, or below it.
//!
//! A model says where its weights or other contents lie, and whoever opens it reads that file. Names that climb out of
//! the folder, or links that lead out of it, would put any file of the reader's into what is computed or written. What
//! counts is where a name leads in the end: `./x` and `sub/../x` are fine, and so is a folder of links into a store
//! where the model and its data lie side by side, as in the cache of Hugging Face.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::open;

/// Why a file that a model names may not be read.
#[derive(Debug, thiserror::Error)]
pub enum BesideError {
    /// Not a relative name.
    #[error("lies at '{location}', which is not relative to the model's folder: refused")]
    Absolute {
        /// The name.
        location: String,
    },
    /// It leads elsewhere.
    #[error("at '{location}' lies outside the model's folder {folder}: refused; put the file itself there")]
    Outside {
        /// The name.
        location: String,
        /// The folder that the model lies in, links followed.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("at '{location}' cannot be read: {source}")]
    Io {
        /// The name.
        location: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The real path of what the model at `model` calls `location`, if the model may name it: it lies in the folder that the
/// model itself really lies in. The name is relative to the folder that `model` gives, or else to the real one.
///
/// # Errors
/// [`BesideError`].
pub fn resolve(model: &Path, location: &str) -> Result<PathBuf, BesideError> {
    let io = |source| BesideError::Io { location: location.into(), source };
    let name = Path::new(location);
    if name.has_root() || name.is_absolute() {
        return Err(BesideError::Absolute { location: location.into() });
    }
    let real = model.canonicalize().map_err(io)?;
    let folder = real.parent().unwrap_or(&real);
    let given = model.with_file_name("").join(name);
    let found = match given.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder.join(name).canonicalize().map_err(|_| error),
        found => found,
    };
    let found = found.map_err(io)?;
    if found.starts_with(folder) {
        Ok(found)
    } else {
        Err(BesideError::Outside { location: location.into(), folder: folder.to_owned() })
    }
}

/// Opens what the model at `model` calls `location`, a regular file that [`resolve`] allows.
///
/// # Errors
/// [`BesideError`].
pub fn open(model: &Path, location: &str) -> Result<File, BesideError> {
    let path = resolve(model, location)?;
    // The real path holds no link: one that takes its place meanwhile is not followed.
    open::file_itself(&path).map_err(|source| BesideError::Io { location: location.into(), source })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A store as that of Hugging Face, and a secret beside all of it.
    fn store() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["blobs", "snapshots/1/sub", "out"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["blobs/m", "blobs/w", "out/secret", "snapshots/1/own.onnx", "snapshots/1/w2", "snapshots/1/sub/w3"]
        {
            fs::write(at(name), name).unwrap();
        }
        symlink("../../blobs/m", at("snapshots/1/m.onnx")).unwrap();
        symlink("../../blobs/w", at("snapshots/1/w.data")).unwrap();
        symlink("../../out", at("snapshots/1/linked")).unwrap();
        symlink("../../out/secret", at("snapshots/1/secret")).unwrap();
        symlink("w2", at("snapshots/1/inner")).unwrap();
        folder
    }

    #[test]
    fn what_lies_in_the_models_real_folder_is_read_however_it_is_called() {
        let store = store();
        let model = store.path().join("snapshots/1/own.onnx");
        for (location, content) in [
            ("w2", "snapshots/1/w2"),
            ("./w2", "snapshots/1/w2"),
            ("sub/../w2", "snapshots/1/w2"),
            ("sub/w3", "snapshots/1/sub/w3"),
            ("inner", "snapshots/1/w2"),
            ("../1/w2", "snapshots/1/w2"),
        ] {
            let text = io::read_to_string(open(&model, location).unwrap()).unwrap();
            assert_eq!(text, content, "{location}");
        }
        let linked = store.path().join("snapshots/1/m.onnx");
        assert_eq!(io::read_to_string(open(&linked, "w.data").unwrap()).unwrap(), "blobs/w");
        assert_eq!(io::read_to_string(open(&linked, "w").unwrap()).unwrap(), "blobs/w", "beside the real model");
    }

    #[test]
    fn what_leads_outside_is_refused_however_it_is_called() {
        let store = store();
        let model = store.path().join("snapshots/1/own.onnx");
        for location in ["../../out/secret", "linked/secret", "secret", "sub/../linked/secret", "w.data", ".."] {
            assert!(matches!(open(&model, location), Err(BesideError::Outside { .. })), "{location}");
        }
        let absolute = store.path().join("snapshots/1/w2");
        assert!(matches!(open(&model, absolute.to_str().unwrap()), Err(BesideError::Absolute { .. })));
        let linked = store.path().join("snapshots/1/m.onnx");
        assert!(matches!(open(&linked, "w2"), Err(BesideError::Outside { .. })), "the model itself lies elsewhere");
        for location in ["", ".", "sub", "absent", "w2/x"] {
            assert!(matches!(open(&model, location), Err(BesideError::Io { .. })), "{location}");
        }
    }
}
