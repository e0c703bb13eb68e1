//! `setup`: installs the library, then tries it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use resnext_runner::doctor::{self, State};
use resnext_runner::runtime::find::Search;
use resnext_runner::runtime::install::{self, InstallError, Package, Source};

use crate::cli::{Global, LibraryArgs, Setup};
use crate::terminal::{self, Failure, megabytes, remark};

pub(super) fn run(global: &Global, setup: &Setup) -> Result<ExitCode, Failure> {
    let root = setup.dir.clone().or_else(install::default_root).ok_or(InstallError::NoFolder)?;
    let folder = install(global, setup.package, &root, &setup.from)?;
    try_out(global, setup.package, &folder)
}

/// Installs a set of packages, telling the size first; returns its folder.
pub(super) fn install(global: &Global, package: Package, root: &Path, wheels: &[PathBuf]) -> Result<PathBuf, Failure> {
    if !package.folder(root).is_dir() {
        let names: Vec<_> =
            package.requirements().iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        remark(global.quiet, format!("installing {}", names.join(", ")));
        let (fetched, kept) = (megabytes(package.download_bytes()), megabytes(package.installed_bytes()));
        let from = if wheels.is_empty() { format!("about {fetched} to download, ") } else { String::new() };
        remark(global.quiet, format!("{from}about {kept} in {}", root.display()));
    }
    let source = match wheels {
        [] => Source::Pip { show: terminal::shows_progress(global.quiet) },
        files => Source::Files(files),
    };
    let installed = install::install(package, root, source)?;
    let state = if installed.already { "is already there" } else { "installed" };
    terminal::print(&format!("{} {state}: {}\n", package.name(), installed.folder.display()))?;
    Ok(installed.folder)
}

/// Installing is worth nothing if the library does not load here; a GPU's absence is only remarked on, since a machine
/// may be prepared before it gets one.
fn try_out(global: &Global, package: Package, folder: &Path) -> Result<ExitCode, Failure> {
    let launcher = super::launcher(global, &LibraryArgs::default())?;
    let search = Search { flag: Some(folder.to_path_buf()), ..Search::default() };
    let libraries = search.libraries()?;
    let kind = match package {
        Package::Cpu => resnext_runner::provider::Kind::Cpu,
        Package::OpenVino => resnext_runner::provider::Kind::OpenVino,
        Package::Cuda => resnext_runner::provider::Kind::Cuda,
    };
    for library in &libraries {
        let version = launcher.describe(library)?.version;
        let finding = doctor::examine_provider(&launcher, library, kind);
        match finding.state {
            State::Works => terminal::print(&format!("onnxruntime {version}, {kind} works\n"))?,
            _ => {
                let reason = finding.reason.unwrap_or_default();
                let mend = finding.mend.map(|mend| format!("\nhint: {mend}")).unwrap_or_default();
                remark(false, format!("onnxruntime {version}, but {kind} does not work here: {reason}{mend}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
