//! onnxruntime behind [`Backend`]: each opened model is a worker process, or several that share batches.

use std::path::Path;

use super::provider::Kind;
use super::spec::{Source, Spec};
use super::worker::Launcher;
use crate::backend::open::Backend;
use crate::model::opened::{Model, ModelError};

/// One provider of one library.
pub(crate) struct OnnxRuntime<'a> {
    /// Starts the workers.
    pub(crate) launcher: &'a Launcher,
    /// Everything but the model.
    pub(crate) spec: Spec,
    /// Workers that share each batch, and the threads.
    pub(crate) copies: usize,
}

impl OnnxRuntime<'_> {
    fn kind(&self) -> Kind {
        self.spec.provider.kind()
    }
}

impl Backend for OnnxRuntime<'_> {
    fn name(&self) -> &str {
        self.kind().name()
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Model>, ModelError> {
        let mut spec = Spec { model: Source::File(path.to_path_buf()), ..self.spec.clone() };
        if self.copies == 1 {
            return self.launcher.load(&spec).map(|worker| Box::new(worker) as Box<dyn Model>);
        }
        spec.session.intra_op_threads = (spec.session.intra_op_threads / self.copies).max(1);
        self.launcher.load_copies(&spec, self.copies).map(|copies| Box::new(copies) as Box<dyn Model>)
    }
}
