//! A layer and its parameters, by torchvision's names.

use crate::graph::{Conv, Graph, Op, ValueId};
use crate::shape::ShapeError;
use crate::weight::Weight;

/// torchvision's `eps` of every BatchNorm2d; checkpoints do not store it.
pub const EPSILON: f64 = 1e-5;

/// A linear layer; its weight is called `name.weight`.
pub(super) fn linear(
    graph: &mut Graph,
    name: &str,
    [out, features]: [usize; 2],
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let mut parameter = |parameter: &str, shape: &[usize]| {
        let name = format!("{name}.{parameter}");
        graph.add_weight(name.clone(), Weight::stored(name, shape))
    };
    let (weight, bias) = (parameter("weight", &[out, features]), parameter("bias", &[out]));
    graph.add_node(name, Op::Gemm, &[x, weight, bias])
}

/// Name of a linear layer before the last; torchvision has none.
pub fn hidden(index: usize) -> String {
    format!("fc.hidden.{index}")
}

/// A convolution without bias; its weight is called `name.weight`.
pub(super) fn convolve(
    graph: &mut Graph,
    name: &str,
    conv: Conv,
    weight: Weight,
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let weight = graph.add_weight(format!("{name}.weight"), weight);
    graph.add_node(name, Op::Conv(conv), &[x, weight])
}

/// The normalisation `name` with all its channels.
pub(super) fn normalise(graph: &mut Graph, name: &str, channels: usize, x: ValueId) -> Result<ValueId, ShapeError> {
    normalise_part(graph, name, name, channels, 0, channels, x)
}

/// Channels `start .. start + len` of the normalisation stored as `stored` with `channels` channels.
pub(super) fn normalise_part(
    graph: &mut Graph,
    name: &str,
    stored: &str,
    channels: usize,
    start: usize,
    len: usize,
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let mut inputs = vec![x];
    for parameter in ["weight", "bias", "running_mean", "running_var"] {
        let whole = Weight::stored(format!("{stored}.{parameter}"), &[channels]);
        let part = if len == channels { whole } else { whole.slice(0, start, len) };
        inputs.push(graph.add_weight(format!("{name}.{parameter}"), part));
    }
    graph.add_node(name, Op::BatchNorm { epsilon: EPSILON }, &inputs)
}
