//! Installs the pinned onnxruntime packages: fetched by pip (or given as files), checked against the pinned SHA-256,
//! unpacked, and moved into place with one rename, so that a folder that exists is complete.
//!
//! pip only downloads: which Python runs it does not matter then, since the wheels are asked for by platform and the
//! library inside does not depend on a Python version. Unpacking is our own, so that a wheel carried over by hand takes
//! the same path, and only what the library needs is kept.

use super::error::{InstallError, at, platform};
use super::intact::{self, Damage, Look};
use super::package::{Package, title};
use super::pip;
use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use onnx_file::{digest, open};

/// What an installation came to.
#[derive(Debug)]
pub struct Installed {
    /// The folder that holds the packages.
    pub folder: PathBuf,
    /// Whether it was there before.
    pub already: bool,
    /// What was wrong with the one that was there, and is replaced.
    pub damage: Option<Damage>,
}

/// Where the wheels come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// pip downloads them; its progress is shown where `show` is set.
    Pip {
        /// Let pip's progress through to standard error.
        show: bool,
    },
    /// These files, or all wheels in these folders.
    Files(&'a [PathBuf]),
}

/// Installs a set below `root` unless it is there and whole, as far as sizes tell. Safe to call from several processes at once: one installs, the
/// others wait.
///
/// # Errors
/// [`InstallError`]; nothing is left half installed.
pub fn install(package: Package, root: &Path, source: Source<'_>) -> Result<Installed, InstallError> {
    install_unless(package, root, source, Look::Sizes, &mut |_| {})
}

/// As [`install`], looking so closely at what is there; `damaged` is told what is wrong with it before it is replaced.
///
/// # Errors
/// As for [`install`]; what is damaged stays then, in case it does for something.
pub fn install_unless(
    package: Package,
    root: &Path,
    source: Source<'_>,
    look: Look,
    damaged: &mut dyn FnMut(&Damage),
) -> Result<Installed, InstallError> {
    let folder = package.folder(root);
    if folder.is_dir() && intact::check(&folder, look).is_ok() {
        return Ok(Installed { folder, already: true, damage: None });
    }
    fs::create_dir_all(root).map_err(at(root))?;
    let lock_path = root.join(".lock");
    let lock = onnx_file::open::lock_file(&lock_path).map_err(at(&lock_path))?;
    lock.lock().map_err(at(&lock_path))?;
    let damage = match folder.is_dir().then(|| intact::check(&folder, look)) {
        Some(Ok(())) => return Ok(Installed { folder, already: true, damage: None }),
        Some(Err(damage)) => Some(damage),
        None => None,
    };
    damage.iter().for_each(damaged);
    // Only the holder of the lock has anything here: what is found was left by a process that was killed.
    let partial = root.join(".partial");
    let result = remove(&partial).and_then(|()| fill(package, &partial, source)).and_then(|tree| {
        put(&tree, &folder, damage.is_some().then(|| partial.join("damaged")).as_deref())?;
        Ok(Installed { folder, already: false, damage })
    });
    let cleaned = remove(&partial);
    let installed = result?;
    cleaned.map(|()| installed)
}

/// Moves `tree` to `folder`; what was there goes to `aside`, or stays where `tree` cannot take its place.
fn put(tree: &Path, folder: &Path, aside: Option<&Path>) -> Result<(), InstallError> {
    if let Some(aside) = aside {
        // Renamed and not removed: programs that have loaded from it keep what they have.
        fs::rename(folder, aside).map_err(at(folder))?;
    }
    fs::rename(tree, folder).map_err(|error| {
        // Told is why the new one could not be moved, whatever becomes of this.
        let _ = aside.map(|aside| fs::rename(aside, folder));
        at(folder)(error)
    })
}

/// Downloads or takes the wheels, checks and unpacks them; returns the folder to be moved into place.
fn fill(package: Package, partial: &Path, source: Source<'_>) -> Result<PathBuf, InstallError> {
    let downloads = partial.join("wheels");
    let tree = partial.join("tree");
    for folder in [&downloads, &tree] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let wheels = match source {
        Source::Pip { show } => {
            pip::download(package, partial, &downloads, show)?;
            wheels_in(&downloads)?
        }
        Source::Files(paths) => {
            let mut wheels = Vec::new();
            for path in paths {
                if path.is_dir() { wheels.extend(wheels_in(path)?) } else { wheels.push(path.clone()) }
            }
            wheels
        }
    };
    let accepted = check(package, &wheels, matches!(source, Source::Files(_)))?;
    accepted.into_iter().try_for_each(|wheel| unpack(wheel, &tree))?;
    let capi = tree.join("onnxruntime").join("capi");
    if super::find::in_folder(&capi).is_none() {
        return Err(InstallError::Foreign { platform: platform() });
    }
    intact::list(&tree).map_err(at(&tree))?;
    Ok(tree)
}

fn wheels_in(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut wheels = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            wheels.push(path);
        }
    }
    wheels.sort();
    Ok(wheels)
}

/// A wheel whose hash is one of those pinned. What is unpacked is the open file that was hashed, whatever its name leads to
/// by then.
struct Accepted<'a> {
    path: &'a Path,
    file: File,
}

/// Matches each wheel with its requirement by hash. Wheels of a folder given by hand may be of other packages and are
/// passed over, as long as the set is complete.
fn check(package: Package, wheels: &[PathBuf], by_hand: bool) -> Result<Vec<Accepted<'_>>, InstallError> {
    let mut missing = package.requirements();
    let (mut accepted, mut refused) = (Vec::new(), None);
    for wheel in wheels {
        let bad = |error: io::Error| InstallError::Wheel { path: wheel.clone(), reason: error.to_string() };
        let mut file = open::file(wheel).map_err(bad)?;
        let found = digest::hex(&digest::sha256(&mut file).map_err(bad)?);
        match missing.iter().position(|requirement| requirement.hashes.contains(&found.as_str())) {
            Some(index) => {
                missing.remove(index);
                accepted.push(Accepted { path: wheel, file });
            }
            None => refused = refused.or(Some((wheel.clone(), found))),
        }
    }
    match refused {
        Some((path, found)) if !missing.is_empty() || !by_hand => {
            Err(InstallError::Hash { path, found, packages: package.titles() })
        }
        _ if !missing.is_empty() => {
            Err(InstallError::Incomplete { missing: missing.iter().map(title).collect::<Vec<_>>().join(", ") })
        }
        _ => Ok(accepted),
    }
}

/// Whether an entry of a wheel is worth keeping: libraries, what they read at run time, and licences; not the Python
/// side, headers or archives for static linking.
fn kept(name: &Path) -> bool {
    let file = name.file_name().unwrap_or_default().to_string_lossy();
    let python = file.starts_with("onnxruntime_pybind11_state");
    let library = file.ends_with(".dll") || file.ends_with(".dylib") || file.contains(".so");
    let licence =
        name.components().next().is_some_and(|part| part.as_os_str().to_string_lossy().ends_with(".dist-info"))
            || file.starts_with("LICENSE")
            || file.ends_with(".txt");
    (library && !python) || licence || file == "cache.json"
}

fn unpack(wheel: Accepted<'_>, tree: &Path) -> Result<(), InstallError> {
    let Accepted { path: wheel, mut file } = wheel;
    let bad = |reason: String| InstallError::Wheel { path: wheel.to_path_buf(), reason };
    file.rewind().map_err(at(wheel))?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|error| bad(error.to_string()))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| bad(error.to_string()))?;
        let unsafe_path =
            || format!("it holds a path that leads out of it, {}", String::from_utf8_lossy(entry.name_raw()));
        let name = entry.enclosed_name().ok_or_else(|| bad(unsafe_path()))?;
        if entry.is_dir() || !kept(&name) {
            continue;
        }
        let path = tree.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        let mut output = File::create(&path).map_err(at(&path))?;
        io::copy(&mut entry, &mut output).map_err(at(&path))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_where_nothing_can_take_its_place() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let make = |name: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("library"), name).unwrap();
        };
        let held = || fs::read_to_string(at("folder").join("library")).unwrap();
        make("folder");
        let error = put(&at("missing"), &at("folder"), Some(&at("aside"))).unwrap_err();
        assert!(error.to_string().contains("folder"), "{error}");
        assert_eq!((held(), at("aside").exists()), ("folder".to_owned(), false));
        make("tree");
        put(&at("tree"), &at("folder"), Some(&at("aside"))).unwrap();
        assert_eq!((held(), at("aside").exists()), ("tree".to_owned(), true));
    }
}
