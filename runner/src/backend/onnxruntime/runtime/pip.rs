//! Fetching wheels with pip.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::install::{InstallError, Package, at, platform};

/// The Python whose wheels are asked for. The library inside does not depend on it; it only has to be one that all
/// pinned packages were published for.
const PYTHON: &str = "3.13";

/// The commands that may be pip, in the order they are tried.
const COMMANDS: [&[&str]; 5] =
    [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["py", "-3", "-m", "pip"], &["pip3"], &["pip"]];

/// Downloads the wheels of a set into `folder`; `scratch` takes the list that pip reads.
pub(crate) fn download(package: Package, scratch: &Path, folder: &Path, show: bool) -> Result<(), InstallError> {
    let platforms = platforms().ok_or_else(|| InstallError::Platform { platform: platform() })?;
    let [program, arguments @ ..] = find(package)? else { return Err(no_pip(package)) };
    let list = scratch.join("requirements.txt");
    fs::write(&list, package.requirements_text()).map_err(at(&list))?;
    let mut command = Command::new(program);
    command.args(arguments).args(["download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    command.args(["--no-input", "--disable-pip-version-check", "--implementation", "cp", "--python-version", PYTHON]);
    platforms.iter().for_each(|platform| {
        command.args(["--platform", platform]);
    });
    command.arg("--dest").arg(folder).arg("--requirement").arg(&list);
    // Settings meant for installing packages into an environment make pip refuse to download for another one.
    command.env_remove("PIP_USER").env_remove("PIP_TARGET").env_remove("PIP_REQUIRE_VIRTUALENV");
    // pip draws its progress on standard output and reports errors on standard error.
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(if show { Stdio::from(io::stderr()) } else { Stdio::null() });
    let failed = |status: String, output: String| InstallError::Pip {
        packages: package.titles(),
        status,
        output,
        package: package.name(),
    };
    let mut child = command.spawn().map_err(|error| failed(error.to_string(), String::new()))?;
    let mut output = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        output = String::from_utf8_lossy(&bytes).trim().to_owned();
    }
    let status = child.wait().map_err(|error| failed(error.to_string(), output.clone()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string(), output)) }
}

/// The first pip that answers.
fn find(package: Package) -> Result<&'static [&'static str], InstallError> {
    let answers = |command: &&&[&str]| {
        let [program, arguments @ ..] = **command else { return false };
        let mut command = Command::new(program);
        command.args(arguments).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    COMMANDS.iter().find(answers).copied().ok_or_else(|| no_pip(package))
}

fn no_pip(package: Package) -> InstallError {
    let tried = COMMANDS.iter().map(|command| format!("`{}`", command.join(" "))).collect::<Vec<_>>().join(", ");
    InstallError::NoPip { tried, packages: package.titles(), package: package.name() }
}

/// Platform tags to ask for. The last one counts most: old versions of pip take only that.
fn platforms() -> Option<Vec<String>> {
    let manylinux = |machine: &str| {
        let tags = ["manylinux_2_12", "manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28"];
        tags.iter().map(|tag| format!("{tag}_{machine}")).collect()
    };
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", machine @ ("x86_64" | "aarch64")) if cfg!(target_env = "gnu") => Some(manylinux(machine)),
        ("macos", "aarch64") => Some(vec!["macosx_14_0_arm64".to_owned()]),
        ("windows", "x86_64") => Some(vec!["win_amd64".to_owned()]),
        ("windows", "aarch64") => Some(vec!["win_arm64".to_owned()]),
        _ => None,
    }
}
