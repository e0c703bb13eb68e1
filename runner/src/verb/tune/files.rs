//! The candidates' files, beside the output while they are measured, and the original's where it wins.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use onnx_file::atomic::AtomicFile;
use onnx_file::outline::data_files;
use onnx_file::temporary::Temporary;
use onnx_file::{beside, open};
use resnext_builder::build::External;
use resnext_builder::optimize::Model;
use resnext_builder::target::Rationale;

use super::result::{Choice, TuneError};
use crate::model::file::ModelFile;

/// A folder of its own that goes when it is dropped.
pub(crate) struct Folder(Temporary);

impl Folder {
    /// Makes a folder that nobody else has, `.NAME.tuning-` and a random end, beside `output`.
    pub(crate) fn make(output: &Path) -> Result<Folder, TuneError> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let beside = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = Temporary::folder(beside, &format!(".{name}.tuning-"));
        made.map(Folder).map_err(|source| TuneError::Write { path: beside.display().to_string(), source })
    }

    /// Writes `model` lowered in this way.
    pub(crate) fn write(&self, model: &Model, choice: &Choice) -> Result<PathBuf, TuneError> {
        let mut text: Vec<String> = choice.widths.iter().map(ToString::to_string).collect();
        text.extend(choice.subsample.then(|| "dense".to_owned()));
        let path = self.0.path().join(format!("{}.onnx", text.join("-")));
        model.clone().lower(&choice.lowering(), &Rationale::default(), &path, External::Auto)?;
        Ok(path)
    }

    /// Removes the files of a round that is over; what cannot be removed goes with the folder.
    pub(crate) fn clear(&self) {
        let entries = fs::read_dir(self.0.path()).into_iter().flatten().flatten();
        entries.for_each(|entry| drop(fs::remove_file(entry.path())));
    }
}

/// Copies a model byte for byte, and the files that hold its weights to beside the copy, under the names that the model
/// calls them by. Each file appears whole or not at all, the model last.
///
/// # Errors
/// The file and what the system says of it.
pub fn copy_model(model: &ModelFile, output: &Path) -> Result<(), (PathBuf, io::Error)> {
    for name in data_files(&model.graph) {
        let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(name).components().all(is_plain) {
            let climbs = io::Error::new(io::ErrorKind::InvalidInput, "a name that leads out of a folder is not copied");
            return Err((PathBuf::from(name), climbs));
        }
        let source = beside::open(&model.path, name).map_err(|error| (PathBuf::from(name), io::Error::other(error)))?;
        let to = output.with_file_name("").join(name);
        if !same_file(&model.path.with_file_name("").join(name), &to) {
            copy(source, &to)?;
        }
    }
    if same_file(&model.path, output) {
        return Ok(());
    }
    copy(open::file(&model.path).map_err(|error| (model.path.clone(), error))?, output)
}

/// Whether both paths lead to one file that is there.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn copy(mut source: File, to: &Path) -> Result<(), (PathBuf, io::Error)> {
    let mut written = || {
        if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut file = AtomicFile::create(to)?;
        io::copy(&mut source, &mut file)?;
        file.commit()
    };
    written().map_err(|error| (to.to_owned(), error))
}
