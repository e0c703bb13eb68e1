//! Which network a checkpoint holds, of a hundred real ones: named truly, or as not known; never wrongly.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use resnext_builder::checkpoint::{Checkpoint, CheckpointError, Undecided};
use resnext_builder::identity::Other;
use resnext_builder::weights::identified;

use crate::common::checkpoint_files::{fixture, scratch_file};
use crate::common::snapshot::assert_as_kept;

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

#[test]
fn real_networks_are_named_truly_or_not_at_all() {
    let folder = fixture("../architectures");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 100, "{}", names.len());
    let read = |name: &String| {
        let text = std::fs::read_to_string(Path::new(&folder).join(format!("{name}.json"))).unwrap();
        format!("{name}: {}\n", said(&serde_json::from_str(&text).unwrap()))
    };
    let all: String = names.iter().map(read).collect();
    assert_as_kept("architectures", &all);
}
