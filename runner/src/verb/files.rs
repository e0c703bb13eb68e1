//! From results to files and an exit code.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::input::arrays;
use crate::input::arrays::ArrayError;
use crate::model::file::ModelFile;
use crate::model::tensor::Tensor;
use onnx_file::atomic::AtomicFile;
use onnx_file::open;

use crate::exit::Failure;
use onnx_file::exit::Exit;

/// Writes a file whole or not at all; a pipe or a device as it is.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    tracing::debug!(file = %path.display(), bytes = content.len(), "writing");
    let written = || {
        // Renaming over a device would take its place.
        if fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            return open::for_writing(path)?.write_all(content);
        }
        let mut file = AtomicFile::create(path)?;
        file.write_all(content)?;
        file.commit()
    };
    written().map_err(|error| Failure::new(Exit::Output, format!("cannot write {}: {error}", path.display())))
}

/// Makes the folder that a file is to lie in.
pub(crate) fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path)
        .map_err(|error| Failure::new(Exit::Output, format!("cannot make the folder {}: {error}", path.display())))
}

/// Keeps arrays in a file.
pub(crate) fn save(path: Option<&Path>, tensors: &[Tensor]) -> Result<(), Failure> {
    path.map_or(Ok(()), |path| {
        arrays::save(path, tensors).map_err(|error| {
            let exit = if matches!(error, ArrayError::Write { .. }) { Exit::Output } else { Exit::Usage };
            Failure::new(exit, error.to_string())
        })
    })
}

/// The arrays of a file that the inputs of `models` are named after, or the only one.
pub(crate) fn load_inputs(path: &Path, models: &[ModelFile]) -> Result<Vec<Tensor>, Failure> {
    let names = models.iter().flat_map(|model| &model.inputs).map(|input| input.name.as_str()).collect();
    arrays::load_named(path, &names).map_err(|error| Failure::new(Exit::BadInput, error.to_string()))
}

/// All arrays of a file.
pub(crate) fn load(path: &Path) -> Result<Vec<Tensor>, Failure> {
    arrays::load(path).map_err(|error| Failure::new(Exit::BadInput, error.to_string()))
}
