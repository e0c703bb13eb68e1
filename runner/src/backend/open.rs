//! What every runtime has in common: it has a name, and it opens models.

use std::path::Path;

use crate::model::opened::{Model, ModelError};

/// A runtime on one provider, ready to open models.
///
/// A runtime is added as one module that implements this and [`Model`]; verbs see nothing else of it.
pub trait Backend {
    /// What the user calls it: `cpu`, `openvino`, `cuda`, ...
    fn name(&self) -> &str;

    /// Opens a model file: loads it and runs it once.
    ///
    /// # Errors
    /// [`ModelError`], which says why it gives no result.
    fn open(&self, path: &Path) -> Result<Box<dyn Model>, ModelError>;
}
