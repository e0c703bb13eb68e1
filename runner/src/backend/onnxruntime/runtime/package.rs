//! The pinned sets of packages, and where they are installed.

use std::env;
use std::path::{Path, PathBuf};

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
