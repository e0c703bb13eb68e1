//! Where an onnxruntime library may be, in order: `--ort-lib`, `ORT_DYLIB_PATH`, beside the executable, the folder that
//! `setup` installs to, the system's library path. The first two are taken at their word: what they name is used or is
//! an error, never passed over. Only files are looked at here; loading is the worker's business.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::RuntimeError;
use super::package;
use super::package::Package;
use crate::backend::onnxruntime::provider::Kind;

/// Name of the list in the folder of an installation.
pub(crate) const LIST: &str = "files.list";

/// How a library came to be considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Named with `--ort-lib`.
    Flag,
    /// Named with `ORT_DYLIB_PATH`.
    Environment,
    /// Beside the executable.
    Executable,
    /// In the folder that `setup` installs to.
    Installed,
    /// On the system's library path.
    System,
}

/// An onnxruntime library on disk, with the provider libraries beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// Absolute path of libonnxruntime.
    pub path: PathBuf,
    /// How it was found.
    pub origin: Origin,
}

/// File name of the OpenVINO plugin, which onnxruntime loads by path.
#[cfg(windows)]
const OPENVINO_PLUGIN: &str = "onnxruntime_providers_openvino_plugin.dll";
#[cfg(target_os = "macos")]
const OPENVINO_PLUGIN: &str = "libonnxruntime_providers_openvino_plugin.dylib";
#[cfg(not(any(windows, target_os = "macos")))]
const OPENVINO_PLUGIN: &str = "libonnxruntime_providers_openvino_plugin.so";

impl Library {
    /// Whether the files this provider needs lie beside the library; that they load and work is only known by trying.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Cpu => true,
            Kind::OpenVino => self.openvino_plugin().is_some() || self.has_provider_library("openvino"),
            Kind::Cuda => self.has_provider_library("cuda"),
            Kind::TensorRt => self.has_provider_library("tensorrt"),
        }
    }

    fn has_provider_library(&self, name: &str) -> bool {
        let file = format!("{}onnxruntime_providers_{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
        self.folder().join(file).is_file()
    }

    /// The OpenVINO plugin: beside the library, or in the sibling package where `setup` and pip put it.
    pub fn openvino_plugin(&self) -> Option<PathBuf> {
        let packaged = self.packages().map(|packages| packages.join("onnxruntime_ep_openvino"));
        let folders = [Some(self.folder().to_path_buf()), packaged];
        folders.into_iter().flatten().map(|folder| folder.join(OPENVINO_PLUGIN)).find(|plugin| plugin.is_file())
    }

    /// Folders of NVIDIA's own packages (cuBLAS, cuDNN, ...) installed beside the library's package.
    pub fn nvidia_folders(&self) -> Vec<PathBuf> {
        let Some(packages) = self.packages() else { return Vec::new() };
        let below = if cfg!(windows) { "bin" } else { "lib" };
        let mut folders: Vec<_> =
            entries(&packages.join("nvidia")).map(|entry| entry.join(below)).filter(|folder| folder.is_dir()).collect();
        folders.sort();
        folders
    }

    /// The folder that `setup` made, for a library in it.
    pub fn installation(&self) -> Option<&Path> {
        self.packages().filter(|folder| folder.join(LIST).is_file())
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The folder of packages the library's own package lies in: `site` of `site/onnxruntime/capi/libonnxruntime.so`.
    fn packages(&self) -> Option<&Path> {
        self.folder().parent()?.parent()
    }
}

/// Where to look, apart from the places that are always looked at.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `--ort-lib`: the library, or a folder that holds it.
    pub flag: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`, likewise.
    pub variable: Option<PathBuf>,
    /// The folder that `setup` installs to.
    pub root: Option<PathBuf>,
}

impl Search {
    /// A search with the user's settings.
    pub fn new(flag: Option<PathBuf>) -> Search {
        let variable = env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()).map(PathBuf::from);
        Search { flag, variable, root: package::default_root() }
    }

    /// All libraries found, best first.
    ///
    /// # Errors
    /// [`RuntimeError::NotThere`] when `--ort-lib` or `ORT_DYLIB_PATH` names something that is not there,
    /// [`RuntimeError::NotFound`] when nothing is found at all.
    pub fn libraries(&self) -> Result<Vec<Library>, RuntimeError> {
        let flag = self.flag.as_ref().map(|path| ("--ort-lib", path, Origin::Flag));
        let variable = self.variable.as_ref().map(|path| ("ORT_DYLIB_PATH", path, Origin::Environment));
        if let Some((name, path, origin)) = flag.or(variable) {
            // The library, a folder that holds it, or the folder given to `setup --dir`.
            let installed = Package::ALL.iter().filter_map(|package| at(&package.folder(path)));
            let found = at(path).map_or_else(|| installed.collect(), |one| vec![one]);
            if found.is_empty() {
                return Err(RuntimeError::NotThere { origin: name, path: path.clone() });
            }
            return Ok(found.into_iter().map(|path| Library { path: absolute(path), origin }).collect());
        }
        let mut searched = Vec::new();
        let mut found: Vec<Library> = Vec::new();
        for (folder, origin) in self.folders() {
            if let Some(path) = at(&folder).map(absolute)
                && found.iter().all(|library| library.path != path)
            {
                found.push(Library { path, origin });
            }
            searched.push(folder);
        }
        if found.is_empty() { Err(RuntimeError::NotFound { searched }) } else { Ok(found) }
    }

    /// One library for each provider asked for: the same for all where one library has them all and none of them has a
    /// newer one of its own; otherwise the first that has the provider, or the first of all, whose failure then says what
    /// is missing.
    ///
    /// # Errors
    /// As [`Search::libraries`].
    pub fn choose(&self, kinds: &[Kind]) -> Result<Vec<Library>, RuntimeError> {
        let libraries = self.libraries()?;
        let for_one = |kind| libraries.iter().find(|library| library.has(kind)).or(libraries.first());
        // What another provider needs is no reason to run one on an older library than it runs on by itself.
        let is_older = |library: &Library, kind| {
            let own = for_one(kind).and_then(|own| version_in(&own.path));
            matches!((version_in(&library.path), own), (Some(common), Some(own)) if common < own)
        };
        let suits = |library: &Library, kind| library.has(kind) && !is_older(library, kind);
        let common = libraries.iter().find(|library| kinds.iter().all(|&kind| suits(library, kind)));
        let chosen: Vec<Library> = kinds.iter().filter_map(|&kind| common.or_else(|| for_one(kind))).cloned().collect();
        for (kind, library) in kinds.iter().zip(&chosen) {
            tracing::debug!(provider = %kind, library = %library.path.display(), origin = ?library.origin, "library chosen");
        }
        Ok(chosen)
    }

    fn folders(&self) -> Vec<(PathBuf, Origin)> {
        let mut folders = Vec::new();
        if let Some(folder) = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)) {
            folders.push((folder, Origin::Executable));
        }
        if let Some(root) = &self.root {
            folders.extend(Package::ALL.iter().map(|package| (package.folder(root), Origin::Installed)));
        }
        let path_variable = if cfg!(windows) {
            "PATH"
        } else if cfg!(target_os = "macos") {
            "DYLD_LIBRARY_PATH"
        } else {
            "LD_LIBRARY_PATH"
        };
        if let Some(value) = env::var_os(path_variable) {
            let listed = env::split_paths(&value).filter(|folder| folder.is_absolute());
            folders.extend(listed.map(|folder| (folder, Origin::System)));
        }
        if cfg!(unix) {
            let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
            let fixed = ["/usr/local/lib", "/opt/homebrew/lib", "/usr/lib64", "/usr/lib"];
            let fixed = fixed.iter().map(PathBuf::from).chain([PathBuf::from(multiarch)]);
            folders.extend(fixed.filter(|folder| folder.is_dir()).map(|folder| (folder, Origin::System)));
        }
        folders
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The library at a path: the file itself, or the one in this folder or where packages keep it below.
fn at(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    ["", "capi", "onnxruntime/capi", "lib"].iter().find_map(|below| in_folder(&path.join(below)))
}

/// The library in exactly this folder; the newest where several versions lie side by side.
pub(crate) fn in_folder(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<_> = entries(folder)
        .filter(|path| path.file_name().is_some_and(|name| is_library(&name.to_string_lossy())))
        .collect();
    found.sort_by_key(|path| version_in(path).unwrap_or_default());
    found.pop()
}

/// The version that a library's file name ends in, where it does.
fn version_in(path: &Path) -> Option<Vec<u32>> {
    let name = path.file_name()?.to_string_lossy();
    let numbers: Vec<u32> = name.split('.').filter_map(|part| part.parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// Whether a file name is that of onnxruntime itself: the name is versioned on Linux (`libonnxruntime.so.1.32.0`) and
/// macOS (`libonnxruntime.1.32.0.dylib`), and its provider libraries share the stem.
fn is_library(name: &str) -> bool {
    if cfg!(windows) {
        return name.eq_ignore_ascii_case("onnxruntime.dll");
    }
    let versioned = |rest: &str| rest.chars().all(|c| c == '.' || c.is_ascii_digit());
    if cfg!(target_os = "macos") {
        let middle = name.strip_prefix("libonnxruntime").and_then(|rest| rest.strip_suffix(".dylib"));
        return middle.is_some_and(versioned);
    }
    name.strip_prefix("libonnxruntime.so").is_some_and(versioned)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("create folder");
        fs::write(path, b"").expect("write file");
    }

    fn installed(root: &Path, package: Package, extra: &[&str]) -> PathBuf {
        let folder = package.folder(root);
        let library = folder.join("onnxruntime/capi/libonnxruntime.so.1.32.0");
        touch(&library);
        extra.iter().for_each(|file| touch(&folder.join(file)));
        library
    }

    #[test]
    fn the_provider_libraries_are_not_taken_for_onnxruntime() {
        assert!(is_library("libonnxruntime.so"));
        assert!(is_library("libonnxruntime.so.1.32.0"));
        assert!(!is_library("libonnxruntime_providers_shared.so"));
        assert!(!is_library("libonnxruntime.so.1.32.0.bak"));
    }

    #[test]
    fn the_newest_of_several_versions_is_taken() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for version in ["1.9.0", "1.32.0", "1.31.1"] {
            touch(&folder.path().join(format!("libonnxruntime.so.{version}")));
        }
        assert_eq!(in_folder(folder.path()), Some(folder.path().join("libonnxruntime.so.1.32.0")));
    }

    #[test]
    fn one_library_is_chosen_for_all_where_one_has_them_all() {
        let root = tempfile::tempdir().expect("temporary folder");
        let cpu = installed(root.path(), Package::Cpu, &[]);
        let plugin = "onnxruntime_ep_openvino/libonnxruntime_providers_openvino_plugin.so";
        let openvino = installed(root.path(), Package::OpenVino, &[plugin]);
        let cuda = installed(root.path(), Package::Cuda, &["onnxruntime/capi/libonnxruntime_providers_cuda.so"]);
        let search = Search { root: Some(root.path().to_path_buf()), ..Search::default() };
        let chosen = |kinds: &[Kind]| -> Vec<PathBuf> {
            search.choose(kinds).expect("found").into_iter().map(|library| library.path).collect()
        };
        assert_eq!(chosen(&[Kind::Cpu]), std::slice::from_ref(&cpu));
        assert_eq!(chosen(&[Kind::Cpu, Kind::OpenVino]), [openvino.clone(), openvino.clone()]);
        assert_eq!(chosen(&[Kind::Cuda, Kind::Cpu]), [cuda.clone(), cuda.clone()]);
        assert_eq!(chosen(&[Kind::Cpu, Kind::OpenVino, Kind::Cuda]), [cpu.clone(), openvino, cuda]);
        assert_eq!(chosen(&[Kind::TensorRt]), [cpu], "the first of all, whose failure names what is missing");
    }

    #[test]
    fn a_provider_is_not_drawn_to_an_older_library_by_another() {
        let root = tempfile::tempdir().expect("temporary folder");
        let cpu = installed(root.path(), Package::Cpu, &[]);
        let folder = Package::OpenVino.folder(root.path()).join("onnxruntime/capi");
        let older = folder.join("libonnxruntime.so.1.24.1");
        touch(&older);
        touch(&folder.join("libonnxruntime_providers_openvino.so"));
        let search = Search { root: Some(root.path().to_path_buf()), ..Search::default() };
        let found = search.choose(&[Kind::Cpu, Kind::OpenVino]).expect("found");
        assert_eq!(found.into_iter().map(|library| library.path).collect::<Vec<_>>(), [cpu, older]);
    }

    #[test]
    fn what_the_flag_names_is_used_or_is_an_error() {
        let root = tempfile::tempdir().expect("temporary folder");
        let library = installed(root.path(), Package::Cpu, &[]);
        let missing = root.path().join("nowhere");
        let search = |flag: &Path| Search { flag: Some(flag.to_path_buf()), ..Search::default() };
        let package = Package::Cpu.folder(root.path());
        for named in [library.as_path(), library.parent().expect("capi"), &package, root.path()] {
            let found = search(named).libraries().expect("found");
            assert_eq!(found, [Library { path: library.clone(), origin: Origin::Flag }]);
        }
        let error = search(&missing).libraries().expect_err("nothing there");
        assert!(matches!(error, RuntimeError::NotThere { origin: "--ort-lib", .. }), "{error}");
    }
}
