//! The JSON files that lie beside weights: how to prepare images, and what the classes are called.

use std::path::{Path, PathBuf};

pub use onnx_file::metadata::foreign::{labels, preprocess};
use onnx_file::metadata::{Labels, Preprocess};
use onnx_file::open;
use serde_json::Value;

use crate::variant::{Variant, VariantError};

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
                found.labels = labels(&value).map(|labels| (labels, file.clone()));
            }
            if found.otherwise.is_none() {
                found.otherwise = otherwise(&value).map(|otherwise| (otherwise, file.clone()));
            }
            found.stride_in_1x1 |= value["downsample_in_bottleneck"].as_bool().unwrap_or(false);
        }
        found
    }
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
