//! The JSON files that lie beside weights: how to prepare images, and what the classes are called.

use std::io;
use std::path::{Path, PathBuf};

use onnx_file::metadata::foreign::config_labels;
pub use onnx_file::metadata::foreign::{labels, preprocess};
use onnx_file::metadata::{Labels, Preprocess};
use onnx_file::open;
use serde_json::Value;

use crate::checkpoint::WEIGHT_FILES;
use crate::variant::{Variant, VariantError};

/// What may lie beside weights and says how to use them.
pub const SIDECARS: [&str; 2] = ["config.json", "preprocessor_config.json"];

/// What lies beside a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sidecar {
    /// Preprocessing, and the file that says it.
    pub preprocess: Option<(Preprocess, PathBuf)>,
    /// Labels, and the file that says them.
    pub labels: Option<(Labels, PathBuf)>,
    /// Whether the stride sits in the first 1x1 (transformers' `downsample_in_bottleneck`).
    pub stride_in_1x1: bool,
    /// What the network computes otherwise than one of the family with the same tensors, and the file that says so.
    pub otherwise: Option<(Otherwise, PathBuf)>,
}

/// A file beside the weights that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}; it says how the weights are meant: correct it, or take the weights out of its folder", file.display())]
pub struct SidecarError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// What no tensor shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Otherwise {
    /// Another architecture by its name.
    #[error("the network is '{name}', another architecture ({difference})")]
    Architecture {
        /// Its name.
        name: String,
        /// What it has that the family has not.
        difference: &'static str,
    },
    /// A setting.
    #[error("`{key}` is {value}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
    },
}

impl Sidecar {
    /// Reads what lies beside the weights `path`: a folder, or a file that hubs give to one. What is not there, or says
    /// nothing of this, is left out.
    ///
    /// # Errors
    /// [`SidecarError`] for a file that is there and is no JSON: it may say that the network is another than it seems.
    pub fn beside(path: &Path) -> Result<Self, SidecarError> {
        let Some(folder) = folder_of(path) else { return Ok(Self::default()) };
        let read = |name: &str| {
            let file = folder.join(name);
            let text = match open::read_text(&file, open::SMALL) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                read => read.map_err(|error| error.to_string()),
            };
            match text.and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string())) {
                Ok(value) => Ok(Some((file, value))),
                Err(reason) => Err(SidecarError { file, reason }),
            }
        };
        let mut found = Self::default();
        for name in SIDECARS.iter().rev() {
            let Some((file, value)) = read(name)? else { continue };
            if found.preprocess.is_none() {
                found.preprocess = preprocess(&value).map(|preprocess| (preprocess, file.clone()));
            }
            if found.labels.is_none() {
                found.labels = config_labels(&value).map(|labels| (labels, file.clone()));
            }
            if found.otherwise.is_none() {
                found.otherwise = otherwise(&value).map(|otherwise| (otherwise, file.clone()));
            }
            found.stride_in_1x1 |= value["downsample_in_bottleneck"].as_bool().unwrap_or(false);
        }
        Ok(found)
    }
}

/// The folder whose files say how the weights `path` are meant.
fn folder_of(path: &Path) -> Option<&Path> {
    let named = path.file_name().is_some_and(|name| WEIGHT_FILES.iter().any(|whole| name == *whole));
    match (path.is_dir(), named) {
        (true, _) => Some(path),
        (false, true) => Some(path.parent().unwrap_or(Path::new(""))),
        (false, false) => None,
    }
}

/// The files that [`Sidecar::beside`] looks for.
pub fn files_beside(path: &Path) -> impl Iterator<Item = PathBuf> {
    folder_of(path).into_iter().flat_map(|folder| SIDECARS.map(|name| folder.join(name)))
}

/// timm's name of the architecture, and what timm's arguments and transformers' configuration of a ResNet may set that leaves
/// no trace in names and shapes.
fn otherwise(config: &Value) -> Option<Otherwise> {
    if let Some(name) = config.get("architecture").and_then(Value::as_str)
        && let Err(VariantError::OtherArchitecture { difference, .. }) = Variant::parse(name)
    {
        return Some(Otherwise::Architecture { name: name.to_owned(), difference });
    }
    let usual = |key: &str, value: &Value| match key {
        "hidden_act" | "act_layer" => value.as_str().is_some_and(|name| name.eq_ignore_ascii_case("relu")),
        "downsample_in_first_stage" => *value == Value::Bool(false),
        "output_stride" => value.as_u64() == Some(32),
        "global_pool" => value.as_str() == Some("avg"),
        _ => false,
    };
    let of = |source: &Value, keys: &[&'static str]| {
        keys.iter().find_map(|key| {
            let value = source.get(key).filter(|value| !value.is_null() && !usual(key, value))?;
            Some(Otherwise::Setting { key, value: value.to_string() })
        })
    };
    let arguments = config.get("model_args").unwrap_or(&Value::Null);
    let transformers = of(config, &["hidden_act", "downsample_in_first_stage"]);
    transformers.or_else(|| of(arguments, &["act_layer", "aa_layer", "output_stride", "global_pool"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_beside_the_weights_that_is_no_json_is_an_error_and_one_that_says_nothing_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, config) = (folder.path().join("model.safetensors"), folder.path().join("config.json"));
        assert_eq!(Sidecar::beside(&weights).unwrap(), Sidecar::default(), "there is none");
        for broken in [&b"{\"architecture\": \"resnetblur50\""[..], b"\xff\xfe"] {
            std::fs::write(&config, broken).unwrap();
            let error = Sidecar::beside(&weights).unwrap_err();
            assert!(error.file == config && error.to_string().contains("config.json"), "{error}");
            assert!(Sidecar::beside(folder.path()).is_err());
        }
        // What a training script keeps of itself names no classes, and neither do numbers.
        for config_of_training in [r#"{"seed": 0}"#, r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#] {
            std::fs::write(&config, config_of_training).unwrap();
            assert_eq!(Sidecar::beside(&weights).unwrap(), Sidecar::default(), "{config_of_training}");
        }
        std::fs::write(&config, r#"{"id2label": {"0": "cat", "1": "dog"}}"#).unwrap();
        assert_eq!(Sidecar::beside(&weights).unwrap().labels.unwrap().0.names, ["cat", "dog"]);
    }

    #[test]
    fn what_no_tensor_shows_is_seen_in_the_configuration() {
        for json in [
            json!({"architecture": "resnetblur50"}),
            json!({"architecture": "resnetaa50", "num_classes": 10}),
            json!({"model_type": "resnet", "hidden_act": "gelu"}),
            json!({"downsample_in_first_stage": true}),
            json!({"architecture": "resnet50", "model_args": {"output_stride": 8}}),
            json!({"architecture": "resnet50", "model_args": {"act_layer": "silu"}}),
        ] {
            assert!(otherwise(&json).is_some(), "{json}");
        }
        for json in [
            json!({"architecture": "resnet50", "model_args": {"num_classes": 3, "global_pool": "avg"}}),
            json!({"architecture": "my_own_net"}),
            json!({"model_type": "resnet", "hidden_act": "relu", "downsample_in_first_stage": false}),
            json!({}),
        ] {
            assert_eq!(otherwise(&json), None, "{json}");
        }
    }
}
