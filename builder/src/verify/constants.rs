//! Whether an int8 file of this program holds the integers that the checkpoint's weights round to, one by one.
//!
//! An output tells little of a single weight: what changes a value by less than half a step changes no integer behind it.
//! So the weights and biases of each convolution and linear layer, dequantized, are laid out as one dense matrix, whatever
//! form the layer has in the file (groups merged, parts of one group side by side, channels of zeros), and compared with
//! the one that the checkpoint gives.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::graph::{Graph, Node, Op, ValueId};
use crate::weight::Read;

/// What was compared weight by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Constants {
    /// Convolutions and linear layers compared.
    pub layers: usize,
    /// Those with other numbers than the checkpoint's.
    pub different: Vec<Different>,
    /// Layers that the checkpoint's network has no counterpart of: their outputs alone were compared.
    pub unmatched: usize,
}

/// A layer that holds other constants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Different {
    /// Its node.
    pub node: String,
    /// Weights and biases of it that differ.
    pub count: usize,
}

impl fmt::Display for Different {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 { "weight or bias" } else { "weights or biases" };
        write!(f, "'{}' has {} wrong {noun}", self.node, self.count)
    }
}

/// A part of a layer: some of its outputs, from some of its input channels.
struct Part {
    weights: ValueId,
    bias: Option<ValueId>,
    groups: usize,
    /// The first input channel that it reads.
    start: usize,
}

/// An output channel: the bits of its weights that are not zero, by `(input channel, tap)`, and of its bias.
type Row = (HashMap<(usize, usize), u32>, u32);

/// Compares the layers of `model` with those of `rounded`, each with what reads its tensors: with that of its name, else
/// with one that holds the same numbers, else with the next that has as many outputs. So a node with another name, or in
/// another place, is no way round the comparison.
pub(super) fn compare<M: Read, C: Read>(
    (model, of_model): (&Graph, &mut M),
    (rounded, of_checkpoint): (&Graph, &mut C),
) -> Result<Constants, Either<M::Error, C::Error>> {
    let mut expected = layers(rounded);
    let mut found = Constants::default();
    let mut renamed = Vec::new();
    for (node, parts) in layers(model) {
        let Some(at) = expected.iter().position(|(name, _)| *name == node) else {
            renamed.push((node, parts));
            continue;
        };
        let (_, same) = expected.remove(at);
        let rows = rows(model, &parts, of_model).map_err(Either::Model)?;
        found.add(node, &rows, &self::rows(rounded, &same, of_checkpoint).map_err(Either::Checkpoint)?);
    }
    if renamed.is_empty() {
        return Ok(found);
    }
    // Digests, because the numbers of all layers at once take too much memory.
    let mut left = Vec::new();
    for (_, parts) in expected {
        let rows = rows(rounded, &parts, of_checkpoint).map_err(Either::Checkpoint)?;
        left.push((rows.len(), content(&rows), parts));
    }
    let mut changed = Vec::new();
    for (node, parts) in renamed {
        let rows = rows(model, &parts, of_model).map_err(Either::Model)?;
        let content = content(&rows);
        match left.iter().position(|(_, other, _)| *other == content) {
            Some(at) => {
                left.remove(at);
                found.layers += 1;
            }
            None => changed.push((node, rows.len(), parts)),
        }
    }
    for (node, outputs, parts) in changed {
        let Some(at) = left.iter().position(|(others, ..)| *others == outputs) else {
            found.unmatched += 1;
            continue;
        };
        let (.., same) = left.remove(at);
        let rows = rows(model, &parts, of_model).map_err(Either::Model)?;
        found.add(node, &rows, &self::rows(rounded, &same, of_checkpoint).map_err(Either::Checkpoint)?);
    }
    Ok(found)
}

impl Constants {
    /// Counts the layer `node` that has these `rows` where it should have the `wanted` ones.
    fn add(&mut self, node: String, rows: &[Row], wanted: &[Row]) {
        self.layers += 1;
        let differ = |(row, wanted): (&Row, &Row)| {
            let weights = row.0.iter().filter(|(place, weight)| wanted.0.get(place) != Some(weight)).count();
            let missing = wanted.0.keys().filter(|place| !row.0.contains_key(place)).count();
            weights + missing + usize::from(row.1 != wanted.1)
        };
        let count = rows.iter().zip(wanted).map(differ).sum::<usize>() + rows.len().abs_diff(wanted.len());
        self.different.extend((count > 0).then_some(Different { node, count }));
    }
}

/// A digest of all that `rows` hold.
fn content(rows: &[Row]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (weights, bias) in rows {
        let mut weights: Vec<_> = weights.iter().collect();
        weights.sort_unstable();
        digest.update(weights.len().to_le_bytes());
        for ((channel, tap), weight) in weights {
            digest.update(channel.to_le_bytes());
            digest.update(tap.to_le_bytes());
            digest.update(weight.to_le_bytes());
        }
        digest.update(bias.to_le_bytes());
    }
    digest.finalize().into()
}

/// Which of two sides could not be read.
pub(super) enum Either<M, C> {
    /// The model.
    Model(M),
    /// The checkpoint.
    Checkpoint(C),
}

/// The layers, by name; parts that are joined under one name are one.
fn layers(graph: &Graph) -> Vec<(String, Vec<Part>)> {
    let producers = graph.producers();
    let producer = |id: ValueId| producers[id.0 as usize].map(|index| &graph.nodes[index]);
    let part = |node: &Node| {
        let groups = match node.op {
            Op::Conv(conv) => conv.group,
            Op::Gemm => 1,
            _ => return None,
        };
        let cut = producer(node.inputs[0]).and_then(|dequantize| producer(*dequantize.inputs.first()?));
        let start = match cut.map(|node| node.op) {
            Some(Op::Slice { start, .. }) => start,
            _ => 0,
        };
        Some(Part { weights: *node.inputs.get(1)?, bias: node.inputs.get(2).copied(), groups, start })
    };
    // Behind a part stand its Relu or Clip and its QuantizeLinear.
    let of_join = |id: &ValueId| {
        let mut node = producer(*id)?;
        while matches!(node.op, Op::QuantizeLinear { .. } | Op::Relu | Op::Clip) {
            node = producer(node.inputs[0])?;
        }
        Some(node)
    };
    let mut joined = Vec::new();
    let mut found = Vec::new();
    for node in graph.nodes.iter().filter(|node| node.op == Op::Concat) {
        let nodes: Option<Vec<&Node>> = node.inputs.iter().map(of_join).collect();
        let parts = nodes.as_ref().and_then(|nodes| nodes.iter().map(|node| part(node)).collect::<Option<Vec<_>>>());
        if let (Some(nodes), Some(parts)) = (nodes, parts) {
            joined.extend(nodes.into_iter().map(|node| node.output));
            found.push((node.name.clone(), parts));
        }
    }
    let alone = graph.nodes.iter().filter(|node| !joined.contains(&node.output));
    found.extend(alone.filter_map(|node| Some((node.name.clone(), vec![part(node)?]))));
    found
}

/// The output channels of a layer, its parts one after the other.
fn rows<R: Read>(graph: &Graph, parts: &[Part], source: &mut R) -> Result<Vec<Row>, R::Error> {
    let mut rows = Vec::new();
    for Part { weights, bias, groups, start } in parts {
        let (shape, weights) = numbers(graph, *weights, source)?;
        let biases = bias.map(|bias| numbers(graph, bias, source)).transpose()?.unwrap_or_default().1;
        let [out, channels, taps @ ..] = &shape[..] else { continue };
        let taps = taps.iter().product::<usize>();
        for (index, row) in weights.chunks_exact((channels * taps).max(1)).enumerate() {
            let first = start + index / (out / groups).max(1) * channels;
            let placed = row.iter().enumerate().filter(|(_, weight)| **weight != 0.0);
            let placed = placed.map(|(at, weight)| ((first + at / taps, at % taps), weight.to_bits())).collect();
            rows.push((placed, biases.get(index).map_or(0, |bias| bias.to_bits())));
        }
    }
    Ok(rows)
}

/// The shape and the numbers of a constant, dequantized where it is integers.
fn numbers<R: Read>(graph: &Graph, id: ValueId, source: &mut R) -> Result<(Vec<usize>, Vec<f32>), R::Error> {
    if let Some(weight) = &graph.value(id).weight {
        return Ok((weight.shape(), weight.eval_f32(source)?));
    }
    let dequantize = graph.nodes.iter().find(|node| node.output == id);
    let operand = |at: usize| dequantize.and_then(|node| graph.value(*node.inputs.get(at)?).weight.as_ref());
    let (Some(integers), Some(scales)) = (operand(0), operand(1)) else { return Ok(Default::default()) };
    let (shape, scales) = (integers.shape(), scales.eval_f64(source)?);
    let mut numbers = integers.eval_f64(source)?;
    let row = (numbers.len() / scales.len().max(1)).max(1);
    numbers.chunks_mut(row).zip(&scales).for_each(|(row, scale)| row.iter_mut().for_each(|number| *number *= scale));
    Ok((shape, numbers.into_iter().map(|number| number as f32).collect()))
}
