//! How large do the values inside a network become, and does f16 hold them?
//!
//! Every value that a node makes becomes an output of a temporary copy of the model, and the worker looks at each where
//! the runtime holds it: nothing but ranges crosses the process boundary, and nothing kept grows with the number of
//! inputs. The runtime fuses less that way, which changes last digits and no range.

use super::inputs;
use crate::model::values as graph;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use onnx_file::digest;
use onnx_file::expose::{ExposeError, with_intermediate_outputs};
use onnx_file::outline::OutlineError;
use resnext_builder::calibration::Measured;
use serde::Serialize;

use crate::host::environment::Environment;
use crate::input::pipeline::Extent;
use crate::input::{demand, preprocess};
use crate::model::batch::Batch;
use crate::model::candidate::{Candidate, Progress};
use crate::model::file::{MetadataError, ModelFile};
use crate::model::opened::{Loaded, ModelError};
use crate::model::precision::Precision;
use crate::note::Note;
use crate::stats::range::Range;

use super::inputs::{Inputs, Source};
use super::verdict::{COMFORTABLE, Verdict};
use super::weights::Weights;
use crate::input::broken::Broken;
use crate::model::values::GraphValue;

/// Version of the JSON written from [`Calibration`].
pub const SCHEMA_VERSION: u32 = 2;

/// What to calibrate on.
pub struct Request<'a> {
    /// Images, or a seed.
    pub inputs: Source<'a>,
    /// Inputs at once, for models that leave it open. All values of a batch are in memory together.
    pub batch: usize,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The model file is unusable.
    #[error(transparent)]
    File(#[from] MetadataError),
    /// Its weights cannot be read.
    #[error(transparent)]
    Weights(#[from] onnx_file::read::ReadError),
    /// The copy with all values as outputs could not be written.
    #[error(transparent)]
    Write(#[from] ExposeError),
    /// The provider gave no result, or stopped giving any.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No image could be read.
    #[error("none of the {count} images can be read; the first, {}: {}", first.path, first.reason)]
    NoImage {
        /// Images tried.
        count: usize,
        /// The first of them.
        first: Broken,
    },
    /// Stopped before the first result.
    #[error("stopped before the first input was through: there is no range to tell")]
    Stopped,
}

/// A value inside the network, over all inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Its name in the graph.
    pub name: String,
    /// The node that makes it.
    pub node: String,
    /// That node's operator.
    pub op: String,
    /// Part of the network: `stem`, `layer1`, ..., `head`.
    #[serde(skip)]
    pub stage: String,
    /// Smallest finite element; `None` where none is finite.
    pub min: Option<f64>,
    /// Largest finite element.
    pub max: Option<f64>,
    /// Largest magnitude of a finite element.
    pub max_abs: Option<f64>,
    /// Elements that are NaN or infinite.
    pub non_finite: u64,
}

/// All values together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Elements {
    /// Elements of all values over all inputs.
    pub count: u64,
    /// Those not zero and below the smallest normal number of f16, where it has fewer digits.
    pub below_f16_normal: u64,
}

/// The whole calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `calibration`.
    pub kind: &'static str,
    /// Machine and time.
    pub environment: Environment,
    /// The model.
    pub model: Measured,
    /// What went in.
    pub inputs: Inputs,
    /// Provider.
    pub provider: String,
    /// Library, options, placement, of the copy with all values as outputs.
    pub loaded: Loaded,
    /// Every floating-point value that a node makes, in the order of the graph.
    pub values: Vec<Value>,
    /// All of them together.
    pub elements: Elements,
    /// The weights.
    pub weights: Weights,
    /// Whether f16 holds all that.
    pub verdict: Verdict,
    /// Caveats.
    #[serde(serialize_with = "crate::report::note::with_text")]
    pub notes: Vec<Note>,
    /// Whether it was stopped before the last input.
    pub interrupted: bool,
}

/// Measures the ranges of all values of the candidate's model. Setting `stop` ends it after the batch in progress; what
/// was measured is kept.
///
/// # Errors
/// [`CalibrateError`] where nothing, or not everything asked for, could be measured.
pub fn calibrate(
    candidate: &mut Candidate<'_>,
    request: &Request<'_>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Calibration, CalibrateError> {
    let environment = Environment::read();
    let file = candidate.file;
    let image = file.image_input()?;
    let (preprocess, assumed) = preprocess::asked_by(file, &image)?;
    let batch = Batch::of(image.batch, request.batch.min(request.inputs.count()));
    demand::check(file, preprocess.height_width(), batch.size, Extent::for_batch(batch.size).window)?;
    let model = described(file)?;
    let weights = Weights::read(&file.path)?;
    let made = graph::values(&file.graph);
    let copy = with_intermediate_outputs(&file.path, &file.graph, &graph::intermediate(&file.graph, &made))?;
    let mut opened = (candidate.open)(copy.path())?;
    let loaded = Loaded { model: file.path.display().to_string(), ..opened.loaded().clone() };
    let feed = inputs::Feed { image: &image, preprocess, batch };
    let mut ranges = Ranges::default();
    let inputs = feed.each(&request.inputs, stop, progress, &mut |input, part| {
        ranges.merge(opened.ranges(std::slice::from_ref(input), part)?);
        Ok(())
    })?;
    let interrupted = stop.load(Ordering::Relaxed) && inputs.count + inputs.broken.len() < request.inputs.count();
    let (values, elements) = ranges.values(&made)?;
    let verdict = Verdict::of(&values, &weights, file);
    let mut notes = assumed;
    let without = made.len() - values.len();
    notes.extend((without > 0).then_some(Note::NoRange { count: without }));
    notes.extend(caveats(&request.inputs, file));
    Ok(Calibration {
        schema_version: SCHEMA_VERSION,
        kind: "calibration",
        environment,
        model,
        inputs,
        provider: candidate.provider.clone(),
        loaded,
        values,
        elements,
        weights,
        verdict,
        notes,
        interrupted,
    })
}

fn described(file: &ModelFile) -> Result<Measured, MetadataError> {
    let io = |source| OutlineError::Io { path: file.path.clone(), source };
    Ok(Measured { file: file.name(), sha256: digest::file(&file.path).map_err(io)?, origin: file.origin()? })
}

/// Ranges by the value's name, over the inputs so far; `None` where a value holds no floating-point numbers.
#[derive(Default)]
struct Ranges(BTreeMap<String, Option<Range>>);

impl Ranges {
    fn merge(&mut self, outputs: Vec<crate::model::opened::OutputRange>) {
        for output in outputs {
            match (self.0.entry(output.name).or_insert_with(|| output.range.map(|_| Range::default())), output.range) {
                (Some(range), Some(more)) => range.merge(&more),
                (known, _) => *known = None,
            }
        }
    }

    /// The floating-point values, in the order of the graph.
    fn values(&self, made: &[GraphValue]) -> Result<(Vec<Value>, Elements), ModelError> {
        let mut values = Vec::new();
        let mut elements = Elements { count: 0, below_f16_normal: 0 };
        for made in made {
            let measured = self.0.get(&made.value).ok_or_else(|| {
                ModelError::Failed(format!("the provider did not return the added output {}", made.value))
            })?;
            let Some(range) = measured else { continue };
            elements.count += range.count;
            elements.below_f16_normal += range.below_normal;
            values.push(Value {
                name: made.value.clone(),
                node: made.node.clone(),
                op: made.op.clone(),
                stage: made.stage.clone(),
                min: range.bounds.map(|[low, _]| low),
                max: range.bounds.map(|[_, high]| high),
                max_abs: range.max_abs(),
                non_finite: range.non_finite,
            });
        }
        Ok((values, elements))
    }
}

/// What the ranges do not tell.
fn caveats(inputs: &Source<'_>, file: &ModelFile) -> Vec<Note> {
    let mut caveats = vec![Note::RangesOfInputsSeen { comfortable: COMFORTABLE }];
    if file.metadata.has_random_weights() {
        caveats.push(Note::RandomWeightRanges { model: file.name() });
    }
    if matches!(inputs, Source::Seeded { .. }) {
        caveats.push(Note::SyntheticInputs);
    }
    if file.precision == Precision::F16 {
        caveats.push(Note::AlreadyF16);
    }
    caveats.push(Note::SumsUnseen);
    caveats
}

#[cfg(test)]
mod tests;
