//! The classifier, whatever it is called: one linear layer, or several with ReLU between, on the pooled features.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::{self, Side, VECTORS};
use super::tensor::{Tensor, constant, leave_out};
use crate::architecture::hidden;
use crate::checkpoint::choice::{Choice, Undecided};
use crate::checkpoint::error::Fault;

/// torchvision's name of the last linear layer, which [`Head`] puts in place of the file's.
const LAST: &str = "fc";

/// A classifier as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Names of its linear layers in the file, in order.
    pub layers: Vec<String>,
    /// Whether each of them has a bias.
    pub biased: bool,
}

/// What came of looking for the classifier.
pub(super) enum Settled {
    /// It is this.
    Found(Head),
    /// There is none, or none is wanted.
    Absent,
    /// Several things may be it.
    Undecided(Undecided),
}

/// Tensors under one name, numbers at its end left out: `fc` of `fc.1.weight` and `fc.4.bias`.
#[derive(Default)]
struct Group {
    /// Index of a weight, where its number stands in the name, its outputs and inputs.
    linears: Vec<Linear>,
    /// Normalisations of vectors: name, number, channels.
    norms: Vec<Linear>,
    /// Whether there is more than these layers.
    more: bool,
    inside: bool,
}

#[derive(Clone)]
struct Linear {
    base: String,
    number: Option<usize>,
    out: usize,
    features: usize,
}

/// Finds the classifier among what is no part of stem or stages, and gives it torchvision's names. What `choice` leaves out
/// goes.
pub(super) fn settle(
    tensors: &mut Vec<Tensor>,
    choice: &Choice,
    left_out: &mut Vec<String>,
    folded: &mut Vec<String>,
) -> Result<Settled, Fault> {
    for name in &choice.drop_heads {
        let named =
            |own: &str| own.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let is_it = |tensor: &Tensor| !tensor.body && (named(&tensor.name) || named(&tensor.file));
        if !tensors.iter().any(is_it) {
            let known = groups(tensors).into_keys().collect();
            return Err(Fault::NoSuchHead { head: name.clone(), known });
        }
        leave_out(tensors, left_out, is_it);
    }
    let groups = groups(tensors);
    if choice.no_head {
        let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let heads: Vec<String> = groups.keys().map(|root| first(root)).collect();
        leave_out(tensors, left_out, |tensor| !tensor.body && heads.contains(&first(&tensor.name)));
        return Ok(Settled::Absent);
    }
    let Some(features) = features(tensors) else { return Ok(Settled::Absent) };
    // With a prefix of the user's, what lies outside counts only where there is nothing inside.
    let whole = choice.prefix.is_none();
    let chains = |inside: bool| -> Vec<Vec<Linear>> {
        let of = groups.values().filter(|group| whole || group.inside == inside);
        of.filter_map(|group| chain(group, features)).collect()
    };
    let mut found = chains(true);
    if found.is_empty() && !whole {
        found = chains(false);
    }
    let counted = groups.values().filter(|group| whole || group.inside).count();
    let layers = match (&found[..], counted) {
        ([one], 0 | 1) => one.clone(),
        _ => match chain_of_names(&groups, features).filter(|_| whole) {
            Some(layers) => layers,
            None if counted == 0 => return Ok(Settled::Absent),
            None => {
                let known = groups.iter().filter(|(_, group)| whole || group.inside);
                let known = known.map(|(root, group)| described(root, group)).collect();
                return Ok(Settled::Undecided(Undecided::Heads { features, known, tensors: under(tensors, &groups) }));
            }
        },
    };
    let norms = groups.into_values().find(|group| group.linears.iter().any(|linear| linear.base == layers[0].base));
    let placed = norms.map_or(Vec::new(), |group| placed(&group.norms, &layers).unwrap_or_default());
    let head = rename(tensors, &layers);
    for (norm, layer, side) in placed {
        if fold::normalisation(tensors, &norm.base, &layer_name(layer, layers.len()), side).is_some() {
            folded.push(norm.base);
        }
    }
    Ok(Settled::Found(head))
}

/// Linear layers by the name that they stand under.
fn groups(tensors: &[Tensor]) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let aside = tensors.iter().filter(|tensor| !tensor.body);
    for tensor in aside.clone() {
        let Some(base) = tensor.name.strip_suffix(".weight") else { continue };
        let [out, features] = tensor.info.shape[..] else { continue };
        if !tensor.info.dtype.is_float() {
            continue;
        }
        let (root, number) = root(base);
        let group = groups.entry(root.to_owned()).or_default();
        group.inside |= tensor.inside;
        group.linears.push(Linear { base: base.to_owned(), number, out, features });
    }
    for tensor in aside {
        let Some((base, parameter)) = tensor.name.rsplit_once('.') else { continue };
        if let Some(group) = groups.get_mut(root(base).0) {
            let linear = matches!(parameter, "weight" | "bias") && group.linears.iter().any(|own| own.base == base);
            let norm = norm_of(tensors, base);
            if let Some(norm) = norm.clone().filter(|_| parameter == "running_var") {
                group.norms.push(norm);
            }
            let known = norm.is_some() && (VECTORS.contains(&parameter) || parameter == "num_batches_tracked");
            group.more |= !linear && !known;
        }
    }
    groups
}

/// The tensors that lie under the names of `groups`.
fn under(tensors: &[Tensor], groups: &BTreeMap<String, Group>) -> Vec<String> {
    let base = |tensor: &Tensor| tensor.name.rsplit_once('.').map(|(base, _)| root(base).0.to_owned());
    let is_under = |tensor: &&Tensor| !tensor.body && base(tensor).is_some_and(|root| groups.contains_key(&root));
    tensors.iter().filter(is_under).map(|tensor| tensor.name.clone()).collect()
}

/// `fc` and 1 of `fc.1`.
fn root(base: &str) -> (&str, Option<usize>) {
    match base.rsplit_once('.') {
        Some((root, number)) => match number.parse() {
            Ok(number) => (root, Some(number)),
            Err(_) => (base, None),
        },
        None => (base, None),
    }
}

/// The linear layers of `group` in order, where they take the network's features and there is a layer between each two.
fn chain(group: &Group, features: usize) -> Option<Vec<Linear>> {
    let mut linears = group.linears.clone();
    linears.sort_by_key(|linear| linear.number);
    let fits = linears.windows(2).all(|pair| {
        let apart = pair[0].number.zip(pair[1].number).is_some_and(|(a, b)| {
            let norms = group.norms.iter().filter(|norm| norm.number.is_some_and(|at| a < at && at < b)).count();
            b > a + 1 + norms
        });
        pair[0].out == pair[1].features && apart
    });
    let fits = fits && placed(&group.norms, &linears).is_some();
    (!group.more && fits && linears.first().is_some_and(|first| first.features == features)).then_some(linears)
}

/// `fc1`, `fc2`, ...: single layers under one name but for its number, which fit together in one way only, all of them used.
/// Of layers with names of their own nobody knows what stands between: an embedding before the weights of a loss, perhaps.
fn chain_of_names(groups: &BTreeMap<String, Group>, features: usize) -> Option<Vec<Linear>> {
    let stem = |root: &str| root.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_').to_owned();
    let stems: BTreeSet<String> = groups.keys().map(|root| stem(root)).collect();
    if stems.len() > 1 {
        return None;
    }
    let mut left = Vec::new();
    for group in groups.values() {
        let [only] = &group.linears[..] else { return None };
        if group.more || !group.norms.is_empty() {
            return None;
        }
        left.push(only.clone());
    }
    let (mut chain, mut features) = (Vec::new(), features);
    while !left.is_empty() {
        let mut fitting = left.iter().enumerate().filter(|(_, linear)| linear.features == features);
        let (Some((index, _)), None) = (fitting.next(), fitting.next()) else { return None };
        let linear = left.swap_remove(index);
        features = linear.out;
        chain.push(linear);
    }
    Some(chain)
}

/// The normalisation of vectors `base`, where it has all its parts.
fn norm_of(tensors: &[Tensor], base: &str) -> Option<Linear> {
    let length = |part: &str| {
        let name = format!("{base}.{part}");
        let tensor = tensors.iter().find(|tensor| !tensor.body && tensor.name == name)?;
        if let [length] = tensor.info.shape[..] { Some(length) } else { None }
    };
    let channels = length(VECTORS[0])?;
    let whole = VECTORS.iter().all(|part| length(part) == Some(channels));
    let number = root(base).1;
    whole.then(|| Linear { base: base.to_owned(), number, out: channels, features: channels })
}

/// Beside which of `layers` each normalisation stands, and on which side; `None` where a number leaves it open on which side
/// of an activation it is.
fn placed(norms: &[Linear], layers: &[Linear]) -> Option<Vec<(Linear, usize, Side)>> {
    let place = |norm: &Linear| {
        let at = norm.number?;
        let next = layers.iter().position(|layer| layer.number.is_some_and(|number| number > at));
        let last = next.unwrap_or(layers.len()).checked_sub(1);
        let number = |index: Option<usize>| index.and_then(|index| layers[index].number);
        let (behind, ahead) =
            (at.checked_sub(1).is_some_and(|at| number(last) == Some(at)), number(next) == Some(at + 1));
        let (layer, side) = match (behind, ahead) {
            (true, false) => (last?, Side::After),
            (false, true) => (next?, Side::Before),
            _ => return None,
        };
        let channels = if side == Side::After { layers[layer].out } else { layers[layer].features };
        (channels == norm.out).then(|| (norm.clone(), layer, side))
    };
    norms.iter().map(place).collect()
}

/// torchvision's name of the layer `index` of `count`.
fn layer_name(index: usize, count: usize) -> String {
    if index + 1 == count { LAST.to_owned() } else { hidden(index) }
}

/// Channels of the last stage.
fn features(tensors: &[Tensor]) -> Option<usize> {
    let channels = |stage: usize| {
        let last = ["conv3", "conv2"].map(|conv| format!("layer{stage}.0.{conv}.weight"));
        let find = |name: &String| tensors.iter().find(|tensor| tensor.body && tensor.name == *name);
        last.iter().find_map(find).and_then(|tensor| tensor.info.shape.first().copied())
    };
    (1..).map_while(channels).last()
}

/// `projection_head (2048 to 128)`.
fn described(root: &str, group: &Group) -> String {
    let layers: Vec<String> =
        group.linears.iter().map(|linear| format!("{} to {}", linear.features, linear.out)).collect();
    let more = if group.more { ", and other layers beside it" } else { "" };
    format!("{root} ({}{more})", layers.join(", "))
}

/// Gives `layers` torchvision's names, and zeros for a bias where one is missing.
fn rename(tensors: &mut Vec<Tensor>, layers: &[Linear]) -> Head {
    let mut biased = true;
    let mut added = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = layer_name(index, layers.len());
        let (weight, bias) = (format!("{}.weight", layer.base), format!("{}.bias", layer.base));
        let mut has_bias = false;
        for tensor in tensors.iter_mut().filter(|tensor| !tensor.body) {
            if tensor.name == weight {
                (tensor.name, tensor.body) = (format!("{name}.weight"), true);
            } else if tensor.name == bias {
                (tensor.name, tensor.body, has_bias) = (format!("{name}.bias"), true, true);
            }
        }
        if !has_bias {
            biased = false;
            added.push(constant(format!("{name}.bias"), &[layer.out], 0.0));
        }
    }
    tensors.extend(added);
    Head { layers: layers.iter().map(|layer| layer.base.clone()).collect(), biased }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: usize, features: usize, out: usize) -> Linear {
        Linear { base: format!("fc.{number}"), number: Some(number), out, features }
    }

    /// Which side of which layer the normalisation `number` of 6 channels stands on, between layers of 0 and `last`.
    fn side(number: usize, last: usize) -> Option<(usize, Side)> {
        let placed = placed(&[layer(number, 6, 6)], &[layer(0, 64, 6), layer(last, 6, 4)])?;
        placed.first().map(|(_, layer, side)| (*layer, *side))
    }

    #[test]
    fn a_normalisation_is_folded_only_where_its_number_tells_on_which_side_of_the_activation_it_is() {
        assert!(side(1, 3) == Some((0, Side::After)));
        assert!(side(2, 3) == Some((1, Side::Before)));
        assert!(side(2, 4).is_none(), "between two layers that are not named");
        assert!(side(1, 2).is_none(), "no activation at all");
        assert!(placed(&[layer(1, 5, 5)], &[layer(0, 64, 6), layer(3, 6, 4)]).is_none(), "other channels");
    }
}
