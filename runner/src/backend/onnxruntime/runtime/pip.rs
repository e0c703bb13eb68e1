//! Fetching wheels with pip.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::host::child;

use super::error::{InstallError, at, platform};
use super::package::Package;

/// The Python whose wheels are asked for. The library inside does not depend on it; it only has to be one that all
/// pinned packages were published for.
const PYTHON: &str = "3.13";

/// The commands that may be pip, in the order they are tried. `-I` isolates Python: without it `-m` would look for pip, and
/// for all that it imports, in the current folder first. pip's own configuration (files and `PIP_*`) still holds, so that
/// mirrors work.
const COMMANDS: [&[&str]; 5] = [
    &["python3", "-I", "-m", "pip"],
    &["python", "-I", "-m", "pip"],
    &["py", "-3", "-I", "-m", "pip"],
    &["pip3"],
    &["pip"],
];

/// How long pip may do nothing that shows: no file grows, nothing is printed. Its own limits end sooner.
const SILENCE: Duration = Duration::from_secs(300);
/// How long a pip may take to tell its version.
const ANSWER: Duration = Duration::from_secs(60);

/// Downloads the wheels of a set into `folder`; `scratch` takes the list that pip reads, and is the folder that pip runs
/// and keeps its temporary files in, so that nothing of the user's current folder is within its reach.
pub(crate) fn download(package: Package, scratch: &Path, folder: &Path, show: bool) -> Result<(), InstallError> {
    let platforms = platforms().ok_or_else(|| InstallError::Platform { platform: platform() })?;
    let scratch = std::path::absolute(scratch).map_err(at(scratch))?;
    let folder = std::path::absolute(folder).map_err(at(folder))?;
    let home = scratch.join("pip");
    fs::create_dir_all(&home).map_err(at(&home))?;
    let (program, arguments) = find(package, &home)?;
    let list = scratch.join("requirements.txt");
    fs::write(&list, package.requirements_text()).map_err(at(&list))?;
    let mut command = child::guarded_command(&program);
    command.args(arguments).args(["download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    command.args(["--no-input", "--disable-pip-version-check", "--implementation", "cp", "--python-version", PYTHON]);
    platforms.iter().for_each(|platform| {
        command.args(["--platform", platform]);
    });
    command.arg("--dest").arg(&folder).arg("--requirement").arg(&list);
    isolate(&mut command, &home);
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
    let mut child = child::spawn(command).map_err(|error| failed(error.to_string(), String::new()))?;
    let printed = Printed::of(child.stderr.take());
    let status = watch(&mut child, &[&home, &folder], &printed, SILENCE);
    match status.map_err(|error| failed(error.to_string(), printed.text()))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(status.to_string(), printed.text())),
        None => {
            let status = format!("was stopped after {} seconds in which nothing arrived", SILENCE.as_secs());
            Err(failed(status, printed.text()))
        }
    }
}

/// Keeps Python from the current folder and from folders named by the environment.
fn isolate(command: &mut Command, home: &Path) {
    command.current_dir(home).env("TMPDIR", home).env("PYTHONSAFEPATH", "1");
    for variable in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE"] {
        command.env_remove(variable);
    }
}

/// What a process prints, read by a thread.
struct Printed(Arc<Mutex<Vec<u8>>>, Option<JoinHandle<()>>);

impl Printed {
    fn of(pipe: Option<ChildStderr>) -> Printed {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&kept);
        let read = move |mut pipe: ChildStderr| {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                keep.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
            }
        };
        Printed(kept, pipe.map(|pipe| thread::spawn(move || read(pipe))))
    }

    fn len(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// All of it; the last words may still be on their way, which something that pip left running must not hold up.
    fn text(&self) -> String {
        let start = Instant::now();
        while self.1.as_ref().is_some_and(|thread| !thread.is_finished())
            && start.elapsed() < Duration::from_millis(500)
        {
            thread::sleep(Duration::from_millis(10));
        }
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Waits for pip as long as something happens; kills it after so long a silence, and returns `None`.
fn watch(child: &mut Child, folders: &[&Path], printed: &Printed, silence: Duration) -> io::Result<Option<ExitStatus>> {
    let mut before = None;
    let mut since = Instant::now();
    let step = Duration::from_millis(500).min(silence / 4);
    loop {
        let until = Instant::now() + step;
        while Instant::now() < until {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(20).min(step));
        }
        let now = Some(folders.iter().map(|folder| size(folder)).sum::<u64>() + printed.len());
        if now != before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > silence {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
}

/// Bytes below a folder; what vanishes meanwhile counts nothing.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        _ => entry.metadata().map_or(0, |about| about.len()),
    };
    entries.map(of).sum()
}

/// The first pip that answers: its program and the arguments that make it pip.
fn find(package: Package, home: &Path) -> Result<(PathBuf, &'static [&'static str]), InstallError> {
    let answers = |command: &'static [&'static str]| {
        let [name, arguments @ ..] = command else { return None };
        let program = child::find(name)?;
        let mut version = child::guarded_command(&program);
        version.args(arguments).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        isolate(&mut version, home);
        let status = child::spawn(version).and_then(|mut running| child::wait(&mut running, ANSWER));
        status.is_ok_and(|status| status.is_some_and(|status| status.success())).then_some((program, arguments))
    };
    COMMANDS.iter().find_map(|command| answers(command)).ok_or_else(|| no_pip(package))
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn started(script: &str) -> Child {
        let mut command = Command::new(child::find("sh").unwrap());
        command.args(["-c", script]).stderr(Stdio::piped());
        child::spawn(command).unwrap()
    }

    #[test]
    fn a_pip_that_does_nothing_is_stopped_and_one_that_works_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let silence = Duration::from_millis(800);
        let mut idle = started("sleep 60");
        let printed = Printed::of(idle.stderr.take());
        assert_eq!(watch(&mut idle, &[folder.path()], &printed, silence).unwrap(), None);
        // Twice as long as the silence allowed, but something grows.
        let file = folder.path().join("wheel");
        let mut busy = started(&format!(
            "for i in 1 2 3 4 5 6 7 8; do echo x >> '{}'; sleep 0.2; done; echo end >&2",
            file.display()
        ));
        let printed = Printed::of(busy.stderr.take());
        assert!(watch(&mut busy, &[folder.path()], &printed, silence).unwrap().unwrap().success());
        assert_eq!(printed.text(), "end");
    }
}
