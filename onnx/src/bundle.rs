//! A folder that hands a model to other stacks: what it lists, and whether that is still what was written.
//!
//! `SHA256SUMS` names every file but itself with its digest, as `sha256sum -c` reads it; `bundle.json` says which models
//! there are and which golden cases they are to reproduce.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::proto::TensorProto;
use crate::{digest, open};

/// The file of digests.
pub const SUMS: &str = "SHA256SUMS";
/// The file that says what a bundle holds.
pub const MANIFEST: &str = "bundle.json";
/// Version of [`Manifest`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;
/// The signature that OpenSSF's model signing puts beside what it signs, which is no part of that.
const SIGNATURE: &str = "model.sig";
/// Most files of a bundle.
const MOST_FILES: usize = 10_000;
/// Folders in folders.
const DEEPEST: usize = 8;

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `bundle`.
    pub kind: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the model.
    pub name: String,
    /// The models with their golden cases, the most exact first.
    pub models: Vec<Model>,
}

/// A model of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its file, relative to the bundle.
    pub path: String,
    /// The arithmetic that it carries: f32, f16 or int8.
    pub dtype: String,
    /// How far an output may be from the golden one: largest absolute difference over largest magnitude.
    pub tolerance: f64,
    /// What it is to reproduce; none where its graph is not understood.
    pub cases: Vec<Case>,
    /// Why there are no cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
}

/// Tensors that go in, and those that come out, as files relative to the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// In the order of the model's inputs.
    pub inputs: Vec<String>,
    /// In the order of its outputs.
    pub outputs: Vec<String>,
}

/// Why a folder is no bundle, or no longer the one that was written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the digests is none.
    #[error("{}: line {line} is no digest and file name", path.display())]
    Line {
        /// The file of digests.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Something other than what was written.
    #[error("{}: {fault}; get the bundle again from where it came from", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The manifest makes no sense.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// How a file of a bundle is not the one that was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its content.
    #[error("its content is not what {SUMS} says (SHA-256 {found}, not {expected})")]
    Content {
        /// As listed, in hex.
        expected: String,
        /// As it is, in hex.
        found: String,
    },
    /// It is listed and not there.
    #[error("{SUMS} lists it, and it is not there")]
    Missing,
    /// It is there and not listed.
    #[error("it is not listed in {SUMS}")]
    Unlisted,
    /// A link, a pipe or a device.
    #[error("it is no regular file; bundles hold no links")]
    Irregular,
}

/// Whether the folder at `path` is a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.is_dir() && path.join(SUMS).is_file() && path.join(MANIFEST).is_file()
}

impl Manifest {
    /// Reads what the bundle at `folder` holds, once every file of it is what was written.
    ///
    /// # Errors
    /// [`BundleError`], which names the file.
    pub fn checked(folder: &Path) -> Result<Self, BundleError> {
        check(folder)?;
        let path = folder.join(MANIFEST);
        let text = open::read_text(&path, open::SMALL).map_err(io_at(&path))?;
        let bad = |reason: String| BundleError::Manifest { path: path.clone(), reason };
        let manifest: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if manifest.kind != "bundle" || manifest.schema_version != SCHEMA_VERSION {
            let (kind, version) = (&manifest.kind, manifest.schema_version);
            return Err(bad(format!("it is '{kind}' of version {version}, not a bundle of version {SCHEMA_VERSION}")));
        }
        let listed = sums(folder)?;
        let named = manifest.models.iter().flat_map(|model| {
            let cases = model.cases.iter().flat_map(|case| case.inputs.iter().chain(&case.outputs));
            cases.chain([&model.path])
        });
        if let Some(stranger) = named.into_iter().find(|name| !listed.contains_key(*name)) {
            return Err(bad(format!("it names '{stranger}', which {SUMS} does not list")));
        }
        Ok(manifest)
    }
}

/// The tensor in the file at `path`, as golden cases have it.
///
/// # Errors
/// [`BundleError`].
pub fn tensor(path: &Path) -> Result<TensorProto, BundleError> {
    let content = open::read(path, open::SMALL).map_err(io_at(path))?;
    let bad = |error| BundleError::Manifest { path: path.to_owned(), reason: format!("no tensor: {error}") };
    TensorProto::decode(&content[..]).map_err(bad)
}

/// The lines of a file of digests, sorted by name.
pub fn sums_text(files: &BTreeMap<String, String>) -> String {
    files.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect()
}

/// Names and digests that a bundle lists.
fn sums(folder: &Path) -> Result<BTreeMap<String, String>, BundleError> {
    let path = folder.join(SUMS);
    let text = open::read_text(&path, open::SMALL).map_err(io_at(&path))?;
    let mut listed = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let bad = || BundleError::Line { path: path.clone(), line: at + 1 };
        let (sha256, name) = line.split_once("  ").ok_or_else(bad)?;
        let hex = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) && !name.is_empty();
        if !hex || !plain || listed.len() == MOST_FILES || listed.insert(name.into(), sha256.into()).is_some() {
            return Err(bad());
        }
    }
    Ok(listed)
}

/// Checks every file of the bundle at `folder` against its digest, and that there are no others.
///
/// # Errors
/// [`BundleError`], which names the first file that is not what was written.
pub fn check(folder: &Path) -> Result<(), BundleError> {
    let listed = sums(folder)?;
    let changed = |name: &str, fault| BundleError::Changed { path: folder.join(name), fault };
    let mut there = BTreeSet::new();
    walk(folder, "", 0, &mut there)?;
    if let Some(name) = there.iter().find(|name| !listed.contains_key(*name) && *name != SUMS && *name != SIGNATURE) {
        return Err(changed(name, Fault::Unlisted));
    }
    for (name, expected) in &listed {
        if !there.contains(name) {
            return Err(changed(name, Fault::Missing));
        }
        let path = folder.join(name);
        let file = open::file_itself(&path).map_err(io_at(&path))?;
        let found = digest::hex(&digest::sha256(file).map_err(io_at(&path))?);
        if found != *expected {
            return Err(changed(name, Fault::Content { expected: expected.clone(), found }));
        }
    }
    Ok(())
}

/// Names of what lies in the bundle at `folder` without being of it: files and folders that are not listed, links, and what
/// a version control system keeps. The digests and a signature are of it.
///
/// # Errors
/// [`BundleError`] where the folder or its digests cannot be read.
pub fn strangers(folder: &Path) -> Result<Vec<String>, BundleError> {
    let listed = sums(folder)?;
    let mut found = Vec::new();
    let mut prefixes = vec![String::new()];
    while let Some(prefix) = prefixes.pop() {
        let at = folder.join(&prefix);
        for entry in fs::read_dir(&at).map_err(io_at(&at))? {
            let entry = entry.map_err(io_at(&at))?;
            let kind = entry.file_type().map_err(io_at(&entry.path()))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let below = format!("{name}/");
            let is_plain = entry.file_name().to_str().is_some() && !name.starts_with(".git");
            let is_file = listed.contains_key(&name) || name == SUMS || name == SIGNATURE;
            if is_plain && kind.is_dir() && listed.keys().any(|file| file.starts_with(&below)) {
                prefixes.push(below);
            } else if !(is_plain && kind.is_file() && is_file) {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Names of all files below `folder`, with `/` between folders.
fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut BTreeSet<String>) -> Result<(), BundleError> {
    for entry in fs::read_dir(folder).map_err(io_at(folder))? {
        let entry = entry.map_err(io_at(folder))?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(io_at(&path))?;
        // What a version control system keeps is no part of it.
        if prefix.is_empty() && name.starts_with(".git") {
            continue;
        }
        let fits = names.len() < MOST_FILES && depth < DEEPEST;
        match (kind.is_dir(), kind.is_file()) {
            (true, _) if fits => walk(&path, &format!("{name}/"), depth + 1, names)?,
            (_, true) if fits => drop(names.insert(name)),
            (false, false) => return Err(BundleError::Changed { path, fault: Fault::Irregular }),
            _ => return Err(BundleError::Changed { path, fault: Fault::Unlisted }),
        }
    }
    Ok(())
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bundle of one file in a folder.
    fn bundle(folder: &Path) {
        let manifest = Manifest { kind: "bundle".into(), schema_version: 1, name: "m".into(), models: Vec::new() };
        fs::create_dir(folder.join("onnx")).unwrap();
        fs::write(folder.join("onnx/model.onnx"), "model").unwrap();
        fs::write(folder.join(MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
        let digest = |name: &str| (name.to_owned(), digest::file(&folder.join(name)).unwrap());
        fs::write(folder.join(SUMS), sums_text(&[digest(MANIFEST), digest("onnx/model.onnx")].into())).unwrap();
    }

    #[test]
    fn a_bundle_is_taken_as_it_was_written_and_with_a_signature() {
        let folder = tempfile::tempdir().unwrap();
        bundle(folder.path());
        assert!(is_bundle(folder.path()));
        assert_eq!(Manifest::checked(folder.path()).unwrap().name, "m");
        fs::write(folder.path().join(SIGNATURE), "{}").unwrap();
        Manifest::checked(folder.path()).unwrap();
    }

    #[test]
    fn a_file_that_was_changed_removed_added_or_replaced_by_a_link_is_named() {
        type Tamper = fn(&Path);
        let cases: [(Tamper, &str, &str); 5] = [
            (|at| fs::write(at.join("onnx/model.onnx"), "mode1").unwrap(), "onnx/model.onnx", "SHA-256"),
            (|at| fs::remove_file(at.join("onnx/model.onnx")).unwrap(), "onnx/model.onnx", "not there"),
            (|at| fs::write(at.join("onnx/evil.py"), "").unwrap(), "onnx/evil.py", "not listed"),
            (|at| fs::write(at.join(SUMS), "0123  x\n").unwrap(), SUMS, "line 1"),
            (|at| fs::write(at.join(SUMS), format!("{}  ../x\n", "0".repeat(64))).unwrap(), SUMS, "line 1"),
        ];
        for (tamper, file, why) in cases {
            let folder = tempfile::tempdir().unwrap();
            bundle(folder.path());
            tamper(folder.path());
            let error = Manifest::checked(folder.path()).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_lies_in_a_bundle_without_being_of_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        bundle(folder.path());
        fs::write(folder.path().join(SIGNATURE), "{}").unwrap();
        fs::write(folder.path().join("onnx/model.onnx"), "changed, and of it").unwrap();
        assert_eq!(strangers(folder.path()).unwrap(), [""; 0]);
        for name in [".git", "empty", "onnx/mine"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in [".git/HEAD", "notes.txt", "onnx/mine/x", "onnx/model.sig"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let expected = [".git", "empty", "notes.txt", "onnx/mine", "onnx/model.sig"];
        assert_eq!(strangers(folder.path()).unwrap(), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_file_of_a_bundle() {
        let folder = tempfile::tempdir().unwrap();
        bundle(folder.path());
        let path = folder.path().join("onnx/model.onnx");
        fs::rename(&path, folder.path().with_extension("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.path().with_extension("elsewhere"), &path).unwrap();
        let error = Manifest::checked(folder.path()).unwrap_err().to_string();
        fs::remove_file(folder.path().with_extension("elsewhere")).unwrap();
        assert!(error.contains("no links"), "{error}");
    }
}
