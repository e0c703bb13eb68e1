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
use onnx_file::expose::with_intermediate_outputs;
use onnx_file::outline::OutlineError;
use resnext_builder::calibration::histogram::Histogram;
use resnext_builder::calibration::{self as measured, Measured};

use crate::host::environment::Environment;
use crate::input::decode::Exif;
use crate::input::pipeline::Extent;
use crate::input::{demand, preprocess};
use crate::model::batch::Batch;
use crate::model::candidate::{Candidate, Progress};
use crate::model::file::{MetadataError, ModelFile};
use crate::model::opened::{Loaded, ModelError, OutputRange};
use crate::model::precision::Precision;
use crate::note::Note;
use crate::stats::range::Range;
use crate::verb::outcome::Report;

use super::error::CalibrateError;
use super::inputs::Source;
use super::result::{COMFORTABLE, Calibration, Elements, Value, Verdict};
use super::weights::Weights;
use crate::model::values::GraphValue;

/// What to calibrate on.
pub struct Request<'a> {
    /// Images, or a seed.
    pub inputs: Source<'a>,
    /// Inputs at once, for models that leave it open. All values of a batch are in memory together.
    pub batch: usize,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
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
) -> Result<Report<Calibration>, CalibrateError> {
    let environment = Environment::read();
    let file = candidate.needed_file()?;
    let image = file.image_input()?;
    let (preprocess, assumed) = preprocess::asked_by(file, &image)?;
    let batch = Batch::of(image.batch, request.batch.min(request.inputs.count()));
    demand::check(file, preprocess.height_width(), batch.size, Extent::for_batch(batch.size).window)?;
    let model = described(file)?;
    let weights = Weights::read(&file.path)?;
    let made = graph::values(&file.graph);
    let copy = with_intermediate_outputs(&file.path, &file.graph, &graph::intermediate(&file.graph, &made))?;
    let mut opened = (candidate.open)(copy.path())?;
    let loaded = Loaded { model: file.shown().display().to_string(), ..opened.loaded().clone() };
    let feed = inputs::Feed { image: &image, preprocess, batch, exif: request.exif };
    let mut ranges = Ranges::default();
    let mut fed = Seen::default();
    let inputs = feed.each(&request.inputs, stop, progress, &mut |input, part| {
        fed.merge(OutputRange::of(input, part));
        ranges.merge(opened.ranges(std::slice::from_ref(input), part)?);
        Ok(())
    })?;
    let interrupted = stop.load(Ordering::Relaxed) && inputs.count() + inputs.broken.len() < request.inputs.count();
    let (mut values, elements) = ranges.values(&made)?;
    let without = made.len() - values.len();
    values.insert(0, input_value(&image.name, fed));
    let verdict = Verdict::of(&values, &weights, file);
    let mut notes = assumed;
    notes.extend((without > 0).then_some(Note::NoRange { count: without }));
    notes.extend(Note::orientation(request.exif, inputs.oriented.len(), inputs.oriented.first().cloned()));
    notes.extend(caveats(&request.inputs, file));
    let may_be_int8 = file.may_be_int8() && !verdict.unfixable;
    let provider = candidate.provider.clone();
    let calibration = Calibration { model, inputs, provider, loaded, values, elements, weights, verdict, may_be_int8 };
    Ok(Report { environment, notes, interrupted, result: calibration })
}

/// The graph's input, which no node makes.
fn input_value(name: &str, seen: Seen) -> Value {
    Value { range: described_range(name.to_owned(), None, seen), stage: "input".into() }
}

/// What a build reads of a range; `made_by` is the node and its operator.
fn described_range(name: String, made_by: Option<&GraphValue>, seen: Seen) -> measured::Range {
    let Seen { range, histogram } = seen;
    measured::Range {
        name,
        node: made_by.map(|made| made.node.clone()),
        op: made_by.map(|made| made.op.clone()),
        min: range.bounds.map(|[low, _]| low),
        max: range.bounds.map(|[_, high]| high),
        max_abs: range.max_abs(),
        non_finite: range.non_finite,
        histogram: Some(histogram),
    }
}

fn described(file: &ModelFile) -> Result<Measured, MetadataError> {
    let io = |source| OutlineError::Io { path: file.path.clone(), source };
    Ok(Measured { file: file.name(), sha256: digest::file(&file.path).map_err(io)?, origin: file.origin()? })
}

/// What was seen of a value.
#[derive(Default)]
struct Seen {
    range: Range,
    histogram: Histogram,
}

impl Seen {
    fn merge(&mut self, more: OutputRange) {
        self.range.merge(&more.range.unwrap_or_default());
        self.histogram.merge(&more.histogram.unwrap_or_default());
    }
}

/// What was seen by the value's name, over the inputs so far; `None` where a value holds no floating-point numbers.
#[derive(Default)]
struct Ranges(BTreeMap<String, Option<Seen>>);

impl Ranges {
    fn merge(&mut self, outputs: Vec<OutputRange>) {
        for output in outputs {
            let known = self.0.entry(output.name.clone()).or_insert_with(|| output.range.map(|_| Seen::default()));
            match known {
                Some(seen) if output.range.is_some() => seen.merge(output),
                known => *known = None,
            }
        }
    }

    /// The floating-point values, in the order of the graph.
    fn values(mut self, made: &[GraphValue]) -> Result<(Vec<Value>, Elements), ModelError> {
        let mut values = Vec::new();
        let mut elements = Elements { count: 0, below_f16_normal: 0 };
        for made in made {
            let measured = self.0.remove(&made.value).ok_or_else(|| {
                ModelError::Failed(format!("the provider did not return the added output {}", made.value))
            })?;
            let Some(seen) = measured else { continue };
            elements.count += seen.range.count;
            elements.below_f16_normal += seen.range.below_normal;
            let range = described_range(made.value.clone(), Some(made), seen);
            values.push(Value { range, stage: made.stage.clone() });
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
