//! Residual blocks: the basic one, and the bottleneck in the paper's three equivalent forms (Figure 3).
//!
//! With C groups, the 3x3's weight `[W, W / C, 3, 3]` is C smaller ones side by side. Form (c) runs it as one grouped
//! convolution. Form (b) runs each group as a branch of its own and joins them before the last 1x1. Form (a) also
//! splits the last 1x1: its weight times a concatenation equals the sum of its column blocks times the parts. All three
//! read the same tensors; (b) and (a) read slices of them.

use super::layer::{convolve, normalise, normalise_part};
use super::options::{BlockForm, Options, StrideIn};
use crate::graph::{Conv, Graph, Op, ValueId};
use crate::shape::ShapeError;
use crate::variant::{Block, Variant};
use crate::weight::Weight;

/// Where a block stands.
pub(super) struct Place {
    /// `layer1.0`.
    pub(super) name: String,
    pub(super) in_channels: usize,
    /// Channels of its 3x3.
    pub(super) width: usize,
    pub(super) out_channels: usize,
    pub(super) stride: usize,
}

/// Appends a block and returns its output, named like the block.
pub(super) fn build(
    graph: &mut Graph,
    variant: &Variant,
    options: &Options,
    place: &Place,
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let branch = match (variant.block, options.block_form) {
        (Block::Basic, _) => basic(graph, place, x)?,
        (Block::Bottleneck, BlockForm::Concat | BlockForm::Branches) if variant.cardinality > 1 => {
            split(graph, variant.cardinality, options, place, x)?
        }
        (Block::Bottleneck, _) => grouped(graph, variant.cardinality, options, place, x)?,
    };
    let name = &place.name;
    let identity = if place.stride != 1 || place.in_channels != place.out_channels {
        let conv = format!("{name}.downsample.0");
        let weight = Weight::stored(format!("{conv}.weight"), &[place.out_channels, place.in_channels, 1, 1]);
        let projected = convolve(graph, &conv, Conv::square(1, place.stride, 0, 1), weight, x)?;
        normalise(graph, &format!("{name}.downsample.1"), place.out_channels, projected)?
    } else {
        x
    };
    let sum = graph.add_node(format!("{name}.add"), Op::Add, &[branch, identity])?;
    graph.add_node(name.clone(), Op::Relu, &[sum])
}

/// conv -> bn of a whole tensor called `name.conv{k}`.
fn conv_bn(
    graph: &mut Graph,
    name: &str,
    k: usize,
    conv: Conv,
    [out, inner]: [usize; 2],
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let conv_name = format!("{name}.conv{k}");
    let [height, width] = conv.kernel;
    let weight = Weight::stored(format!("{conv_name}.weight"), &[out, inner, height, width]);
    let x = convolve(graph, &conv_name, conv, weight, x)?;
    normalise(graph, &format!("{name}.bn{k}"), out, x)
}

fn basic(graph: &mut Graph, place: &Place, x: ValueId) -> Result<ValueId, ShapeError> {
    let Place { name, width, in_channels, .. } = place;
    let x = conv_bn(graph, name, 1, Conv::square(3, place.stride, 1, 1), [*width, *in_channels], x)?;
    let x = graph.add_node(format!("{name}.relu1"), Op::Relu, &[x])?;
    conv_bn(graph, name, 2, Conv::square(3, 1, 1, 1), [*width, *width], x)
}

/// Strides of the first 1x1 and the 3x3.
fn strides(options: &Options, place: &Place) -> [usize; 2] {
    match options.stride_in {
        StrideIn::Conv3x3 => [1, place.stride],
        StrideIn::Conv1x1 => [place.stride, 1],
    }
}

/// Form (c).
fn grouped(
    graph: &mut Graph,
    cardinality: usize,
    options: &Options,
    place: &Place,
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let Place { name, width, .. } = place;
    let [stride1, stride2] = strides(options, place);
    let x = conv_bn(graph, name, 1, Conv::square(1, stride1, 0, 1), [*width, place.in_channels], x)?;
    let x = graph.add_node(format!("{name}.relu1"), Op::Relu, &[x])?;
    let x = conv_bn(graph, name, 2, Conv::square(3, stride2, 1, cardinality), [*width, width / cardinality], x)?;
    let x = graph.add_node(format!("{name}.relu2"), Op::Relu, &[x])?;
    conv_bn(graph, name, 3, Conv::square(1, 1, 0, 1), [place.out_channels, *width], x)
}

/// Forms (b) and (a). Nodes stand layer by layer, not branch by branch, so that the slices of one tensor follow each
/// other in the file and the tensor is read once.
fn split(
    graph: &mut Graph,
    cardinality: usize,
    options: &Options,
    place: &Place,
    x: ValueId,
) -> Result<ValueId, ShapeError> {
    let Place { name, width, in_channels, out_channels, .. } = place;
    let part = width / cardinality;
    let [stride1, stride2] = strides(options, place);
    let conv1 = Weight::stored(format!("{name}.conv1.weight"), &[*width, *in_channels, 1, 1]);
    let conv2 = Weight::stored(format!("{name}.conv2.weight"), &[*width, part, 3, 3]);
    let conv3 = Weight::stored(format!("{name}.conv3.weight"), &[*out_channels, *width, 1, 1]);
    let inputs = vec![x; cardinality];
    let branches = layer(graph, place, 1, Conv::square(1, stride1, 0, 1), &conv1, &inputs)?;
    let branches = layer(graph, place, 2, Conv::square(3, stride2, 1, 1), &conv2, &branches)?;
    if options.block_form == BlockForm::Concat {
        let joined = graph.add_node(format!("{name}.concat"), Op::Concat, &branches)?;
        let x = convolve(graph, &format!("{name}.conv3"), Conv::square(1, 1, 0, 1), conv3, joined)?;
        return normalise(graph, &format!("{name}.bn3"), *out_channels, x);
    }
    let mut parts = Vec::with_capacity(cardinality);
    for (index, &branch) in branches.iter().enumerate() {
        let weight = conv3.clone().slice(1, index * part, part);
        let conv = format!("{name}.branch{index}.conv3");
        parts.push(convolve(graph, &conv, Conv::square(1, 1, 0, 1), weight, branch)?);
    }
    let sum = graph.add_node(format!("{name}.sum"), Op::Sum, &parts)?;
    normalise(graph, &format!("{name}.bn3"), *out_channels, sum)
}

/// One conv -> bn -> relu in every branch; branch i takes rows i * part .. of `whole`.
fn layer(
    graph: &mut Graph,
    place: &Place,
    k: usize,
    conv: Conv,
    whole: &Weight,
    inputs: &[ValueId],
) -> Result<Vec<ValueId>, ShapeError> {
    let part = place.width / inputs.len();
    let mut values = Vec::with_capacity(inputs.len());
    for (index, &input) in inputs.iter().enumerate() {
        let name = format!("{}.branch{index}", place.name);
        let weight = whole.clone().slice(0, index * part, part);
        let x = convolve(graph, &format!("{name}.conv{k}"), conv, weight, input)?;
        let stored = format!("{}.bn{k}", place.name);
        let x = normalise_part(graph, &format!("{name}.bn{k}"), &stored, place.width, index * part, part, x)?;
        values.push(graph.add_node(format!("{name}.relu{k}"), Op::Relu, &[x])?);
    }
    Ok(values)
}
