//! From results to files and an exit code.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use onnx_file::atomic::AtomicFile;
use resnext_runner::input::arrays::{self, ArrayError};
use resnext_runner::model::ModelError;
use resnext_runner::tensor::Tensor;

use crate::terminal::Failure;
use onnx_file::exit::Exit;

/// What an error calls for.
pub(super) fn exit_of(error: &ModelError) -> Exit {
    Failure::from(error.clone()).exit
}

/// The exit code of a result: a mismatch before a refused fallback before a provider that gave no result before an
/// input that does not suit.
pub(super) fn exit_code(mismatch: bool, exits: impl Iterator<Item = Exit>) -> ExitCode {
    if mismatch {
        return Exit::Mismatch.into();
    }
    let rank = |exit: &Exit| match exit {
        Exit::Fallback => 0,
        Exit::Unavailable => 1,
        _ => 2,
    };
    exits.min_by_key(rank).unwrap_or(Exit::Success).into()
}

/// Writes a file whole or not at all; a pipe or a device as it is.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = || {
        // Renaming over a device would take its place.
        if fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            return fs::write(path, content);
        }
        let mut file = AtomicFile::create(path)?;
        file.write_all(content)?;
        file.commit()
    };
    written().map_err(|error| Failure::new(Exit::Output, format!("cannot write {}: {error}", path.display())))
}

/// Makes the folder that a file is to lie in.
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path)
        .map_err(|error| Failure::new(Exit::Output, format!("cannot make the folder {}: {error}", path.display())))
}

/// Keeps arrays in a file.
pub(super) fn save(path: Option<&Path>, tensors: &[Tensor]) -> Result<(), Failure> {
    path.map_or(Ok(()), |path| {
        arrays::save(path, tensors).map_err(|error| {
            let exit = if matches!(error, ArrayError::Write { .. }) { Exit::Output } else { Exit::Usage };
            Failure::new(exit, error.to_string())
        })
    })
}

/// Arrays of a file.
pub(super) fn load(path: &Path) -> Result<Vec<Tensor>, Failure> {
    arrays::load(path).map_err(|error| Failure::new(Exit::BadInput, error.to_string()))
}
