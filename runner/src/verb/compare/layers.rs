//! Where two candidates begin to differ: the first block whose output diverges.
//!
//! The ends of blocks are made outputs of a temporary copy of the file, a few at a time, and the span between the last
//! that agrees and the first that diverges is divided until one block is left. A few at a time, so that memory stays
//! small and the runtime still fuses what lies inside the blocks.

mod error;

use onnx_file::expose::with_intermediate_outputs;
use serde::Serialize;

use super::boundary::{Boundary, boundaries};
use super::metrics::{Metrics, largest_difference};
use super::tolerance::{Tolerance, ToleranceOverride, precision};
use crate::input;
use crate::model::batch;
use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::{ImageInput, ModelFile};
use crate::model::opened::{Loaded, ModelError};
use crate::model::tensor::Tensor;

use super::bisect::Search;
pub use error::LayersError;

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
    image: ImageInput,
    input: Tensor,
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
        let image = file.image_input()?;
        let input = input::fit(inputs, &file.name(), &image)?;
        let boundaries = boundaries(&file.graph, &image.name);
        Ok(Side { candidate, file, image, input, boundaries })
    }

    fn run<'b>(&mut self, added: impl Iterator<Item = &'b Boundary>) -> Result<Run, LayersError> {
        let added: Vec<String> = added.map(|boundary| boundary.value.clone()).collect();
        let name = self.candidate.name();
        let copy = with_intermediate_outputs(&self.file.path, &self.file.graph, &added)?;
        let told = |error| LayersError::Run { candidate: name.clone(), error };
        let mut model = (self.candidate.open)(copy.path()).map_err(told)?;
        let batch = batch::Batch::of(self.image.batch, self.input.shape[0]);
        let outputs = batch::run(model.as_mut(), &self.input, batch).map_err(told)?;
        let again = batch::run(model.as_mut(), &self.input, batch).map_err(told)?;
        let loaded = model.loaded().clone();
        Ok(Run { candidate: name, file: self.file.clone(), loaded, outputs, again, added })
    }
}

/// Pairs of boundaries of the two graphs: by the value's name, or one to one where both have as many.
fn matched(sides: &[Side<'_, '_>; 2]) -> Result<Vec<(Boundary, Boundary)>, LayersError> {
    let [first, second] = sides;
    let same = |boundary: &Boundary| second.boundaries.iter().find(|other| other.value == boundary.value);
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
    let choose = |rms| Tolerance::choose(asked, coarser, rms);
    let metrics = Metrics::of(found, reference, choose, if floor.is_finite() { floor } else { 0.0 });
    // A side that differs from itself by more than is allowed agrees with nothing: its noise must not excuse it.
    let steady = floor <= metrics.tolerance.allows(metrics.reference_rms);
    let agrees = steady && found.shape == reference.shape && metrics.differences().is_empty();
    let node = boundary.map_or_else(|| "outputs".to_owned(), |boundary| boundary.node.clone());
    Ok(Looked { position, node, value: reference.name.clone(), agrees, metrics })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use onnx_file::proto::tensor_proto::DataType;
    use onnx_file::proto::{GraphProto, ModelProto};
    use prost::Message;

    use super::*;
    use crate::model::fake::Fake;
    use crate::model::file::tests::value;
    use crate::model::tensor::Data;
    use crate::verb::compare::boundary::tests::node;

    const BLOCKS: usize = 16;

    /// Writes a chain of blocks, each a pooling so that every one ends in a boundary.
    fn chain(folder: &Path) -> ModelFile {
        chain_of(folder, 'v', BLOCKS)
    }

    /// The same with values of another name, in another number.
    fn chain_of(folder: &Path, letter: char, blocks: usize) -> ModelFile {
        let name = |i: usize| if i == 0 { "x".into() } else { format!("{letter}{i}") };
        let mut nodes: Vec<_> =
            (0..blocks).map(|i| node("MaxPool", &format!("block{i}"), &[&name(i)], &name(i + 1))).collect();
        nodes.push(node("Gemm", "fc", &[&name(blocks), "w"], "logits"));
        let graph = GraphProto {
            node: nodes,
            input: vec![value("x", DataType::Float, &[-1, 3, 2, 2])],
            output: vec![value("logits", DataType::Float, &[-1, 4])],
            ..Default::default()
        };
        let path = folder.join(format!("{letter}{blocks}.onnx"));
        std::fs::write(&path, ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()).unwrap();
        ModelFile::read(&path).unwrap()
    }

    /// A provider whose values are wrong from `v<from>` on, and that counts the outputs asked of it.
    fn provider<'a>(
        file: &'a ModelFile,
        from: Option<usize>,
        asked: &'a std::cell::RefCell<Vec<usize>>,
    ) -> Candidate<'a> {
        let open = move |path: &Path| -> Result<Box<dyn crate::model::opened::Model + 'a>, ModelError> {
            let names: Vec<String> = ModelFile::read(path).unwrap().outputs.into_iter().map(|port| port.name).collect();
            asked.borrow_mut().push(names.len());
            Ok(Box::new(Fake::new(move |inputs| {
                let output = |name: &String| {
                    let depth = name[1..].parse().unwrap_or(BLOCKS + 1);
                    let error = if from.is_some_and(|from| depth >= from) { 0.5 } else { 0.0 };
                    let rows = inputs[0].shape[0];
                    let data = (0..rows * 4).map(|i| i as f32 + error).collect();
                    Tensor { name: name.clone(), shape: vec![rows, 4], data: Data::F32(data) }
                };
                Ok(names.iter().map(output).collect())
            })))
        };
        Candidate::of_file(file, "cpu", Box::new(open))
    }

    fn search(from: Option<usize>) -> (Layers, Vec<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let file = chain(folder.path());
        let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
        let counts = std::cell::RefCell::new(Vec::new());
        let (mut good, mut bad) = (provider(&file, None, &counts), provider(&file, from, &counts));
        let layers = find(&mut good, &mut bad, &[input], ToleranceOverride::default(), 4, &mut |_| {}).unwrap();
        drop((good, bad));
        (layers, counts.into_inner())
    }

    #[test]
    fn the_first_diverging_block_is_found_wherever_it_is() {
        for from in 1..=BLOCKS {
            let (layers, _) = search(Some(from));
            assert_eq!(layers.first_diverging, Some(format!("block{}", from - 1)));
            let before = (from > 1).then(|| format!("block{}", from - 2));
            assert_eq!(layers.last_agreeing, before, "diverging from block {from}");
        }
    }

    #[test]
    fn a_divergence_after_the_last_boundary_is_named_so_and_none_is_none() {
        let (layers, _) = search(Some(BLOCKS + 1));
        assert_eq!(layers.first_diverging.as_deref(), Some("outputs"));
        assert_eq!(layers.last_agreeing, Some(format!("block{}", BLOCKS - 1)));
        let (layers, counts) = search(None);
        assert_eq!((layers.first_diverging, layers.last_agreeing), (None, None));
        assert_eq!(counts.len(), 2, "one look at each side is enough");
    }

    #[test]
    fn only_a_few_outputs_are_added_at_a_time_and_few_runs_are_needed() {
        let (_, counts) = search(Some(7));
        assert!(counts.iter().all(|&count| count <= 1 + 4), "{counts:?}");
        assert!(counts.len() <= 6, "{counts:?}");
    }

    #[test]
    fn boundaries_without_a_name_in_common_are_matched_one_to_one_where_there_are_as_many() {
        let folder = tempfile::tempdir().unwrap();
        let counts = std::cell::RefCell::new(Vec::new());
        let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
        let file = chain(folder.path());
        let search = |other: &ModelFile| {
            let (mut good, mut bad) = (provider(&file, None, &counts), provider(other, Some(5), &counts));
            find(&mut good, &mut bad, std::slice::from_ref(&input), ToleranceOverride::default(), 4, &mut |_| {})
        };
        let layers = search(&chain_of(folder.path(), 'u', BLOCKS)).unwrap();
        assert_eq!((layers.boundaries, layers.first_diverging.as_deref()), (BLOCKS, Some("block4")));
        let fewer = search(&chain_of(folder.path(), 'u', BLOCKS - 1)).unwrap_err();
        let LayersError::Unmatched { first_count, second_count, .. } = fewer else { panic!("{fewer}") };
        assert_eq!((first_count, second_count), (BLOCKS, BLOCKS - 1));
    }

    #[test]
    fn a_block_that_differs_from_itself_agrees_with_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = chain(folder.path());
        let counts = std::cell::RefCell::new(Vec::new());
        let mut steady = provider(&file, None, &counts);
        let mut again = provider(&file, None, &counts);
        let open = move |path: &Path| -> Result<Box<dyn crate::model::opened::Model + '_>, ModelError> {
            let mut right = (again.open)(path)?;
            let mut runs = 0;
            Ok(Box::new(Fake::new(move |inputs| {
                runs += 1;
                let mut outputs = right.run(inputs)?;
                for output in outputs.iter_mut().filter(|output| output.name == "v9") {
                    let Data::F32(values) = &mut output.data else { panic!("f32") };
                    values.iter_mut().for_each(|value| *value += runs as f32);
                }
                Ok(outputs)
            })))
        };
        let mut noisy = Candidate::of_file(&file, "cuda", Box::new(open));
        let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
        let layers = find(&mut steady, &mut noisy, &[input], ToleranceOverride::default(), 16, &mut |_| {}).unwrap();
        assert_eq!(layers.first_diverging.as_deref(), Some("block8"));
    }
}
