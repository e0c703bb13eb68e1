//! What works here: every library found, every provider tried with a run of its own, and how to fix what does not.

use serde::Serialize;

use super::known::{self, Kernels, cache};
use super::provider::{Kind, Provider};
use super::runtime::error::RuntimeError;
use super::runtime::find::{Library, Origin, Search};
use super::runtime::intact::{self, Look};
use super::spec::{SessionOptions, Source, Spec};
use super::worker::Launcher;
use crate::host::machine as host;
use crate::host::machine::Host;
use crate::model::opened::ModelError;

/// Everything `doctor` found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// The libraries found, best first.
    pub libraries: Vec<LibraryFinding>,
    /// Why there are none.
    #[serde(serialize_with = "crate::coded::maybe_with_text")]
    pub no_library: Option<RuntimeError>,
    /// Each provider, on the library that would serve it.
    pub providers: Vec<ProviderFinding>,
    /// Whether the kernels of each usable library compute what they should on this processor.
    #[serde(default)]
    pub kernels: Vec<Kernels>,
}

/// A library found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LibraryFinding {
    /// Path of libonnxruntime.
    pub path: String,
    /// How it was found.
    pub origin: Origin,
    /// The version it reports.
    pub version: Option<String>,
    /// onnxruntime's own account of how it was built.
    pub build: Option<String>,
    /// Why it cannot be used.
    pub problem: Option<ModelError>,
}

/// How a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A small network ran on it, every node.
    Works,
    /// The library has it, but it does not work.
    Broken,
    /// No library found has it.
    Absent,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProviderFinding {
    /// Its name.
    pub provider: Kind,
    /// How it is.
    pub state: State,
    /// The library it was tried on.
    pub library: Option<String>,
    /// Why it does not work.
    #[serde(serialize_with = "crate::coded::maybe_with_text")]
    pub reason: Option<Reason>,
    /// What to do about it, step by step.
    #[serde(serialize_with = "crate::coded::with_text")]
    pub hints: Vec<Hint>,
}

/// Why a provider does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// No library has it.
    #[error("no usable library has the {provider} provider")]
    Absent {
        /// The provider.
        provider: Kind,
    },
    /// It gave no result.
    #[error("{}", .error.to_string().trim())]
    Failed {
        /// In the words of whoever refused.
        error: ModelError,
    },
}

/// What to do about a provider that does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Hint {
    /// Install a set of packages.
    #[error("run `resnext-run setup {package}`")]
    Setup {
        /// Its name.
        package: &'static str,
    },
    /// Install a GPU and its driver.
    #[error("install an NVIDIA GPU and its driver, {least} or newer (`nvidia-smi` shows both)")]
    NvidiaDriver {
        /// The oldest driver that will do.
        least: u32,
    },
    /// Install TensorRT, which is not published where pip finds it.
    #[error("install TensorRT {major} as NVIDIA's guide says ({guide}) and put its lib folder on LD_LIBRARY_PATH")]
    TensorRt {
        /// The version needed.
        major: u32,
        /// The guide.
        guide: &'static str,
    },
    /// Everything that can be seen is there; what is wrong is in the reason.
    #[error("see why above; a newer driver or `resnext-run setup {package}` in a fresh folder may help")]
    SeeReason {
        /// The set of packages that may be damaged.
        package: &'static str,
    },
}

/// Looks at the machine, the libraries and the providers.
///
/// Whether the kernels compute what they should is asked once for each library and processor, and again where `again` is
/// set.
pub fn examine(launcher: &Launcher, search: &Search, again: bool) -> Findings {
    let (libraries, no_library) = match search.libraries() {
        Ok(libraries) => (libraries, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let described: Vec<_> = libraries.iter().map(|library| describe(launcher, library)).collect();
    let usable: Vec<_> = libraries
        .iter()
        .zip(&described)
        .filter(|(_, found)| found.problem.is_none())
        .map(|(library, _)| library)
        .collect();
    let providers = Kind::ALL.iter().map(|&kind| match usable.iter().find(|library| library.has(kind)) {
        Some(library) => examine_provider(launcher, library, kind),
        None => ProviderFinding {
            provider: kind,
            state: State::Absent,
            library: None,
            reason: Some(Reason::Absent { provider: kind }),
            hints: hints(kind, None),
        },
    });
    let providers = providers.collect();
    let kernels = usable.iter().map(|library| kernels(launcher, library, again)).collect();
    Findings { libraries: described, no_library, providers, kernels }
}

/// What the kernels of a library compute, as it was found out before or is now.
fn kernels(launcher: &Launcher, library: &Library, again: bool) -> Kernels {
    let host = Host::read();
    if let Some(known) = cache::look_up(library, &host).filter(|_| !again) {
        // The same library may lie elsewhere.
        return Kernels { library: library.path.display().to_string(), ..known };
    }
    let found = known::ask(launcher, library);
    if found.error.is_none() {
        cache::keep(library, &host, &found);
    }
    found
}

fn describe(launcher: &Launcher, library: &Library) -> LibraryFinding {
    let path = library.path.display().to_string();
    if let Some(Err(damage)) = library.installation().map(|folder| intact::check(folder, Look::Contents)) {
        let problem = format!("the installation is damaged: {damage}; run `resnext-run setup` for it again");
        return LibraryFinding {
            path,
            origin: library.origin,
            version: None,
            build: None,
            problem: Some(ModelError::Unavailable(problem)),
        };
    }
    match launcher.describe(library) {
        Ok(description) => LibraryFinding {
            path,
            origin: library.origin,
            version: Some(description.version),
            build: Some(description.build),
            problem: None,
        },
        Err(error) => LibraryFinding { path, origin: library.origin, version: None, build: None, problem: Some(error) },
    }
}

/// Tries one provider of one library with a run.
pub fn examine_provider(launcher: &Launcher, library: &Library, kind: Kind) -> ProviderFinding {
    let spec = Spec {
        library: library.clone(),
        provider: Provider::new(kind),
        session: SessionOptions { intra_op_threads: 1, inter_op_threads: 1, config: Default::default() },
        model: Source::Probe,
        outputs: None,
        shapes: Default::default(),
        allow_fallback: false,
        verbose: false,
    };
    let error: Option<ModelError> = launcher.load(&spec).err();
    ProviderFinding {
        provider: kind,
        state: if error.is_none() { State::Works } else { State::Broken },
        library: Some(library.path.display().to_string()),
        hints: error.as_ref().map(|_| hints(kind, Some(library))).unwrap_or_default(),
        reason: error.map(|error| Reason::Failed { error }),
    }
}

/// NVIDIA's guide to TensorRT.
const TENSORRT_GUIDE: &str = "https://docs.nvidia.com/deeplearning/tensorrt/latest/installing-tensorrt/installing.html";
/// The oldest NVIDIA driver that the pinned libraries take.
const LEAST_DRIVER: u32 = 580;

/// What to do about a provider that does not work, by what is there and what is not.
fn hints(kind: Kind, library: Option<&Library>) -> Vec<Hint> {
    let package = kind.package();
    let mut steps = Vec::new();
    match kind {
        Kind::Cpu | Kind::OpenVino => steps.push(Hint::Setup { package }),
        Kind::Cuda | Kind::TensorRt => {
            if !host::has_nvidia_driver() {
                steps.push(Hint::NvidiaDriver { least: LEAST_DRIVER });
            }
            if library.is_none_or(|library| library.nvidia_folders().is_empty()) {
                steps.push(Hint::Setup { package });
            }
            if kind == Kind::TensorRt {
                steps.push(Hint::TensorRt { major: 10, guide: TENSORRT_GUIDE });
            }
        }
    }
    if steps.is_empty() {
        steps.push(Hint::SeeReason { package });
    }
    steps
}

impl Findings {
    /// The providers that work.
    pub fn working(&self) -> Vec<Kind> {
        let works = self.providers.iter().filter(|provider| provider.state == State::Works);
        works.map(|provider| provider.provider).collect()
    }
}
