//! The checkpoints under `tests/fixtures/checkpoints/as_people_have`, made by torch, timm and transformers.

use std::path::{Path, PathBuf};

/// One of them, and the flags that it is built with.
#[derive(serde::Deserialize)]
pub(crate) struct Entry {
    pub(crate) file: String,
    /// What torch's images and logits are called.
    pub(crate) network: String,
    pub(crate) flags: Vec<String>,
}

/// Where they lie.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/as_people_have")
}

/// All that are read.
pub(crate) fn entries() -> Vec<Entry> {
    serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap()
}
