//! The architecture of a model by its graph, whatever its names: from convolution to convolution, addition to addition.
//!
//! Passes and exporters change names, fold normalisations, split blocks and convert types; which convolutions lie between
//! two additions stays. Every node is walked over; one that is no part of a network of the family is named.

mod unit;
mod walker;

use onnx_file::proto::GraphProto;

use crate::architecture::Inferred;
use crate::variant::{Block, Stem, Variant};
use unit::{Conv, Unit};
use walker::Walker;

/// What a graph is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Structure {
    pub(super) network: Inferred,
    /// In which of its forms, as far as it is not the plain one.
    pub(super) form: Vec<String>,
}

/// The structure of `graph`; `declared` is the network that its metadata name.
pub(super) fn of(graph: &GraphProto, declared: Option<&Variant>) -> Result<Structure, String> {
    let mut walker = Walker::new(graph)?;
    let (stem, planes, channels) = walker.stem()?;
    let mut units = Vec::new();
    let mut last = None;
    for (index, node) in graph.node.iter().enumerate() {
        if node.op_type == "Add" && walker.is_residual(node) {
            units.push(walker.unit(node)?);
            walker.seen.insert(index);
            last = Some(index);
        }
    }
    let Some(last) = last else { return Err("no two branches are added, so there is no residual block".into()) };
    let mut hidden = walker.head(last);
    let classes = hidden.pop();
    walker.all_seen()?;
    let (variant, mut form) = variant(stem, planes, &units, declared)?;
    check(&variant, &units)?;
    if units.iter().any(|unit| unit.subsampled) {
        form.push("the pixels of strided 1x1 convolutions are taken before them".into());
    }
    if let Some((_, summed)) = units.iter().find_map(|unit| unit.split) {
        form.push(if summed { "whole branches, summed" } else { "branches, concatenated" }.into());
    }
    Ok(Structure { network: Inferred { variant, channels, hidden, classes }, form })
}

/// The network that the units make, and how its groups were widened.
fn variant(
    stem: Stem,
    planes: usize,
    units: &[Unit],
    declared: Option<&Variant>,
) -> Result<(Variant, Vec<String>), String> {
    let mut blocks: Vec<usize> = Vec::new();
    let mut groups: Vec<usize> = Vec::new();
    let mut before = None;
    for unit in units {
        let out = unit.main.last().map_or(0, |conv| conv.out);
        let group = unit.main.get(1).map_or(1, |conv| conv.group);
        if before != Some(out) {
            blocks.push(0);
            groups.push(group);
        }
        before = Some(out);
        if let Some(count) = blocks.last_mut() {
            *count += 1;
        }
        if groups.last() != Some(&group) {
            return Err(format!("a stage has 3x3 convolutions of {} and of {group} groups", groups[groups.len() - 1]));
        }
    }
    let first = &units[0].main;
    let (block, width) = match first[..] {
        [Conv { kernel: 3, .. }, Conv { kernel: 3, .. }] => (Block::Basic, planes),
        [Conv { kernel: 1, .. }, Conv { kernel: 3, out, .. }, Conv { kernel: 1, .. }] => (Block::Bottleneck, out),
        _ => {
            let kernels: Vec<String> = first.iter().map(|conv| format!("{0}x{0}", conv.kernel)).collect();
            return Err(format!(
                "its first block is {}, where the family has 1x1, 3x3, 1x1 or 3x3, 3x3",
                if kernels.is_empty() { "empty".into() } else { kernels.join(", ") }
            ));
        }
    };
    let plain = Variant { block, stem, blocks, planes, cardinality: groups[0], group_width: width / groups[0] };
    let widened = || {
        let counts: Vec<String> = groups.iter().map(usize::to_string).collect();
        format!("grouped convolutions widened: {} groups by stage", counts.join(", "))
    };
    if let Some(declared) = declared {
        let wider = Variant { cardinality: declared.cardinality, group_width: declared.group_width, ..plain.clone() };
        let coarser = groups.iter().all(|group| declared.cardinality % group == 0 && *group <= declared.cardinality);
        if wider == *declared && coarser && groups.iter().any(|group| *group != declared.cardinality) {
            return Ok((wider, vec![widened()]));
        }
    }
    if groups.iter().any(|group| *group != groups[0]) {
        return Err(format!(
            "its 3x3 convolutions have {groups:?} groups by stage: widened, and nothing in the file says from which cardinality"
        ));
    }
    let checked = plain.check().map_err(|error| error.to_string())?;
    Ok((checked, Vec::new()))
}

/// Holds every convolution against `variant`.
fn check(variant: &Variant, units: &[Unit]) -> Result<(), String> {
    let mut at = 0;
    let mut inner = variant.planes;
    for (stage, &count) in variant.blocks.iter().enumerate() {
        for block in 0..count {
            let unit = &units[at];
            at += 1;
            let (width, out) = (variant.width(stage), variant.out_channels(stage));
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let channels: Vec<(usize, usize)> = unit.main.iter().map(|conv| (conv.inner, conv.out)).collect();
            let expected = match variant.block {
                Block::Basic => vec![(inner, width), (width, out)],
                Block::Bottleneck => vec![(inner, width), (width, width), (width, out)],
            };
            let strides = unit.main.iter().try_fold(1usize, |all, conv| all.checked_mul(conv.stride));
            let projection = (stride != 1 || inner != out).then_some((inner, out, stride));
            let found = unit.shortcut.map(|conv| (conv.inner, conv.out, conv.stride));
            if channels != expected || strides != Some(stride) || found != projection {
                return Err(format!(
                    "block {block} of stage {} takes {channels:?} channels with stride {} and the shortcut {found:?}, where {variant} has {expected:?}, stride {stride} and {projection:?}",
                    stage + 1,
                    strides.map_or("out of range".into(), |stride| stride.to_string())
                ));
            }
            inner = out;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
