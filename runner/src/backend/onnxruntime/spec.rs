//! What a worker is told to load: library, provider, threads, model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::provider::Provider;
use super::runtime::find::Library;

/// What is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An ONNX file.
    File(PathBuf),
    /// A convolution network of four nodes made in memory, to find out whether a provider works at all.
    Probe,
    /// The operators whose results are known, see [`super::known`].
    Known,
}

/// Threads and further settings of the session, the same for every provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOptions {
    /// Threads that share one node's work.
    pub intra_op_threads: usize,
    /// Threads that run nodes side by side; used only where the session runs nodes in parallel.
    pub inter_op_threads: usize,
    /// Session configuration in onnxruntime's own keys (`session.intra_op.allow_spinning`); wins over ours.
    pub config: BTreeMap<String, String>,
}

/// All that loading a model on a provider needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The onnxruntime library.
    pub library: Library,
    /// The provider and its options.
    pub provider: Provider,
    /// Threads and session configuration.
    pub session: SessionOptions,
    /// The model.
    pub model: Source,
    /// The outputs that a run gives; all tensors of a type that is moved where nothing is said.
    pub outputs: Option<Vec<String>>,
    /// Shapes of inputs that were asked for, by name: the first run has them too.
    #[serde(default)]
    pub shapes: BTreeMap<String, Vec<Option<usize>>>,
    /// Accept nodes on other providers than the one asked for.
    pub allow_fallback: bool,
    /// Let onnxruntime's warnings through to standard error.
    pub verbose: bool,
}
