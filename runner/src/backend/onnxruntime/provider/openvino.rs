//! Intel's OpenVINO, which comes as a plugin provider and takes its own settings as a JSON map, `load_config`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Arithmetic that OpenVINO is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision, as the file says.
    F32,
    /// bfloat16 where the processor has it.
    Bf16,
    /// Half precision where the processor has it.
    F16,
}

impl Precision {
    fn hint(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }
}

/// Options of the OpenVINO provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenVino {
    /// Device, as OpenVINO names it: `CPU`, `GPU`, `NPU`.
    pub device: String,
    /// Arithmetic. Single precision: left alone, OpenVINO computes in bf16 wherever the processor advertises it, which
    /// changes the numbers and, on virtual machines that advertise what they do not grant, kills the process.
    pub precision: Precision,
    /// Threads; the session's number if none, so that providers are compared on the same.
    pub threads: Option<usize>,
    /// Parallel streams. One: a request at a time gets all threads, which is what latency is measured on.
    pub streams: usize,
    /// `load_config` as typed by the user, laid over ours key by key.
    pub load_config: Map<String, Value>,
    /// Further options in OpenVINO's provider's own keys.
    pub verbatim: BTreeMap<String, String>,
}

impl Default for OpenVino {
    fn default() -> OpenVino {
        OpenVino {
            device: "CPU".to_owned(),
            precision: Precision::F32,
            threads: None,
            streams: 1,
            load_config: Map::new(),
            verbatim: BTreeMap::new(),
        }
    }
}

impl OpenVino {
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "device_type" => self.device = value.to_owned(),
            "load_config" => {
                self.load_config = serde_json::from_str(value)
                    .map_err(|error| format!(r#"it must be JSON such as {{"CPU":{{"NUM_STREAMS":"2"}}}}: {error}"#))?;
            }
            _ => {
                self.verbatim.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        let mut device = json!({
            "INFERENCE_PRECISION_HINT": self.precision.hint(),
            "NUM_STREAMS": self.streams.to_string(),
            "PERFORMANCE_HINT": "LATENCY",
        });
        if let Some(threads) = self.threads.filter(|_| self.device == "CPU") {
            device["INFERENCE_NUM_THREADS"] = json!(threads.to_string());
        }
        let mut config = json!({ &self.device: device });
        lay_over(&mut config, &Value::Object(self.load_config.clone()));
        let typed = [("load_config", config.to_string()), ("device_type", self.device.clone())];
        super::setting::overlaid(typed, &self.verbatim)
    }
}

/// Lays `over` on `base`, maps key by key, anything else whole.
fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_config_changes_what_it_names_and_nothing_else() {
        let mut openvino = OpenVino { threads: Some(3), ..OpenVino::default() };
        openvino.set("load_config", r#"{"CPU":{"INFERENCE_PRECISION_HINT":"bf16"}}"#).expect("JSON");
        let config: Value = serde_json::from_str(&openvino.settings()["load_config"]).expect("JSON");
        assert_eq!(config["CPU"]["INFERENCE_PRECISION_HINT"], "bf16");
        assert_eq!(config["CPU"]["INFERENCE_NUM_THREADS"], "3");
        assert!(openvino.set("load_config", "bf16").is_err());
    }
}
