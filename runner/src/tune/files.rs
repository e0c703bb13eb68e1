//! The candidates' files, beside the output while they are measured.

use std::fs;
use std::path::{Path, PathBuf};

use resnext_builder::build::External;
use resnext_builder::optimize::Model;
use resnext_builder::passes::{Lowering, Width};
use resnext_builder::target::Chosen;

use super::TuneError;

/// A folder of its own that goes when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder `.NAME.tuning` beside `output`.
    pub(super) fn make(output: &Path) -> Result<Folder, TuneError> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let folder = output.with_file_name(format!(".{name}.tuning"));
        let write = |source| TuneError::Write { path: folder.display().to_string(), source };
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(write)?;
        }
        fs::create_dir(&folder).map_err(write)?;
        Ok(Folder(folder))
    }

    /// Writes `model` once for each set of widths; for the first, the original's own path is given back.
    pub(super) fn write(
        &self,
        model: &Model,
        original: &Path,
        trials: &[Vec<usize>],
    ) -> Result<Vec<PathBuf>, TuneError> {
        let mut paths = vec![original.to_owned()];
        for widths in &trials[1..] {
            let text: Vec<String> = widths.iter().map(ToString::to_string).collect();
            let path = self.0.join(format!("{}.onnx", text.join("-")));
            let model = model.clone();
            model.lower(&lowering(widths), &Chosen::default(), &path, External::Auto)?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Removes the files of a round that is over; what cannot be removed goes with the folder.
    pub(super) fn clear(&self) {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.for_each(|entry| drop(fs::remove_file(entry.path())));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The passes that give a stage its width.
pub(super) fn lowering(widths: &[usize]) -> Lowering {
    let group_widths = widths.iter().map(|&width| Width::at_least(width)).collect();
    Lowering { group_widths, ..Lowering::default() }
}
