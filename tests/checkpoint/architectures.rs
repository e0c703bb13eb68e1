//! Which network a checkpoint holds, of a hundred real ones: named truly, or as not known; never wrongly.

mod truth;

use std::collections::BTreeMap;
use std::io::Write as _;

use resnext_builder::checkpoint::{Checkpoint, CheckpointError, Undecided};
use resnext_builder::identity::Other;
use resnext_builder::weights::identified;

use crate::common::checkpoint_files::{fixture, scratch_file};
use crate::common::snapshot::assert_as_kept;
use truth::{TRUTH, Truth};

/// A safetensors file with the tensors of `shapes`, all of them zero and taking no room on the disk.
fn open(shapes: &BTreeMap<String, Vec<usize>>) -> Result<Checkpoint, CheckpointError> {
    let mut end = 0;
    let tensors = shapes.iter().map(|(name, shape)| {
        let (dtype, size) = if name.ends_with("num_batches_tracked") { ("I64", 8) } else { ("F32", 4) };
        let start = end;
        end += size * shape.iter().product::<usize>();
        format!("{name:?}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}")
    });
    let header = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
    let file = scratch_file();
    let mut out = file.as_file();
    out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    out.write_all(header.as_bytes()).unwrap();
    out.set_len(8 + header.len() as u64 + end as u64).unwrap();
    Checkpoint::open(file.path())
}

/// What the program says of the network, without the words around it.
fn said(shapes: &BTreeMap<String, Vec<usize>>) -> String {
    let checkpoint = match open(shapes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return format!("refused: {}", error.fault),
    };
    if let Some(Undecided::Prefixes { known }) = checkpoint.undecided() {
        return format!("networks under {}", known.join(" and "));
    }
    match identified(&checkpoint) {
        Ok(found) => format!("{} with {:?} classes", found.variant, found.classes),
        Err(other) => short(&other),
    }
}

fn short(other: &Other) -> String {
    let known: Vec<String> = other.known.iter().map(|known| format!("{known}")).collect();
    let nearest = other.nearest.as_ref().map(|nearest| {
        let (extra, missing, misshapen) = (nearest.extra.len(), nearest.missing.len(), nearest.misshapen.len());
        format!("nearest {}: {extra} extra, {missing} missing, {misshapen} misshapen", nearest.variant)
    });
    let known = if known.is_empty() { "not known".to_owned() } else { known.join("; ") };
    [Some(known), nearest].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn shapes_of(name: &str) -> BTreeMap<String, Vec<usize>> {
    let text = std::fs::read_to_string(fixture("../architectures").join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What of `said` is not true of a network, or of the truth is not said.
fn wrong(truth: &Truth, shapes: &BTreeMap<String, Vec<usize>>) -> Option<String> {
    let checkpoint = open(shapes).unwrap();
    if let Some(Undecided::Prefixes { known }) = checkpoint.undecided() {
        return (!matches!(truth, Truth::Several)).then(|| format!("several: {known:?}"));
    }
    match (identified(&checkpoint), truth) {
        (Ok(found), Truth::Family(variant, classes)) => {
            let found = (found.variant.to_string(), found.classes);
            (found != ((*variant).to_owned(), Some(*classes))).then(|| format!("{found:?}"))
        }
        (Err(other), Truth::Other(parts)) => {
            let said: Vec<String> = other.known.iter().map(ToString::to_string).collect();
            let untrue = said.iter().find(|said| !parts.iter().any(|part| said.contains(part)));
            let unsaid = parts.iter().find(|part| !said.iter().any(|said| said.contains(**part)));
            untrue.cloned().or_else(|| unsaid.map(|part| format!("nothing of {part}")))
        }
        (Ok(found), _) => Some(found.variant.to_string()),
        (Err(other), _) => Some(other.to_string()),
    }
}

#[test]
fn what_is_said_of_each_network_is_true() {
    let wrong = TRUTH
        .iter()
        .filter_map(|(name, truth)| Some(format!("{name}: {}, and is {truth:?}", wrong(truth, &shapes_of(name))?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_words_for_each_network_are_as_kept() {
    let folder = fixture("../architectures");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 100, "{}", names.len());
    let told: Vec<&str> = TRUTH.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, told, "the truth of each is known");
    let read = |name: &String| format!("{name}: {}\n", said(&shapes_of(name)));
    let all: String = names.iter().map(read).collect();
    assert_as_kept("architectures", &all);
}
