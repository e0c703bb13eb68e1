//! The name of a data file, where one is asked for.

use std::path::{Path, PathBuf};

use crate::assemble::error::BuildError;

/// A data file's name that was asked for: one plain name in the model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataName(String);

impl std::fmt::Display for DataName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl DataName {
    /// The name `text`.
    ///
    /// # Errors
    /// [`BuildError::Request`] for what is no plain file name on every system.
    pub fn parse(text: &str) -> Result<Self, BuildError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-+ ".contains(c);
        let ends = |text: &str| text.starts_with(['.', ' ']) || text.ends_with(['.', ' ']);
        if text.is_empty() || text.len() > 200 || ends(text) || !text.chars().all(plain) {
            let text = text.escape_debug();
            return Err(BuildError::Request(format!(
                "--external-data-name {text} is no plain file name; the data lies beside the model, so give a name without folders, such as model.onnx_data"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// The data file of a model at `path`.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        path.with_file_name(&self.0)
    }
}
