//! Checkpoints of several files: a hub's folder, and weights split into shards with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{CheckpointError, Fault};

/// What hubs call the weights of a folder, in order of preference; an index names shards.
pub const WEIGHT_FILES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Ends of names that a lone checkpoint in a folder may have.
const ENDINGS: [&str; 6] = ["safetensors", "pth", "pt", "bin", "ckpt", "pkl"];

/// Longest index: it names each tensor of the largest networks many times over.
const MAX_INDEX: u64 = 1 << 24;

/// The weights in the folder of a hub, under the first of the names that hubs use; `None` where there are none.
pub fn weights_in(folder: &Path) -> Option<PathBuf> {
    WEIGHT_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The shards that the index at `path` names.
///
/// # Errors
///
/// If it is no index, or names a file outside its own folder.
pub fn shard_names(path: &Path) -> Result<Vec<String>, CheckpointError> {
    let shards = shards(path).map_err(|fault| CheckpointError { path: path.to_owned(), fault: Box::new(fault) })?;
    Ok(shards.iter().filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect())
}

/// The files that hold the weights that `path` stands for: the file, or what lies in the folder that it is, and the shards
/// that an index names.
pub fn weight_files(path: &Path) -> Vec<PathBuf> {
    let Ok(weights) = locate(path) else { return vec![path.to_owned()] };
    let shards = if is_index(&weights) { shards(&weights).unwrap_or_default() } else { Vec::new() };
    shards.into_iter().map(|(shard, _)| shard).chain([weights]).collect()
}

/// The weights that `path` stands for: itself, or what lies in the folder that it is.
pub(super) fn locate(path: &Path) -> Result<PathBuf, Fault> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    if let Some(found) = weights_in(path) {
        return Ok(found);
    }
    let entries = std::fs::read_dir(path).map_err(|error| Fault::Io { action: "open it", error })?;
    let ends = |path: &PathBuf| path.extension().is_some_and(|end| ENDINGS.iter().any(|ending| end == *ending));
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file() && ends(path)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(Fault::NotAFile),
    }
}

/// Whether `path` has the name of an index of shards.
pub fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards of the index at `path`, each with the tensors that it has to hold.
///
/// # Errors
///
/// If it is no index, or names a file outside its own folder.
pub(super) fn shards(path: &Path) -> Result<Vec<(PathBuf, BTreeSet<String>)>, Fault> {
    let text = onnx_file::open::read_text(path, MAX_INDEX).map_err(|error| Fault::Io { action: "read it", error })?;
    let index: Index = serde_json::from_str(&text).map_err(|error| Fault::Index { what: error.to_string() })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (tensor, file) in index.weight_map {
        // A name and nothing else: an index must not lead out of its folder.
        if Path::new(&file).file_name().is_none_or(|name| name != file.as_str()) || file.contains(['/', '\\']) {
            return Err(Fault::Index { what: format!("`{file}` is not the name of a file beside it") });
        }
        shards.entry(file).or_default().insert(tensor);
    }
    if shards.is_empty() {
        return Err(Fault::Index { what: "it names no tensor".to_owned() });
    }
    Ok(shards.into_iter().map(|(file, tensors)| (folder.join(file), tensors)).collect())
}
