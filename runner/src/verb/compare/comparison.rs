//! The same inputs through every provider and model: do they compute the same function?
//!
//! Every candidate first runs twice and is compared with itself, because a difference between providers means nothing
//! below the difference of one from itself. A provider that gives no result is a row that says why; the others go on.

use super::layers;
use super::metrics;
use super::tolerance;
use serde::Serialize;

use crate::host::environment::Environment;
use crate::input::feed::Feed;
use crate::model::batch;
use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::ModelFile;
use crate::model::opened::{Loaded, ModelError};
use crate::model::precision::Precision;
use crate::model::tensor::{Data, Tensor};
use crate::note::{Named, Note};
use crate::verb::outcome::Report;

use super::difference::Difference;
use super::metrics::Metrics;
use super::tolerance::{Numbers, Tolerance, ToleranceOverride};
use onnx_file::meaning::{Meaning, Meanings};

/// What to compare by.
pub struct Request<'a> {
    /// The inputs; each candidate gets them in its own element type.
    pub inputs: &'a [Tensor],
    /// Where the inputs came from, for people: `noise, seed 0`, a file, images.
    pub inputs_source: String,
    /// Outputs to compare against, and where they came from; otherwise the first candidate that gives a result.
    pub reference: Option<(&'a [Tensor], String)>,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// Tolerances asked for.
    pub tolerance: ToleranceOverride,
}

/// Outcome of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The others are compared against it.
    Reference,
    /// All outputs within tolerance.
    Agrees,
    /// An output is missing, not finite, of another shape, or beyond tolerance.
    Differs,
    /// Two runs on the same input differ beyond tolerance.
    NotRepeatable,
    /// It gave no result.
    NoResult,
    /// It ran, but nothing was there to compare with.
    NotCompared,
}

/// One candidate's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Model file.
    pub model: String,
    /// SHA-256 of the file.
    pub model_sha256: Option<String>,
    /// Provider.
    pub provider: String,
    /// The outcome.
    pub status: Status,
    /// Coarser precision of this candidate and the reference; default tolerances follow from it.
    pub precision: Precision,
    /// Library version, options, placement, load times; absent where loading failed.
    pub loaded: Option<Loaded>,
    /// Why there is no result.
    pub error: Option<ModelError>,
    /// Every output against the reference; the reference itself against its own second run.
    pub outputs: Vec<Metrics>,
    /// What is wrong.
    #[serde(serialize_with = "crate::coded::with_text")]
    pub failures: Vec<Difference>,
}

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Where the inputs came from.
    pub inputs: String,
    /// Their shape.
    pub input_shape: Vec<usize>,
    /// What the rows are compared against; `None` where nothing gave a result.
    pub reference: Option<String>,
    /// One row for each candidate, in the order asked for.
    pub rows: Vec<Row>,
    /// Where the first two candidates begin to differ, if that was asked for.
    pub layers: Option<layers::Layers>,
}

impl Comparison {
    /// Whether some candidate that gave a result differs from the reference or from itself.
    pub fn mismatch(&self) -> bool {
        self.rows.iter().any(|row| {
            matches!(row.status, Status::Differs | Status::NotRepeatable)
                || (row.status == Status::Reference && !row.failures.is_empty())
        })
    }

    /// The rows between which to search for the first diverging block: the reference and the first row that differs
    /// from it, or, where none does, the first two rows with a result. `None` without two results.
    pub fn rows_to_search(&self) -> Option<(usize, usize)> {
        let ran = |row: &Row| row.error.is_none();
        let first = self
            .rows
            .iter()
            .position(|row| row.status == Status::Reference)
            .or_else(|| self.rows.iter().position(ran))?;
        let differs = self.rows.iter().position(|row| row.status == Status::Differs).filter(|&at| at != first);
        let next = || self.rows.iter().enumerate().position(|(at, row)| at != first && ran(row));
        let second = differs.or_else(next)?;
        Some((first.min(second), first.max(second)))
    }

    /// Why candidates gave no result, one for each such candidate.
    pub fn errors(&self) -> impl Iterator<Item = &ModelError> {
        self.rows.iter().filter_map(|row| row.error.as_ref())
    }
}

/// What is known of a candidate without running it.
struct About<'a> {
    name: String,
    model: String,
    sha256: Option<String>,
    file: Option<&'a ModelFile>,
    provider: String,
}

impl<'a> About<'a> {
    fn of(candidate: &Candidate<'a>) -> About<'a> {
        About {
            name: candidate.name(),
            model: candidate.model.clone(),
            sha256: candidate.sha256(),
            file: candidate.file,
            provider: candidate.provider.clone(),
        }
    }
}

/// One candidate after its runs.
struct Ran {
    /// Absent where it could not be loaded.
    loaded: Option<Loaded>,
    runs: Result<Runs, ModelError>,
}

/// Outputs of two runs on the same input.
struct Runs {
    first: Vec<Tensor>,
    again: Vec<Tensor>,
}

impl Runs {
    /// How far the second run was from the first.
    fn noise(&self, index: usize) -> f64 {
        match (self.first.get(index), self.again.get(index)) {
            (Some(first), Some(again)) => metrics::largest_difference(first, again),
            _ => f64::INFINITY,
        }
    }
}

/// Compares the candidates, opening one at a time. Besides the comparison, returns each candidate's outputs, `None`
/// where it gave none, for saving.
pub fn compare(
    candidates: &mut [Candidate<'_>],
    request: &Request<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> (Report<Comparison>, Vec<Option<Vec<Tensor>>>) {
    let total = candidates.len();
    let mut results = Vec::new();
    for (done, candidate) in candidates.iter_mut().enumerate() {
        progress(&Progress::new(Phase::Comparing, candidate.name(), done, total));
        results.push(run_twice(candidate, request));
    }
    let about: Vec<About<'_>> = candidates.iter().map(About::of).collect();
    let first = results.iter().position(|ran| ran.runs.is_ok()).filter(|_| request.reference.is_none());
    let reference = reference(request, &results, first, &about);
    let rows = results.iter().zip(&about).enumerate().map(|(index, (ran, about))| {
        let row = Row {
            model: about.model.clone(),
            model_sha256: about.sha256.clone(),
            provider: about.provider.clone(),
            status: Status::NoResult,
            precision: tolerance::precision(about.file, ran.loaded.as_ref()),
            loaded: ran.loaded.clone(),
            error: None,
            outputs: Vec::new(),
            failures: Vec::new(),
        };
        match &ran.runs {
            Err(error) => Row { error: Some(error.clone()), ..row },
            Ok(runs) => compared(row, about.file, runs, reference.as_ref(), first == Some(index), request.tolerance),
        }
    });
    let rows: Vec<Row> = rows.collect();
    let comparison = Comparison {
        inputs: request.inputs_source.clone(),
        input_shape: request.inputs.first().map(|input| input.shape.clone()).unwrap_or_default(),
        reference: reference.map(|reference| reference.name),
        rows,
        layers: None,
    };
    let notes = notes(&comparison.rows, first);
    let comparison = Report { notes, ..Report::of(Environment::read(), comparison) };
    let outputs = results.into_iter().map(|ran| ran.runs.ok().map(|runs| runs.first)).collect();
    (comparison, outputs)
}

fn run_twice(candidate: &mut Candidate<'_>, request: &Request<'_>) -> Ran {
    let mut loaded = None;
    let runs = (|| {
        let name = candidate.file.map_or_else(|| candidate.model.clone(), ModelFile::name);
        let fit =
            |feed: &Feed| feed.fit(request.inputs, &name).map_err(|error| ModelError::BadInput(error.to_string()));
        // What its file says is checked before, since opening may take minutes.
        if let Some(file) = candidate.file {
            fit(&Feed::of_file(file).map_err(|error| ModelError::BadModel(error.to_string()))?)?;
        }
        let mut model = candidate.open()?;
        let feed = Feed::of_opened(candidate, model.as_ref())?;
        let inputs = fit(&feed)?;
        loaded = Some(model.loaded().clone());
        let batch = batch::Batch::of(feed.fixed_batch(), request.batch);
        let mut run = || match inputs.as_slice() {
            [only] => batch::run(model.as_mut(), only, batch),
            // Nobody knows along which dimensions several inputs could be divided.
            several => model.run(several),
        };
        Ok(Runs { first: run()?, again: run()? })
    })();
    Ran { loaded, runs }
}

/// What the rows are compared against.
struct Reference<'a> {
    name: String,
    outputs: &'a [Tensor],
    noise: Vec<f64>,
    precision: Precision,
}

fn reference<'a>(
    request: &'a Request<'_>,
    results: &'a [Ran],
    first: Option<usize>,
    about: &[About<'_>],
) -> Option<Reference<'a>> {
    if let Some((outputs, name)) = &request.reference {
        let noise = vec![0.0; outputs.len()];
        // A file of arrays says no more of the arithmetic behind it than their type.
        let half = outputs.iter().any(|output| matches!(output.data, Data::F16(_)));
        let precision = if half { Precision::F16 } else { Precision::F32 };
        return Some(Reference { name: name.clone(), outputs, noise, precision });
    }
    let index = first?;
    let runs = results[index].runs.as_ref().ok()?;
    let About { name, file, .. } = &about[index];
    Some(Reference {
        name: name.clone(),
        outputs: &runs.first,
        noise: (0..runs.first.len()).map(|output| runs.noise(output)).collect(),
        precision: tolerance::precision(*file, results[index].loaded.as_ref()),
    })
}

/// The row, compared with the reference.
fn compared(
    row: Row,
    file: Option<&ModelFile>,
    runs: &Runs,
    reference: Option<&Reference<'_>>,
    is_reference: bool,
    asked: ToleranceOverride,
) -> Row {
    let mut row = Row { status: Status::NotCompared, ..row };
    let Some(reference) = reference else { return row };
    row.precision = row.precision.max(reference.precision);
    let precision = row.precision;
    let meanings = file.map(|file| Meanings::of(&file.graph, file.opset));
    let meaning = |name: &str| meanings.as_ref().map_or(Meaning::Scores, |meanings| meanings.meaning(name));
    let mut unsteady = false;
    let pairs = pair(&runs.first, reference.outputs, &mut row.failures);
    for (found, expected) in pairs {
        let noise = runs.noise(found);
        let (output, expected_output) = (&runs.first[found], &reference.outputs[expected]);
        if output.shape != expected_output.shape {
            let (found, reference) = (output.shape.clone(), expected_output.shape.clone());
            row.failures.push(Difference::Shape { output: output.name.clone(), found, reference });
            continue;
        }
        let numbers = Numbers::of(output, meaning(&output.name));
        let choose = |rms| Tolerance::of(numbers, asked, precision, rms);
        let metrics = if is_reference {
            match runs.again.get(found).filter(|again| again.shape == output.shape) {
                Some(again) => Metrics::of(again, output, choose, 0.0),
                None => Metrics::of(output, output, choose, 0.0),
            }
        } else {
            let floor = noise.max(reference.noise.get(expected).copied().unwrap_or(0.0));
            Metrics::of(output, expected_output, choose, if floor.is_finite() { floor } else { 0.0 })
        };
        let finite = metrics.nan == [0, 0] && metrics.infinite == [0, 0];
        if finite && noise > metrics.tolerance.allows(metrics.reference_rms) {
            unsteady = true;
            row.failures.push(Difference::NotRepeatable { output: output.name.clone(), max_abs: noise });
        } else {
            row.failures.extend(metrics.differences());
        }
        row.outputs.push(metrics);
    }
    row.status = match (is_reference, unsteady, row.failures.is_empty()) {
        (true, ..) => Status::Reference,
        (false, true, _) => Status::NotRepeatable,
        (false, false, false) => Status::Differs,
        (false, false, true) => Status::Agrees,
    };
    row
}

/// Pairs of outputs, by name and then, since two exporters name outputs differently, by position where both sides have
/// as many. An output without a counterpart is a failure.
fn pair(found: &[Tensor], reference: &[Tensor], failures: &mut Vec<Difference>) -> Vec<(usize, usize)> {
    let by_name = |tensor: &Tensor| found.iter().position(|other| other.name == tensor.name);
    let positions: Vec<Option<usize>> = reference.iter().map(by_name).collect();
    if positions.iter().all(Option::is_none) && found.len() == reference.len() {
        return (0..found.len()).map(|index| (index, index)).collect();
    }
    let mut pairs = Vec::new();
    for (expected, position) in positions.iter().enumerate() {
        match position {
            Some(found) => pairs.push((*found, expected)),
            None => failures.push(Difference::Missing { output: reference[expected].name.clone() }),
        }
    }
    for (index, tensor) in found.iter().enumerate() {
        if !pairs.iter().any(|(found, _)| *found == index) {
            failures.push(Difference::Unexpected { output: tensor.name.clone() });
        }
    }
    pairs
}

fn notes(rows: &[Row], first: Option<usize>) -> Vec<Note> {
    let mut notes = Vec::new();
    if let (Some(first), Some(row)) = (first.filter(|&first| first > 0), rows.first()) {
        let named = |row: &Row| Named { provider: row.provider.clone(), model: row.model.clone() };
        notes.push(Note::ReferenceReplaced { first: named(row), against: named(&rows[first]) });
    }
    notes.extend(Note::library(rows.iter().filter_map(|row| row.loaded.as_ref())));
    notes
}

#[cfg(test)]
mod tests;
