//! Where two candidates begin to differ: the first block whose output diverges.
//!
//! The ends of blocks are made outputs of a temporary copy of the file, a few at a time, and the span between the last
//! that agrees and the first that diverges is divided until one block is left. A few at a time, so that memory stays
//! small and the runtime still fuses what lies inside the blocks.

use onnx_file::element::ElementType;
use onnx_file::expose::{ExposeError, with_intermediate_outputs};
use onnx_file::meaning::{Meaning, Meanings};
use serde::Serialize;

use super::boundary::{Boundary, boundaries};
use super::metrics::{Metrics, largest_difference};
use super::tolerance::{Numbers, Tolerance, ToleranceOverride, precision};
use crate::input;
use crate::input::feed::Feed;
use crate::model::batch;
use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::{MetadataError, ModelFile};
use crate::model::opened::{Loaded, ModelError};
use crate::model::tensor::Tensor;

use super::bisect::Search;

/// Why the first diverging block could not be searched for.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// A model file is unusable.
    #[error(transparent)]
    Model(#[from] MetadataError),
    /// The inputs do not suit.
    #[error(transparent)]
    Input(#[from] input::UnfitInput),
    /// The temporary copy could not be written.
    #[error(transparent)]
    Write(#[from] ExposeError),
    /// The two graphs have no boundaries in common.
    #[error(
        "{first} and {second} share no block boundaries by name, and have {first_count} and {second_count} of them: \
         their layers cannot be compared one to one"
    )]
    Unmatched {
        /// First file.
        first: String,
        /// Second file.
        second: String,
        /// Boundaries of the first.
        first_count: usize,
        /// Boundaries of the second.
        second_count: usize,
    },
    /// One gives integers where the other gives floating-point numbers.
    #[error("{first}, and {second}: levels and the numbers that they stand for cannot be compared one to one")]
    Kinds {
        /// The first.
        first: Of,
        /// The second.
        second: Of,
    },
    /// A candidate gave no result with the added outputs.
    #[error("{candidate} with block outputs added: {error}")]
    Run {
        /// Provider and file.
        candidate: String,
        /// Why.
        error: ModelError,
    },
    /// A candidate did not return an output that was added.
    #[error("{candidate} did not return the added output {value}")]
    Missing {
        /// Provider and file.
        candidate: String,
        /// The value.
        value: String,
    },
}

/// A value of a candidate, and its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Of {
    /// Provider and file.
    pub candidate: String,
    /// The value.
    pub value: String,
    /// Type of its elements.
    pub element_type: ElementType,
}

impl Of {
    fn new(run: &Run, tensor: &Tensor) -> Of {
        let (candidate, value) = (run.candidate.clone(), tensor.name.clone());
        Of { candidate, value, element_type: tensor.data.element_type() }
    }
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} is {}", self.value, self.candidate, self.element_type)
    }
}

/// A boundary that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Looked {
    /// Position among all boundaries, from 0; the model's own outputs come after the last.
    pub position: usize,
    /// Node whose output was compared.
    pub node: String,
    /// Name of the value in the first model.
    pub value: String,
    /// Whether it agrees, and each side with itself.
    pub agrees: bool,
    /// The comparison.
    pub metrics: Metrics,
}

/// Result of the search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layers {
    /// The two candidates.
    pub candidates: [String; 2],
    /// Number of boundaries in the graph.
    pub boundaries: usize,
    /// Those looked at, in the order of the graph.
    pub looked_at: Vec<Looked>,
    /// Last boundary before the divergence; `None` where the very first diverges, or nothing does.
    pub last_agreeing: Option<String>,
    /// Node whose output is the first to diverge, `outputs` for the part after the last boundary; `None` where nothing
    /// diverges while block outputs are added.
    pub first_diverging: Option<String>,
}

/// Searches for the first boundary at which `second` diverges from `first`, adding at most `at_once` outputs a run.
///
/// # Errors
/// [`LayersError`] where the graphs cannot be matched, a copy cannot be written, or a candidate fails on it.
pub fn find<'a>(
    first: &mut Candidate<'a>,
    second: &mut Candidate<'a>,
    inputs: &[Tensor],
    asked: ToleranceOverride,
    at_once: usize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Layers, LayersError> {
    let mut sides = [Side::new(first, inputs)?, Side::new(second, inputs)?];
    let names = [sides[0].candidate.name(), sides[1].candidate.name()];
    let pairs = matched(&sides)?;
    let mut search = Search::among(pairs.len() + 1, at_once);
    let mut looked_at: Vec<Looked> = Vec::new();
    loop {
        let positions = search.positions();
        if positions.is_empty() {
            break;
        }
        let subject = format!("{} of {} block outputs", positions.len(), pairs.len());
        progress(&Progress::new(Phase::Comparing, subject, looked_at.len(), pairs.len()));
        let wanted: Vec<&(Boundary, Boundary)> = positions.iter().filter_map(|&at| pairs.get(at)).collect();
        let [first, second] = &mut sides;
        let found = first.run(wanted.iter().map(|(first, _)| first))?;
        let other = second.run(wanted.iter().map(|(_, second)| second))?;
        for &position in &positions {
            let boundary = pairs.get(position).map(|(first, _)| first);
            looked_at.push(look(position, boundary, &found, &other, asked)?);
        }
        let agreeing = |position: usize| looked_at.iter().find(|l| l.position == position).is_some_and(|l| l.agrees);
        search.narrow(&positions, agreeing);
    }
    looked_at.sort_by_key(|looked| looked.position);
    looked_at.dedup_by_key(|looked| looked.position);
    let name = |position: usize| looked_at.iter().find(|l| l.position == position).map(|l| l.node.clone());
    let first_diverging = (search.high <= pairs.len()).then(|| name(search.high)).flatten();
    Ok(Layers {
        candidates: names,
        boundaries: pairs.len(),
        last_agreeing: first_diverging.as_ref().and(search.low).and_then(name),
        first_diverging,
        looked_at,
    })
}

/// One of the two candidates.
struct Side<'c, 'a> {
    candidate: &'c mut Candidate<'a>,
    file: &'a ModelFile,
    inputs: Vec<Tensor>,
    batch: batch::Batch,
    boundaries: Vec<Boundary>,
}

/// What one run gave.
struct Run {
    candidate: String,
    file: ModelFile,
    loaded: Loaded,
    outputs: Vec<Tensor>,
    /// Differences of a second run, by output.
    again: Vec<Tensor>,
    /// Names of the added outputs, in the order asked for.
    added: Vec<String>,
}

impl<'c, 'a> Side<'c, 'a> {
    fn new(candidate: &'c mut Candidate<'a>, inputs: &[Tensor]) -> Result<Self, LayersError> {
        let file = candidate.needed_file()?;
        let feed = Feed::of_file(file)?;
        let inputs = feed.fit(inputs, &file.name())?;
        let rows = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1);
        let batch = batch::Batch::of(feed.fixed_batch(), rows);
        let boundaries = boundaries(&file.graph, file.inputs.iter().map(|port| port.name.as_str()));
        Ok(Side { candidate, file, inputs, batch, boundaries })
    }

    fn run<'b>(&mut self, added: impl Iterator<Item = &'b Boundary>) -> Result<Run, LayersError> {
        let added: Vec<String> = added.map(|boundary| boundary.value.clone()).collect();
        let name = self.candidate.name();
        let copy = with_intermediate_outputs(&self.file.path, &self.file.graph, &added)?;
        let told = |error| LayersError::Run { candidate: name.clone(), error };
        let mut model = (self.candidate.open)(copy.path()).map_err(told)?;
        let mut run = || match self.inputs.as_slice() {
            [only] => batch::run(model.as_mut(), only, self.batch),
            // Nobody knows along which dimensions several inputs could be divided.
            several => model.run(several),
        };
        let outputs = run().map_err(told)?;
        let again = run().map_err(told)?;
        let loaded = model.loaded().clone();
        Ok(Run { candidate: name, file: self.file.clone(), loaded, outputs, again, added })
    }
}

/// Pairs of boundaries of the two graphs: by the name of the value that they stand for, or one to one where both have as many.
fn matched(sides: &[Side<'_, '_>; 2]) -> Result<Vec<(Boundary, Boundary)>, LayersError> {
    let [first, second] = sides;
    let same = |boundary: &Boundary| second.boundaries.iter().find(|other| other.origin == boundary.origin);
    let by_name: Vec<(Boundary, Boundary)> =
        first.boundaries.iter().filter_map(|boundary| Some((boundary.clone(), same(boundary)?.clone()))).collect();
    if !by_name.is_empty() {
        return Ok(by_name);
    }
    if first.boundaries.len() == second.boundaries.len() && !first.boundaries.is_empty() {
        return Ok(first.boundaries.iter().cloned().zip(second.boundaries.iter().cloned()).collect());
    }
    Err(LayersError::Unmatched {
        first: first.file.name(),
        second: second.file.name(),
        first_count: first.boundaries.len(),
        second_count: second.boundaries.len(),
    })
}

/// Compares one boundary, or, where there is none at the position, the first of the model's own outputs.
fn look(
    position: usize,
    boundary: Option<&Boundary>,
    first: &Run,
    second: &Run,
    asked: ToleranceOverride,
) -> Result<Looked, LayersError> {
    let index = boundary.and_then(|boundary| first.added.iter().position(|value| *value == boundary.value));
    let at = |run: &Run| -> Result<usize, LayersError> {
        let Some(index) = index else { return Ok(0) };
        let value = &run.added[index];
        run.outputs
            .iter()
            .position(|output| output.name == *value)
            .ok_or_else(|| LayersError::Missing { candidate: run.candidate.clone(), value: value.clone() })
    };
    let (at_first, at_second) = (at(first)?, at(second)?);
    let missing = |run: &Run| LayersError::Missing { candidate: run.candidate.clone(), value: "0".into() };
    let reference = first.outputs.get(at_first).ok_or_else(|| missing(first))?;
    let found = second.outputs.get(at_second).ok_or_else(|| missing(second))?;
    let noise =
        |run: &Run, at: usize| run.again.get(at).map_or(0.0, |again| largest_difference(again, &run.outputs[at]));
    let floor = noise(first, at_first).max(noise(second, at_second));
    let coarser =
        precision(Some(&first.file), Some(&first.loaded)).max(precision(Some(&second.file), Some(&second.loaded)));
    let integers = |tensor: &Tensor| !tensor.data.element_type().is_float();
    if integers(reference) != integers(found) {
        let [first, second] = [(first, reference), (second, found)].map(|(run, tensor)| Of::new(run, tensor));
        return Err(LayersError::Kinds { first, second });
    }
    let own = || Meanings::of(&first.file.graph, first.file.opset).meaning(&reference.name);
    let numbers = Numbers::of(reference, if boundary.is_none() { own() } else { Meaning::Scores });
    let choose = |rms| Tolerance::of(numbers, asked, coarser, rms);
    let metrics = Metrics::of(found, reference, choose, if floor.is_finite() { floor } else { 0.0 });
    // A side that differs from itself by more than is allowed agrees with nothing: its noise must not excuse it.
    let steady = floor <= metrics.tolerance.allows(metrics.reference_rms);
    let agrees = steady && found.shape == reference.shape && metrics.differences().is_empty();
    let node = boundary.map_or_else(|| "outputs".to_owned(), |boundary| boundary.node.clone());
    Ok(Looked { position, node, value: reference.name.clone(), agrees, metrics })
}

#[cfg(test)]
mod tests;
