//! Names as files have them into torchvision's: the prefix that a wrapper put before every name, the naming of another
//! library, the classifier under any name.
//!
//! Only names are looked at, and the shapes of what may be a classifier: whether the network is one of the family is told
//! afterwards, on torchvision's names.

mod fold;
mod head;
mod scheme;
mod tensor;

use std::collections::HashMap;

pub use head::Head;
pub use scheme::Naming;

use super::choice::{ChannelOrder, Choice, Undecided};
use super::error::Fault;
use super::tensor::TensorInfo;
use super::values::Data;
use crate::identity::is_counter;
use head::Settled;
use tensor::{Tensor, constant, leave_out};

/// What `DataParallel` and `AveragedModel` put before every name.
const MODULE_PREFIX: &str = "module.";

/// The number of averaged steps, which `AveragedModel` stores beside the prefixed names.
const AVERAGED_STEPS: &str = "n_averaged";

/// What torch's wrappers put into names, at any place.
const WRAPPERS: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// What a profiler of operations leaves in the names.
const COUNTERS: [&str; 2] = ["total_ops", "total_params"];

/// Tensors by torchvision's names, and how they came to have them.
pub(super) struct Named {
    pub(super) tensors: Vec<(TensorInfo, Data)>,
    pub(super) prefix: Option<String>,
    pub(super) naming: Naming,
    pub(super) head: Option<Head>,
    pub(super) undecided: Option<Undecided>,
    /// The order of the colour channels of the file's network, where it takes three. The tensors here are those of RGB.
    pub(super) channel_order: ChannelOrder,
    /// Mean and deviation of a layer before the network that normalises images, in the file's order.
    pub(super) normalisation: Option<Box<[Data; 2]>>,
    /// Layers that were folded into those beside them, by their names in the file.
    pub(super) folded: Vec<String>,
    /// Tensors that are not part of the network, by their names in the file.
    pub(super) left_out: Vec<String>,
}

/// Gives `tensors` torchvision's names, and its order of colours. `from_torchvision`: the file says that it is of it.
///
/// # Errors
///
/// If there is not what `choice` names.
pub(super) fn normalise(
    tensors: Vec<(TensorInfo, Data)>,
    choice: &Choice,
    from_torchvision: bool,
) -> Result<Named, Fault> {
    let mut tensors = join_pruned(tensors);
    let mut left_out = Vec::new();
    tensors.retain(|(info, _)| {
        let last = info.name.rsplit('.').next().unwrap_or_default();
        !(COUNTERS.contains(&last) && info.shape.iter().product::<usize>() <= 1)
    });
    let stripped = if choice.prefix.is_none() { strip_module(&mut tensors) } else { String::new() };
    let (naming, prefix, wrapper) = match find_prefix(&tensors, choice)? {
        Found::One(naming, prefix, wrapper) => (naming, prefix, wrapper),
        other => {
            let prefix = (!stripped.is_empty()).then_some(stripped);
            let undecided = other.undecided();
            return Ok(Named {
                tensors,
                prefix,
                naming: Naming::Torchvision,
                head: None,
                undecided,
                channel_order: ChannelOrder::Rgb,
                normalisation: None,
                folded: Vec::new(),
                left_out,
            });
        }
    };
    let mut tensors: Vec<Tensor> = tensors
        .into_iter()
        .map(|(info, data)| {
            let file = info.name.clone();
            let own = if wrapper { unwrap_name(&file) } else { file.clone() };
            let rest = own.strip_prefix(&prefix).map(unwrap_name);
            let inside = rest.is_some();
            let rest = rest.unwrap_or_else(|| own.clone());
            let mapped = if inside { naming.torchvision(&rest) } else { None };
            let (name, body) = mapped.unwrap_or((rest, false));
            Tensor { file, name, inside, body, info, data }
        })
        .collect();
    if naming == Naming::Caffe2 {
        complete_statistics(&mut tensors);
    }
    let mut folded = fold::biases(&mut tensors);
    let (head, undecided) = match head::settle(&mut tensors, choice, &mut left_out, &mut folded)? {
        Settled::Found(head) => (Some(head), None),
        Settled::Absent => (None, None),
        Settled::Undecided(undecided) => (None, Some(undecided)),
    };
    let normalisation = take_normalisation(&mut tensors, &mut left_out);
    if choice.prefix.is_some() {
        leave_out(&mut tensors, &mut left_out, |tensor| !tensor.inside && !tensor.body);
    } else {
        leave_out(&mut tensors, &mut left_out, |tensor| !tensor.body && is_aside(tensor));
    }
    let usual = if from_torchvision { ChannelOrder::Rgb } else { naming.channel_order() };
    let mut channel_order = choice.channel_order.unwrap_or(usual);
    if channel_order == ChannelOrder::Bgr && !reverse_stem(&mut tensors) {
        channel_order = ChannelOrder::Rgb;
    }
    let removed = if wrapper { common_prefix(&tensors) } else { prefix };
    let prefix = Some(format!("{stripped}{removed}")).filter(|prefix| !prefix.is_empty());
    let tensors = tensors.into_iter().map(|tensor| (TensorInfo { name: tensor.name, ..tensor.info }, tensor.data));
    let tensors = tensors.collect();
    Ok(Named { tensors, prefix, naming, head, undecided, channel_order, normalisation, folded, left_out })
}

/// What the names of the network's tensors have in common in the file, up to a dot.
fn common_prefix(tensors: &[Tensor]) -> String {
    let mut names = tensors.iter().filter(|tensor| tensor.inside && tensor.body).map(|tensor| tensor.file.as_str());
    let mut common = names.next().unwrap_or_default();
    for name in names {
        let same = common.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        common = common.get(..same).unwrap_or_default();
    }
    common.rfind('.').map_or("", |dot| &common[..=dot]).to_owned()
}

/// Makes the stem's convolution take the three colours in the opposite order; false where it takes no three.
fn reverse_stem(tensors: &mut [Tensor]) -> bool {
    let stem = tensors.iter_mut().find(|tensor| tensor.body && tensor.name == "conv1.weight");
    let Some(stem) = stem.filter(|stem| stem.info.shape.get(1) == Some(&crate::architecture::CHANNELS)) else {
        return false;
    };
    let (channels, inner) = (crate::architecture::CHANNELS, stem.info.shape[2..].iter().product());
    let of = std::mem::replace(&mut stem.data, Data::Constant { value: 0.0, elements: 0 });
    stem.data = Data::Reversed { of: Box::new(of), channels, inner };
    true
}

/// What a loss or a metric keeps, counts of steps, and the mean and deviation of a normalising layer before the network:
/// nothing that makes logits of features. Integers do not either, but those of a quantized layer, which give that away.
fn is_aside(tensor: &Tensor) -> bool {
    let mut parts = tensor.name.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let few = tensor.info.shape.iter().product::<usize>() <= 4;
    let is_loss = |part: &str| {
        matches!(part, "loss" | "loss_fn" | "criterion" | "loss_function" | "loss_func") || part.ends_with("_loss")
    };
    let loss = parts.any(is_loss);
    // A matrix may be a classifier, whatever it is called.
    let linear = last == "weight" && tensor.info.shape.len() == 2;
    let counts = !tensor.info.dtype.is_float() && !is_counter(&tensor.name) && last != "zero_point";
    (few && matches!(last, "mean" | "std" | "pixel_mean" | "pixel_std")) || (loss && !linear) || counts
}

/// Takes the three means and deviations of a normalising layer out of `tensors`, where there is one such layer.
fn take_normalisation(tensors: &mut Vec<Tensor>, left_out: &mut Vec<String>) -> Option<Box<[Data; 2]>> {
    let find = |lasts: [&str; 2]| {
        let fits = |tensor: &Tensor| {
            let name = tensor.name.rsplit('.').next().unwrap_or_default();
            !tensor.body
                && lasts.contains(&name)
                && tensor.info.dtype.is_float()
                && tensor.info.shape.iter().product::<usize>() == 3
        };
        let mut found = tensors.iter().enumerate().filter(|(_, tensor)| fits(tensor));
        let (index, tensor) = found.next()?;
        let layer = tensor.name.rsplit_once('.').map(|(layer, _)| layer.to_owned());
        found.next().is_none().then_some((index, layer))
    };
    let ((mean, layer), (std, other)) = (find(["mean", "pixel_mean"])?, find(["std", "pixel_std"])?);
    if layer != other {
        return None;
    }
    // The later one first, so that the index of the other stays.
    let [later, earlier] = [mean.max(std), mean.min(std)].map(|index| tensors.remove(index));
    let (mean, std) = if mean < std { (earlier, later) } else { (later, earlier) };
    left_out.extend([mean.file, std.file]);
    Some(Box::new([mean.data, std.data]))
}

/// Takes `module.` off every name, as often as all of them have it; returns what was taken off.
fn strip_module(tensors: &mut [(TensorInfo, Data)]) -> String {
    let mut stripped = String::new();
    let prefixed = |name: &str| name.starts_with(MODULE_PREFIX);
    while tensors.iter().any(|(info, _)| prefixed(&info.name))
        && tensors.iter().all(|(info, _)| prefixed(&info.name) || info.name == AVERAGED_STEPS)
    {
        for (info, _) in &mut *tensors {
            if let Some(rest) = info.name.strip_prefix(MODULE_PREFIX) {
                info.name = rest.to_owned();
            }
        }
        stripped.push_str(MODULE_PREFIX);
    }
    stripped
}

fn unwrap_name(name: &str) -> String {
    WRAPPERS.iter().fold(name.to_owned(), |name, wrapper| name.replace(wrapper, ""))
}

/// Where there is a network.
enum Found {
    /// Under this prefix, in this naming; the last says whether the wrappers of torch.compile had to be taken out of the
    /// names for it.
    One(Naming, String, bool),
    /// Nowhere.
    None,
    /// Under each of these prefixes.
    Several(Vec<String>),
}

impl Found {
    fn undecided(self) -> Option<Undecided> {
        match self {
            Self::Several(known) => Some(Undecided::Prefixes { known }),
            Self::One(..) | Self::None => None,
        }
    }
}

/// The prefix under which there is a network, the one that was asked for where it was.
fn find_prefix(tensors: &[(TensorInfo, Data)], choice: &Choice) -> Result<Found, Fault> {
    let found = |wrapper: bool| {
        let mut found: Vec<(Naming, String)> = Vec::new();
        for (info, _) in tensors {
            let name = if wrapper { unwrap_name(&info.name) } else { info.name.clone() };
            let Some(candidate) = Naming::anchored(&name) else { continue };
            if !found.contains(&candidate) {
                found.push(candidate);
            }
        }
        only_first_stages(&mut found, tensors);
        found
    };
    let mut wrapper = false;
    let mut candidates = found(false);
    if candidates.is_empty() {
        candidates = found(true);
        wrapper = true;
    }
    let listed = |candidates: &[(Naming, String)]| candidates.iter().map(|(_, prefix)| prefix.clone()).collect();
    if let Some(asked) = &choice.prefix {
        let dotted = if asked.is_empty() || asked.ends_with('.') { asked.clone() } else { format!("{asked}.") };
        let exact = candidates.iter().find(|(_, prefix)| *prefix == dotted);
        let mut within = candidates.iter().filter(|(_, prefix)| !dotted.is_empty() && prefix.starts_with(&dotted));
        return match (exact, within.next(), within.next()) {
            (Some((naming, prefix)), ..) | (None, Some((naming, prefix)), None) => {
                Ok(Found::One(*naming, prefix.clone(), wrapper))
            }
            _ => Err(Fault::NoSuchPrefix { prefix: asked.clone(), known: listed(&candidates) }),
        };
    }
    match &candidates[..] {
        [] => Ok(Found::None),
        [(naming, prefix)] => Ok(Found::One(*naming, prefix.clone(), wrapper)),
        several => Ok(Found::Several(listed(several))),
    }
}

/// Of the numbers in an `nn.Sequential` the lowest is the first stage, if a convolution is number 0.
fn only_first_stages(found: &mut Vec<(Naming, String)>, tensors: &[(TensorInfo, Data)]) {
    let lowest: Vec<(Naming, String)> = found.clone();
    found.retain(|(naming, prefix)| {
        let Naming::Sequential { first } = naming else { return true };
        let lower = |other: &(Naming, String)| {
            other.1 == *prefix && matches!(other.0, Naming::Sequential { first: lower } if lower < *first)
        };
        let stem = tensors.iter().any(|(info, _)| {
            info.shape.len() == 4 && info.name.strip_prefix(prefix.as_str()).is_some_and(|rest| rest == "0.weight")
        });
        stem && !lowest.iter().any(lower)
    });
}

/// A pruned tensor is the product of what was trained and its mask.
fn join_pruned(tensors: Vec<(TensorInfo, Data)>) -> Vec<(TensorInfo, Data)> {
    const PARTS: [&str; 2] = ["_orig", "_mask"];
    if !tensors.iter().any(|(info, _)| info.name.ends_with(PARTS[0])) {
        return tensors;
    }
    let mut masks: HashMap<String, (TensorInfo, Data)> = HashMap::new();
    let mut others = Vec::new();
    for (info, data) in tensors {
        match info.name.strip_suffix(PARTS[1]).map(str::to_owned) {
            Some(name) => {
                masks.insert(name, (info, data));
            }
            None => others.push((info, data)),
        }
    }
    let mut joined = Vec::new();
    for (mut info, data) in others {
        let whole = info.name.strip_suffix(PARTS[0]).map(str::to_owned);
        let mask = whole.as_ref().and_then(|name| masks.remove(name));
        match (whole, mask, data) {
            (Some(name), Some((mask, Data::Stored(mask_data))), Data::Stored(data)) if mask.shape == info.shape => {
                info.name = name;
                joined.push((info, Data::Product(Box::new([data, mask_data]))));
            }
            (_, mask, data) => {
                joined.push((info, data));
                joined.extend(mask);
            }
        }
    }
    let mut left: Vec<_> = masks.into_values().collect();
    left.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    joined.extend(left);
    joined
}

/// Caffe2's files hold a normalisation's scale and shift with the statistics already in them. Their absence is a mean of 0
/// and a variance that together with epsilon is 1.
fn complete_statistics(tensors: &mut Vec<Tensor>) {
    let there: std::collections::HashSet<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let mut added = Vec::new();
    for tensor in tensors.iter().filter(|tensor| tensor.body && tensor.info.shape.len() == 1) {
        let Some(base) = tensor.name.strip_suffix(".weight") else { continue };
        let statistics = ["running_mean", "running_var"].map(|name| format!("{base}.{name}"));
        if statistics.iter().any(|name| there.contains(name)) {
            continue;
        }
        for (name, value) in statistics.into_iter().zip([0.0, 1.0 - crate::architecture::EPSILON]) {
            added.push(constant(name, &tensor.info.shape, value));
        }
    }
    tensors.extend(added);
}
