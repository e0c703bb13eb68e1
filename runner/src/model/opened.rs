//! The one seam between measuring and executing: named tensors in, named tensors out.
//!
//! `infer`, `compare`, `bench`, `eval` and `calibrate` see only this trait, so that they are tested with a fake and
//! without a device; the worker process that runs onnxruntime implements it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use onnx_file::port::Port;

use resnext_builder::calibration::histogram::Histogram;

use super::coverage::Coverage;
use super::tensor::{Data, Tensor};
use crate::stats::range::Range;

/// What is known of a model once a provider has loaded it and the probe run has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Path of the ONNX file.
    pub model: String,
    /// Provider asked for: `cpu`, `openvino`, `cuda`, `tensorrt`.
    pub provider: String,
    /// Version of the onnxruntime library, as it reports it.
    pub library_version: String,
    /// Every option in force that changes numbers or speed, defaults included.
    pub options: BTreeMap<String, String>,
    /// Number of graph nodes placed on each provider, by onnxruntime's own provider name.
    pub placement: BTreeMap<String, usize>,
    /// Seconds to create the session.
    pub load_seconds: f64,
    /// Seconds of the probe run, the first run of all.
    pub first_run_seconds: f64,
}

/// Inputs and outputs of a loaded model, as whoever loaded it declares them: names, element types, shapes with open
/// dimensions. Empty where that is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The inputs.
    pub inputs: Vec<Port>,
    /// The outputs, in order.
    pub outputs: Vec<Port>,
}

/// What the clock encloses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Host tensors in, host tensors out.
    EndToEnd,
    /// Inputs and outputs bound on the device, copies outside the clock, synchronised before it stops.
    Device,
}

/// A block of consecutive timed runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What is timed.
    pub scope: Scope,
    /// The block ends after this many runs...
    pub max_runs: usize,
    /// ...or after the first run that ends later than this many seconds, whichever comes first.
    pub max_seconds: f64,
}

/// Memory of the process that runs the model, in bytes; `None` where the platform does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Peak resident set.
    pub peak_resident: Option<u64>,
    /// Device memory in use.
    pub device: Option<u64>,
}

/// Why a model gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum ModelError {
    /// The library or the provider is not available here.
    #[error("{0}")]
    Unavailable(String),
    /// Nodes were placed on another provider than the one asked for.
    #[error("{0}")]
    Fallback(String),
    /// The model file was refused.
    #[error("{0}")]
    BadModel(String),
    /// The inputs do not fit the model.
    #[error("{0}")]
    BadInput(String),
    /// The run failed inside the runtime.
    #[error("{0}")]
    Failed(String),
    /// The worker process died: the signal or exit code, and the end of what it wrote to standard error.
    #[error("{0}")]
    Crashed(String),
    /// It needs more memory than it may take.
    #[error("{0}")]
    OutOfMemory(String),
    /// The time limit passed.
    #[error("{0}")]
    TimedOut(String),
}

/// The range of one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputRange {
    /// Name of the output.
    pub name: String,
    /// Its range; `None` where it holds no floating-point numbers.
    pub range: Option<Range>,
    /// How often which magnitude occurs; `None` likewise.
    pub histogram: Option<Histogram>,
}

impl OutputRange {
    /// The range of an output of a run on a batch; `batch` as for [`Model::ranges`].
    pub fn of(output: &Tensor, batch: Part) -> OutputRange {
        let name = &output.name;
        match &output.data {
            Data::F32(values) => OutputRange::of_values(name, batch.of(&output.shape, values), f64::from),
            Data::F16(values) => OutputRange::of_values(name, batch.of(&output.shape, values), f64::from),
            Data::F64(values) => OutputRange::of_values(name, batch.of(&output.shape, values), |value| value),
            Data::I64(_) | Data::U8(_) | Data::I8(_) | Data::I32(_) | Data::Bool(_) => {
                OutputRange { name: name.clone(), range: None, histogram: None }
            }
        }
    }

    /// Of numbers, each brought to f64 by `exact`.
    pub(crate) fn of_values<T: Copy>(name: &str, values: &[T], exact: impl Fn(T) -> f64) -> OutputRange {
        let histogram = Histogram::of(values, |value| exact(value) as f32);
        OutputRange { name: name.to_owned(), range: Some(Range::of(values, exact)), histogram: Some(histogram) }
    }
}

/// How much of a batch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Images that count; they come first.
    pub kept: usize,
    /// Images in the batch; the rest fills up a batch of fixed size.
    pub of: usize,
}

impl Part {
    /// The elements of the images that count, of a tensor `[of, ...]`; all elements of any other.
    pub fn of<'v, T>(self, shape: &[usize], values: &'v [T]) -> &'v [T] {
        if shape.first() != Some(&self.of) || self.of == 0 {
            return values;
        }
        values.get(..values.len() / self.of * self.kept).unwrap_or(values)
    }
}

/// A loaded model on one provider.
pub trait Model {
    /// What is known of it since loading.
    fn loaded(&self) -> &Loaded;

    /// Its inputs and outputs.
    fn ports(&self) -> &Ports;

    /// Its inputs.
    fn inputs(&self) -> &[Port] {
        &self.ports().inputs
    }

    /// Its outputs, in order.
    fn outputs(&self) -> &[Port] {
        &self.ports().outputs
    }

    /// Runs once and returns every output, in the model's order.
    ///
    /// # Errors
    /// [`ModelError`], after which the model may be gone for good ([`ModelError::Crashed`], [`ModelError::TimedOut`]).
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError>;

    /// Runs once and returns the range of every output, in the model's order. Only `part` of the batch counts.
    ///
    /// # Errors
    /// As for [`Model::run`].
    fn ranges(&mut self, inputs: &[Tensor], part: Part) -> Result<Vec<OutputRange>, ModelError> {
        Ok(self.run(inputs)?.iter().map(|output| OutputRange::of(output, part)).collect())
    }

    /// Runs a block and returns the seconds each run took, on a monotonic clock, in order.
    ///
    /// # Errors
    /// As for [`Model::run`].
    fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError>;

    /// Which multiplications of a quantized model run in integers; `None` where the runtime does not tell. It may load
    /// the model once more.
    ///
    /// # Errors
    /// As for [`Model::run`].
    fn coverage(&mut self) -> Result<Option<Coverage>, ModelError> {
        Ok(None)
    }

    /// Memory used so far.
    ///
    /// # Errors
    /// As for [`Model::run`].
    fn memory(&mut self) -> Result<Memory, ModelError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_images_that_count_are_kept_of_an_output_with_a_batch() {
        let values = [1, 2, 3, 4, 5, 6];
        let part = Part { kept: 1, of: 3 };
        assert_eq!(part.of(&[3, 2], &values), [1, 2]);
        assert_eq!(Part { kept: 3, of: 3 }.of(&[3, 2], &values), values);
        assert_eq!(part.of(&[6], &values), values, "another extent is no batch");
        assert_eq!(part.of(&[2, 3], &values), values);
        assert_eq!(part.of(&[], &values[..1]), [1], "nor is none");
        assert_eq!(Part { kept: 0, of: 0 }.of(&[0, 2], &values[..0]), [0; 0]);
    }
}
