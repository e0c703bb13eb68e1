//! Which of a pickle's dictionaries holds the weights.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::error::Fault;
use super::scan::{Items, Node, Pickle, Value};

/// Keys under which training scripts nest the plain weights, in order of preference.
const PLAIN: [&str; 21] = [
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "model_weights",
    "net",
    "network",
    "net_state_dict",
    "module",
    "weights",
    "params",
    "student",
    "backbone",
    "encoder",
    "model_params",
    // What others of them lie in.
    "checkpoint",
    "ckpt",
    "state",
    "classy_state_dict",
    "base_model",
    "trunk",
];

/// Keys of averaged weights, taken where there are no plain ones.
const AVERAGED: [&str; 14] = [
    "model_ema",
    "ema",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model",
    "ema_weights",
    "params_ema",
    "shadow",
    "swa_model",
    "swa_state_dict",
    "swa",
    "teacher",
    "averaged_model",
];

/// How many keys may lead to the weights, one within the other.
const MAX_NESTING: usize = 4;

/// What weights beside others are, as far as their key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsKind {
    /// An exponential moving average of the training's.
    Ema,
    /// Stochastic weight averaging.
    Swa,
    /// The teacher of a student.
    Teacher,
    /// The key does not tell.
    Unknown,
}

impl WeightsKind {
    fn of(key: &str) -> Self {
        let key = key.to_lowercase();
        let mut words = key.split(|character: char| !character.is_alphanumeric());
        words
            .find_map(|word| match word {
                "ema" | "shadow" | "averaged" => Some(Self::Ema),
                "swa" => Some(Self::Swa),
                "teacher" => Some(Self::Teacher),
                _ => None,
            })
            .unwrap_or(Self::Unknown)
    }
}

/// Weights that a file has beside those taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// The key that leads to them, dots between one and the next.
    pub key: String,
    /// What they are.
    pub kind: WeightsKind,
}

/// The dictionary that holds the weights.
pub(super) struct Selected<'a> {
    /// The keys that lead to it.
    pub(super) path: Vec<String>,
    pub(super) dictionary: Value,
    pub(super) items: &'a Items,
    /// Others that hold weights.
    pub(super) alternatives: Vec<Alternative>,
}

/// Selects the weights in the dictionary `root`: those under `key` where it is given. `None` where there are none.
///
/// # Errors
///
/// If there are none under `key`.
pub(super) fn select<'a>(
    pickle: &'a Pickle,
    root: &'a Items,
    key: Option<&str>,
) -> Result<Option<Selected<'a>>, Fault> {
    let found = match key {
        None => search(pickle, pickle.root, root, MAX_NESTING, &mut Vain::new()),
        Some(key) => match follow(pickle, pickle.root, root, key, MAX_NESTING, &mut Vain::new()) {
            Some(found) => Some(found),
            None => {
                let known = alternatives(pickle, root, &[]).into_iter().map(|other| other.key).collect();
                return Err(Fault::NoSuchKey { key: key.to_owned(), known });
            }
        },
    };
    Ok(found.map(|(path, dictionary, items)| {
        let alternatives = alternatives(pickle, root, &path);
        Selected { path, dictionary, items, alternatives }
    }))
}

/// Keys of dictionaries that hold weights, wherever they are.
pub(super) fn candidates(pickle: &Pickle, root: &Items) -> Vec<String> {
    alternatives(pickle, root, &[]).into_iter().map(|other| other.key).filter(|key| !key.is_empty()).collect()
}

type Place<'a> = (Vec<String>, Value, &'a Items);

/// Dictionaries that led nowhere, and how deep was searched in each: one may be under many keys, its own included.
type Vain = HashMap<usize, usize>;

/// The first of the usual keys that leads to tensors, else `items` where they hold tensors themselves.
fn search<'a>(
    pickle: &'a Pickle,
    dictionary: Value,
    items: &'a Items,
    depth: usize,
    vain: &mut Vain,
) -> Option<Place<'a>> {
    let index = match dictionary {
        Value::Node(index) => Some(index),
        _ => None,
    };
    if index.and_then(|index| vain.get(&index)).is_some_and(|searched| *searched >= depth) {
        return None;
    }
    if depth > 0 {
        for nesting in PLAIN.iter().chain(&AVERAGED) {
            if let Some((value, inner)) = inner(pickle, items, nesting)
                && let Some((mut path, found, items)) = search(pickle, value, inner, depth - 1, vain)
            {
                path.insert(0, (*nesting).to_owned());
                return Some((path, found, items));
            }
        }
    }
    let holds_tensors = items.iter().any(|(_, value, _)| matches!(pickle.node(*value), Some(Node::Tensor(_))));
    if !holds_tensors {
        vain.extend(index.map(|index| (index, depth)));
    }
    holds_tensors.then_some((Vec::new(), dictionary, items))
}

/// The dictionary that `key` leads to; a key of the file may have dots of its own.
fn follow<'a>(
    pickle: &'a Pickle,
    start: Value,
    items: &'a Items,
    key: &str,
    depth: usize,
    vain: &mut Vain,
) -> Option<Place<'a>> {
    if key.is_empty() {
        return search(pickle, start, items, depth, vain);
    }
    let ends = key.match_indices('.').map(|(at, _)| at).chain([key.len()]);
    for end in ends.collect::<Vec<_>>().into_iter().rev() {
        let (first, rest) = (&key[..end], key[end..].trim_start_matches('.'));
        if depth > 0
            && let Some((value, inner)) = inner(pickle, items, first)
            && let Some((mut path, found, items)) = follow(pickle, value, inner, rest, depth - 1, vain)
        {
            path.insert(0, first.to_owned());
            return Some((path, found, items));
        }
    }
    None
}

fn inner<'a>(pickle: &'a Pickle, items: &'a Items, key: &str) -> Option<(Value, &'a Items)> {
    let (_, value, _) = items.iter().find(|(own, ..)| pickle.str(*own) == Some(key))?;
    match pickle.node(*value) {
        Some(Node::Dict(inner)) => Some((*value, inner)),
        _ => None,
    }
}

/// The dictionaries other than that at `taken` that hold weights of convolutions.
fn alternatives(pickle: &Pickle, root: &Items, taken: &[String]) -> Vec<Alternative> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut open: Vec<(Vec<String>, &Items)> = vec![(Vec::new(), root)];
    while let Some((path, items)) = open.pop() {
        let is_kernel = |value: Value| match pickle.node(value) {
            Some(Node::Tensor(tensor)) => {
                matches!(pickle.node(tensor.size), Some(Node::Tuple(size)) if size.len() == 4)
            }
            _ => false,
        };
        if path != taken && items.iter().any(|(_, value, _)| is_kernel(*value)) {
            let key = path.join(".");
            found.push(Alternative { kind: WeightsKind::of(&key), key });
        }
        if path.len() >= MAX_NESTING {
            continue;
        }
        for (key, value, _) in items {
            if let (Some(key), Value::Node(index)) = (pickle.str(*key), *value)
                && let Some(Node::Dict(inner)) = pickle.nodes.get(index)
                && seen.insert(index)
            {
                open.push(([&path[..], &[key.to_owned()]].concat(), inner));
            }
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// Why nothing was selected.
pub(super) fn none(pickle: &Pickle, root: &Items) -> Fault {
    Fault::NoWeights {
        keys: root.iter().map(|(key, ..)| pickle.shown(*key)).collect(),
        candidates: candidates(pickle, root),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Dictionaries that hold `values`, each under all of the usual keys, and a tensor's place where it is wanted.
    fn pickle(values: &[&[usize]]) -> Pickle {
        let keys: Vec<&str> = PLAIN.iter().chain(&AVERAGED).copied().collect();
        let count = values.len();
        let mut nodes: Vec<Node> = Vec::new();
        for inner in values {
            let under =
                |at: usize| keys.iter().enumerate().map(move |(key, _)| (Value::Node(count + key), Value::Node(at), 0));
            nodes.push(Node::Dict(inner.iter().flat_map(|&at| under(at)).collect()));
        }
        nodes.extend(keys.iter().map(|key| Node::Str((*key).to_owned())));
        let (name, root) = ("data.pkl".to_owned(), Value::Node(0));
        Pickle { name, nodes, root, classes: Vec::new(), attributes: Vec::new(), unknown: Vec::new() }
    }

    #[test]
    fn dictionaries_that_hold_each_other_are_searched_once() {
        for values in [&[&[0][..]][..], &[&[1], &[0]], &[&[1, 2], &[2, 0], &[0, 1]]] {
            let pickle = pickle(values);
            let Some(Node::Dict(root)) = pickle.node(pickle.root) else { panic!("no dictionary") };
            let mut vain = Vain::new();
            let started = Instant::now();
            // So deep that without what is remembered it would never end.
            assert!(search(&pickle, pickle.root, root, 40, &mut vain).is_none());
            assert!(started.elapsed() < Duration::from_secs(5), "{values:?}: {:?}", started.elapsed());
            assert_eq!(vain.get(&0), Some(&40));
        }
    }
}
