//! Which network a set of named tensors is: the one answer that building, inspecting and verifying share.
//!
//! Every tensor is explained or named: used by a network of the family, known to be of another, or neither. So what is
//! said of a file is true of all of it, and a network that is not known is called that, beside the nearest one.

mod marks;
mod other;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use other::list;
pub use other::{Known, Nearest, Other, Shapes};

use crate::architecture::{self, Inferred, Options, infer};
use crate::variant::{Block, Stem, Variant};

/// Tells the network by the names and shapes of its tensors. A classifier has no part in that: all that stands under `fc` is
/// left to who builds one, as is its absence.
///
/// # Errors
/// [`Other`], for tensors that are not those of a network of the family.
pub fn identify(shapes: &Shapes<'_>) -> Result<Inferred, Box<Other>> {
    let inferred = infer(|name| shapes.get(name).copied());
    if let Ok(found) = &inferred
        && compare(&found.variant, found.channels, shapes).is_none()
    {
        return Ok(found.clone());
    }
    let nearest = match inferred {
        Ok(found) => compare(&found.variant, found.channels, shapes),
        Err(_) => guess(shapes).and_then(|variant| compare(&variant, 3, shapes)),
    };
    let known = marks::of(shapes);
    let beginnings = if nearest.is_none() { beginnings(shapes) } else { Vec::new() };
    Err(Box::new(Other { known, nearest, beginnings }))
}

/// Whether a tensor is there for training or counting alone: BatchNorm2d counts its steps, an averaged model its
/// updates.
pub fn is_counter(name: &str) -> bool {
    name.ends_with(".num_batches_tracked") || name == "n_averaged"
}

/// What `shapes` has more, less or otherwise than `variant` for images of `channels`; none where it is that.
fn compare(variant: &Variant, channels: usize, shapes: &Shapes<'_>) -> Option<Nearest> {
    let options = Options { channels, ..Options::classifier(variant) };
    let graph = architecture::build(variant, &options).ok()?;
    let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for id in graph.weights() {
        if let Some(weight) = &graph.value(id).weight {
            weight.for_each_stored(&mut |name, shape| {
                expected.insert(name.to_owned(), shape.to_vec());
            });
        }
    }
    expected.retain(|name, _| !is_head(name));
    let explained = |name: &&&str| !expected.contains_key(**name) && !is_counter(name) && !is_head(name);
    let extra: Vec<String> = shapes.keys().filter(explained).map(|name| (*name).to_owned()).collect();
    let missing: Vec<String> = expected.keys().filter(|name| !shapes.contains_key(name.as_str())).cloned().collect();
    let misshapen: Vec<_> = expected
        .iter()
        .filter_map(|(name, shape)| Some((name, shapes.get(name.as_str())?, shape)))
        .filter(|(_, found, shape)| *found != &shape.as_slice())
        .map(|(name, found, shape)| (name.clone(), found.to_vec(), shape.clone()))
        .collect();
    let same = extra.is_empty() && missing.is_empty() && misshapen.is_empty();
    (!same).then(|| Nearest { variant: variant.clone(), extra, missing, misshapen })
}

/// Packed integers under that name are a quantized layer's.
fn is_head(name: &str) -> bool {
    name.starts_with("fc.") && !name.contains("_packed_params")
}

/// The network of the family that names of blocks call to mind, whatever stands in them.
fn guess(shapes: &Shapes<'_>) -> Option<Variant> {
    let places: BTreeSet<(usize, usize)> = shapes
        .keys()
        .filter_map(|name| {
            let (layer, rest) = name.strip_prefix("layer")?.split_once('.')?;
            Some((layer.parse().ok()?, rest.split('.').next()?.parse().ok()?))
        })
        .collect();
    let blocks: Vec<usize> = (1..=6)
        .map(|layer| places.iter().filter(|(l, _)| *l == layer).count())
        .take_while(|count| *count > 0)
        .collect();
    if blocks.is_empty() {
        return None;
    }
    let shape = |name: &str| shapes.get(name).copied().unwrap_or_default();
    let (stem, planes) = match *shape("conv1.weight") {
        [planes, _, 3, 3] => (Stem::Cifar, planes),
        [planes, ..] => (Stem::ImageNet, planes),
        [] => (Stem::ImageNet, 64),
    };
    let bottleneck = shapes.contains_key("layer1.0.conv3.weight");
    let mut variant = Variant { stem, blocks, planes, ..Variant::default() };
    if bottleneck {
        if let [width, per_group, 3, 3] = *shape("layer1.0.conv2.weight")
            && per_group > 0
            && width % per_group == 0
        {
            (variant.cardinality, variant.group_width) = (width / per_group, per_group);
        }
    } else {
        variant = Variant { block: Block::Basic, cardinality: 1, group_width: planes, ..variant };
    }
    variant.check().ok()
}

/// The first parts of names, with how many names have each.
fn beginnings(shapes: &Shapes<'_>) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in shapes.keys() {
        *counts.entry(name.split('.').next().unwrap_or_default()).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(5);
    counts
}

#[cfg(test)]
mod tests;
