//! What works here: every library found, every provider tried with a run of its own, and how to fix what does not.

use serde::{Deserialize, Serialize};

use super::known::{self, Kernels, cache};
use super::provider::{Kind, Provider};
use super::runtime::find::{Library, Origin, Search};
use super::runtime::intact::{self, Look};
use super::spec::{SessionOptions, Source, Spec};
use super::worker::Launcher;
use crate::host::machine as host;
use crate::host::machine::Host;
use crate::model::opened::ModelError;

/// Everything `doctor` found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The libraries found, best first.
    pub libraries: Vec<LibraryFinding>,
    /// Why there are none.
    pub no_library: Option<String>,
    /// Each provider, on the library that would serve it.
    pub providers: Vec<ProviderFinding>,
    /// Whether the kernels of each usable library compute what they should on this processor.
    #[serde(default)]
    pub kernels: Vec<Kernels>,
}

/// A library found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub problem: Option<String>,
}

/// How a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderFinding {
    /// Its name.
    pub provider: Kind,
    /// How it is.
    pub state: State,
    /// The library it was tried on.
    pub library: Option<String>,
    /// Why it does not work, in the words of whoever refused.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Looks at the machine, the libraries and the providers.
///
/// Whether the kernels compute what they should is asked once for each library and processor, and again where `again` is
/// set.
pub fn examine(launcher: &Launcher, search: &Search, again: bool) -> Findings {
    let (libraries, no_library) = match search.libraries() {
        Ok(libraries) => (libraries, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
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
            reason: Some(format!("no usable library has the {kind} provider")),
            hint: Some(hint(kind, None)),
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
        return LibraryFinding { path, origin: library.origin, version: None, build: None, problem: Some(problem) };
    }
    match launcher.describe(library) {
        Ok(description) => LibraryFinding {
            path,
            origin: library.origin,
            version: Some(description.version),
            build: Some(description.build),
            problem: None,
        },
        Err(error) => LibraryFinding {
            path,
            origin: library.origin,
            version: None,
            build: None,
            problem: Some(error.to_string()),
        },
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
        allow_fallback: false,
        verbose: false,
    };
    let error: Option<ModelError> = launcher.load(&spec).err();
    ProviderFinding {
        provider: kind,
        state: if error.is_none() { State::Works } else { State::Broken },
        library: Some(library.path.display().to_string()),
        hint: error.as_ref().map(|_| hint(kind, Some(library))),
        reason: error.map(|error| error.to_string().trim().to_owned()),
    }
}

/// NVIDIA's guide; its libraries are not published where pip finds them.
const TENSORRT_GUIDE: &str = "install TensorRT 10 as NVIDIA's guide says (https://docs.nvidia.com/deeplearning/tensorrt/latest/installing-tensorrt/installing.html) \
     and put its lib folder on LD_LIBRARY_PATH";

/// What to do about a provider that does not work, by what is there and what is not.
fn hint(kind: Kind, library: Option<&Library>) -> String {
    let setup = |package: &str| format!("run `resnext-run setup {package}`");
    let mut steps = Vec::new();
    match kind {
        Kind::Cpu => steps.push(setup("cpu")),
        Kind::OpenVino => steps.push(setup("openvino")),
        Kind::Cuda | Kind::TensorRt => {
            if !host::has_nvidia_driver() {
                steps.push("install an NVIDIA GPU and its driver, 580 or newer (`nvidia-smi` shows both)".to_owned());
            }
            if library.is_none_or(|library| library.nvidia_folders().is_empty()) {
                steps.push(setup("cuda"));
            }
            if kind == Kind::TensorRt {
                steps.push(TENSORRT_GUIDE.to_owned());
            }
        }
    }
    if steps.is_empty() {
        // Everything that can be seen is there; what is wrong is in the reason.
        steps.push(format!(
            "see why above; a newer driver or `resnext-run setup {}` in a fresh folder may help",
            kind.package()
        ));
    }
    steps.join("; ")
}

impl Findings {
    /// The providers that work.
    pub fn working(&self) -> Vec<Kind> {
        let works = self.providers.iter().filter(|provider| provider.state == State::Works);
        works.map(|provider| provider.provider).collect()
    }
}
