//! Results that were kept, read again: the JSON of a verb, of this schema version or an earlier one.
//!
//! They come from anywhere, so they are read with limits, and nothing in them is believed beyond its type.

pub mod bench;
pub mod calibration;
pub mod compare;
pub mod eval;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use onnx_file::open;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::html;

/// Most values of one file: what a file of the greatest length could hold instead takes all memory.
const MOST_VALUES: usize = 19_000_000;

/// Which verb a result is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Classes of images.
    Infer,
    /// Outputs of providers and models, number by number.
    Compare,
    /// Latency and throughput.
    Bench,
    /// Accuracy.
    Eval,
    /// The fastest lowering.
    #[serde(rename = "tuning")]
    Tune,
    /// Ranges.
    #[serde(rename = "calibration")]
    Calibrate,
    /// What an int8 file loses.
    Quantize,
    /// What works here.
    Doctor,
    /// Whether a measurement is a regression.
    Gate,
}

impl Kind {
    /// The newest version of its JSON that is read.
    pub fn newest(self) -> u64 {
        match self {
            Kind::Quantize | Kind::Gate => 1,
            _ => 2,
        }
    }
}

/// A result that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Which verb it is of.
    pub kind: Kind,
    /// Version of its shape.
    pub schema_version: u64,
    /// All of it, fields in their order.
    pub value: Value,
    /// As it was written.
    pub text: String,
}

/// What a page leaves out of a result where there is no space for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// The raw samples of a measurement.
    Samples,
    /// The histograms of a calibration.
    Histograms,
}

/// The field of an embedded result that names what was left out of it.
const LEFT_OUT: &str = "left_out";

/// Why a file gives no result.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system does not give it.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no JSON.
    #[error("{}: it is no JSON ({source}); give what `--export-json` wrote", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it ends to be.
        source: serde_json::Error,
    },
    /// It is JSON, but no result of this program, or not of the kind that is needed.
    #[error("{}: {reason}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl RecordError {
    fn other(path: &Path, reason: impl Into<String>) -> RecordError {
        RecordError::Other { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// Reads the result in a file.
///
/// # Errors
/// [`RecordError`], which names the file.
pub fn read(path: &Path) -> Result<Record, RecordError> {
    parse(path, &text(path)?)
}

/// Reads every result in a file: one, or those of a report page.
///
/// # Errors
/// [`RecordError`], which names the file.
pub fn read_all(path: &Path) -> Result<Vec<Record>, RecordError> {
    let text = text(path)?;
    if !text.starts_with(html::BEGINS) {
        return Ok(vec![parse(path, &text)?]);
    }
    let data = html::data(&text);
    if data.is_empty() {
        return Err(RecordError::other(path, "it is a page, but no report of this program: it holds no results"));
    }
    data.into_iter().map(|(name, json)| parse(Path::new(&name), json)).collect()
}

fn text(path: &Path) -> Result<String, RecordError> {
    let read = |source| RecordError::Read { path: path.to_path_buf(), source };
    open::read_text(path, open::SMALL).map_err(read)
}

/// The result that `text` from `path` is.
///
/// # Errors
/// As for [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Record, RecordError> {
    // Each value but the first stands behind one of these.
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count();
    if values > MOST_VALUES {
        return Err(RecordError::other(path, format!("it holds more than {MOST_VALUES} values; no result does")));
    }
    let json = |source| RecordError::Json { path: path.to_path_buf(), source };
    let value: Value = serde_json::from_str(text).map_err(json)?;
    let no_result = "it is JSON, but no result of this program: it has no `kind` and `schema_version`";
    let no_result = || RecordError::other(path, no_result);
    let name = value.get("kind").and_then(Value::as_str).ok_or_else(no_result)?;
    let schema_version = value.get("schema_version").and_then(Value::as_u64).ok_or_else(no_result)?;
    let kind: Kind = serde_json::from_value(Value::from(name))
        .map_err(|_| RecordError::other(path, format!("results of kind {name} are not known here")))?;
    let newest = kind.newest();
    if !(1..=newest).contains(&schema_version) {
        let text = format!("its schema version is {schema_version}, and this program reads up to {newest}");
        return Err(RecordError::other(path, format!("{text}; use the version of `resnext-run` that wrote it")));
    }
    Ok(Record { path: path.to_path_buf(), kind, schema_version, value, text: text.to_owned() })
}

impl Record {
    /// What a page left out of it; nothing where it is as the verb wrote it.
    pub fn left_out(&self) -> BTreeSet<LeftOut> {
        self.value.get(LEFT_OUT).and_then(|found| BTreeSet::deserialize(found).ok()).unwrap_or_default()
    }

    /// Leaves that out where the result has it, and says so in the result.
    pub fn leave_out(&mut self, what: LeftOut) {
        let (list, field) = match what {
            LeftOut::Samples => ("rows", "blocks"),
            LeftOut::Histograms => ("values", "histogram"),
        };
        let mut had_any = false;
        for of in self.value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let is_there =
                |found: &&mut Value| !found.is_null() && found.as_array().is_none_or(|list| !list.is_empty());
            let Some(found) = of.get_mut(field).filter(is_there) else { continue };
            *found = if found.is_array() { Value::Array(Vec::new()) } else { Value::Null };
            had_any = true;
        }
        if had_any && let Some(object) = self.value.as_object_mut() {
            let names = object.entry(LEFT_OUT).or_insert_with(|| Value::Array(Vec::new()));
            let name = serde_json::to_value(what).unwrap_or_default();
            if let Some(names) = names.as_array_mut().filter(|names| !names.contains(&name)) {
                names.push(name);
            }
        }
    }

    /// The record as the data of its kind.
    ///
    /// # Errors
    /// [`RecordError::Other`] where it has not the fields of its kind, or is of another.
    pub fn typed<T: serde::de::DeserializeOwned>(&self, kind: Kind, verb: &str) -> Result<T, RecordError> {
        if self.kind != kind {
            return Err(RecordError::other(&self.path, format!("it is no result of `{verb}`")));
        }
        // The error would hold the value that was found instead, whatever that is; the place is enough.
        T::deserialize(&self.value)
            .map_err(|error| RecordError::other(&self.path, format!("it is no whole result of `{verb}`: {error}")))
    }
}

/// Data of this program as the type that kept results are read into.
///
/// # Errors
/// serde's, where the two have grown apart.
pub fn typed_value<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("r.json"), text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_result_is_refused_with_what_it_is() {
        assert!(refusal("").contains("it is no JSON"));
        assert!(refusal("[1, 2]").contains("no `kind`"));
        assert!(refusal(r#"{"kind":"bench"}"#).contains("no `kind` and `schema_version`"));
        assert!(refusal(r#"{"kind":"x\u001b","schema_version":1}"#).contains("not known here"));
        assert!(refusal(r#"{"kind":"bench","schema_version":3}"#).contains("reads up to 2"));
        assert!(refusal(r#"{"kind":"bench","schema_version":0}"#).contains("version is 0"));
        assert!(refusal(&format!("[{}1]", "[],".repeat(10_000_000))).contains("values"));
        assert!(refusal(&"[".repeat(100_000)).contains("no JSON"), "depth has a limit");
        let record = parse(Path::new("r.json"), r#"{"kind":"compare","schema_version":2}"#).unwrap();
        assert_eq!(record.kind, Kind::Compare);
        let error = record.typed::<Value>(Kind::Bench, "bench").unwrap_err();
        assert_eq!(error.to_string(), "r.json: it is no result of `bench`");
    }
}
