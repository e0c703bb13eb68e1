//! `setup`: installs the library, then tries it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::backend::onnxruntime::examination as doctor;
use crate::backend::onnxruntime::examination::State;
use crate::backend::onnxruntime::provider::Kind;
use crate::backend::onnxruntime::runtime::error::InstallError;
use crate::backend::onnxruntime::runtime::find::{Library, Search};
use crate::backend::onnxruntime::runtime::install;
use crate::backend::onnxruntime::runtime::install::Installed;
use crate::backend::onnxruntime::runtime::install::Source;
use crate::backend::onnxruntime::runtime::intact::{Damage, Look};
use crate::backend::onnxruntime::runtime::package;
use crate::backend::onnxruntime::runtime::package::Package;
use crate::report::note::sentences;
use crate::report::number::bytes;

use super::args::Setup;
use crate::backend::onnxruntime::options::LibraryOptions;
use crate::exit::Failure;
use crate::next::Next;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;
use crate::terminal::output::note;
use onnx_file::exit::Exit;

pub(crate) fn run(global: &Global, setup: &Setup) -> Result<ExitCode, Failure> {
    let root = setup.dir.clone().or_else(package::default_root).ok_or(InstallError::NoFolder)?;
    let folder = install(global, setup.package, &root, &setup.from)?;
    let done = try_out(global, setup.package, &folder)?;
    let elsewhere = setup.dir.as_ref().map(|_| folder.display().to_string());
    note(global.quiet, format!("next: {}", Next::DoctorAfterSetup { library: elsewhere }));
    Ok(done)
}

/// Installs a set of packages, telling the size first; returns its folder.
pub(crate) fn install(global: &Global, package: Package, root: &Path, wheels: &[PathBuf]) -> Result<PathBuf, Failure> {
    if !package.folder(root).is_dir() {
        let names: Vec<_> =
            package.requirements().iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        note(global.quiet, format!("installing {}", names.join(", ")));
        let (fetched, kept) = (bytes(package.download_bytes()), bytes(package.installed_bytes()));
        let from = if wheels.is_empty() { format!("about {fetched} to download, ") } else { String::new() };
        note(global.quiet, format!("{from}about {kept} in {}", root.display()));
    }
    let source = match wheels {
        [] => Source::Pip { show: terminal::shows_progress(global.quiet) },
        files => Source::Files(files),
    };
    let mut damaged =
        |damage: &Damage| note(global.quiet, format!("{} is damaged: {damage}; installing it again", package.name()));
    let installed = install::install_unless(package, root, source, Look::Contents, &mut damaged)?;
    keep_if_loadable(global, &installed)?;
    let state = match (installed.already, &installed.damage) {
        (true, _) => "is already there",
        (false, None) => "installed",
        (false, Some(_)) => "was damaged and is installed again",
    };
    terminal::print(&format!("{} {state}: {}\n", package.name(), installed.folder.display()))?;
    Ok(installed.folder)
}

/// Tries the provider that the set was installed for. That a GPU is missing is only noted, since a machine may be
/// prepared before it gets one.
fn try_out(global: &Global, package: Package, folder: &Path) -> Result<ExitCode, Failure> {
    let launcher = crate::backend::onnxruntime::launch::check_up_launcher(global, &LibraryOptions::default())?;
    let library = library_in(folder)?;
    let version = launcher.describe(&library)?.version;
    let kind = match package {
        Package::Cpu => Kind::Cpu,
        Package::OpenVino => Kind::OpenVino,
        Package::Cuda => Kind::Cuda,
    };
    if package == Package::OpenVino && version != newest() {
        let text = format!(
            "openvino runs on onnxruntime {version} here, the last that was published with it for this processor; cpu keeps \
             {} where `resnext-run setup cpu` has installed it, and results name the version of each",
            newest()
        );
        note(global.quiet, text);
    }
    let finding = doctor::examine_provider(&launcher, &library, kind);
    if finding.state == State::Works {
        terminal::print(&format!("onnxruntime {version}, {kind} works\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let reason = finding.reason.map(|reason| reason.to_string()).unwrap_or_default();
    let hint = sentences(&finding.hints).join("; ");
    let hint = if hint.is_empty() { hint } else { format!("\nhint: {hint}") };
    let message = format!("onnxruntime {version} is installed, but {kind} does not work here: {reason}{hint}");
    if package != Package::Cuda {
        return Err(Failure::lines(Exit::Unavailable, message));
    }
    note(global.quiet, message);
    Ok(ExitCode::SUCCESS)
}

/// The version that the CPU provider is pinned to.
fn newest() -> &'static str {
    Package::Cpu
        .requirements()
        .iter()
        .find(|package| package.name == "onnxruntime")
        .map_or("", |package| package.version)
}

fn library_in(folder: &Path) -> Result<Library, Failure> {
    let search = Search { flag: Some(folder.to_path_buf()), ..Search::default() };
    search
        .libraries()?
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(Exit::Internal, "an installation without a library"))
}

/// A library that does not even load here, say of another processor family, is not left to be found later.
fn keep_if_loadable(global: &Global, installed: &Installed) -> Result<(), Failure> {
    if installed.already {
        return Ok(());
    }
    let launcher = crate::backend::onnxruntime::launch::check_up_launcher(global, &LibraryOptions::default())?;
    let loaded = library_in(&installed.folder).and_then(|library| Ok(launcher.describe(&library)?));
    if loaded.is_err() {
        let _ = std::fs::remove_dir_all(&installed.folder);
    }
    loaded.map(drop)
}
