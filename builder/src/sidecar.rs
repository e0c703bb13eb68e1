//! The JSON files that lie beside weights: how to prepare images, and what the classes are called.

use std::path::{Path, PathBuf};

pub use onnx_file::metadata::foreign::{labels, preprocess};
use onnx_file::metadata::{Labels, Preprocess};
use onnx_file::open;
use serde_json::Value;

/// What lies beside a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sidecar {
    /// Preprocessing, and the file that says it.
    pub preprocess: Option<(Preprocess, PathBuf)>,
    /// Labels, and the file that says them.
    pub labels: Option<(Labels, PathBuf)>,
    /// Whether the stride sits in the first 1x1 (transformers' `downsample_in_bottleneck`).
    pub stride_in_1x1: bool,
}

/// Names of weights that stand for a whole folder.
const WHOLE: [&str; 4] =
    ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json"];

impl Sidecar {
    /// Reads what lies beside the weights `path`: a folder, or a file that hubs give to one. What is not there or not
    /// understood is left out.
    pub fn beside(path: &Path) -> Self {
        let named = path.file_name().is_some_and(|name| WHOLE.iter().any(|whole| name == *whole));
        let folder = match (path.is_dir(), named) {
            (true, _) => path,
            (false, true) => path.parent().unwrap_or(Path::new("")),
            (false, false) => return Self::default(),
        };
        let read = |name: &str| {
            let file = folder.join(name);
            let value = serde_json::from_str(&open::read_text(&file, open::SMALL).ok()?).ok()?;
            Some((file, value))
        };
        let mut found = Self::default();
        for (file, value) in ["preprocessor_config.json", "config.json"].into_iter().filter_map(read) {
            let value: Value = value;
            if found.preprocess.is_none() {
                found.preprocess = preprocess(&value).map(|preprocess| (preprocess, file.clone()));
            }
            if found.labels.is_none() {
                found.labels = labels(&value).map(|labels| (labels, file));
            }
            found.stride_in_1x1 |= value["downsample_in_bottleneck"].as_bool().unwrap_or(false);
        }
        found
    }
}
