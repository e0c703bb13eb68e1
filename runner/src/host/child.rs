//! Other programs that this one starts: found in absolute folders only, and gone when this one is gone.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The hidden first argument with which this program becomes another one that ends with its parent; see [`guarded`].
pub const GUARDED: &str = "guarded";
/// How long `nvidia-smi` may take to answer; a driver that hangs must not hold up the rest.
const QUERY_LIMIT: Duration = Duration::from_secs(20);

/// A program by name, in the folders of `PATH` that are absolute: an empty or relative one means the current folder, from
/// which nothing is ever run.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    let name = if cfg!(windows) { format!("{name}.exe") } else { name.to_owned() };
    env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(&name)).find(|it| runs(it))
}

#[cfg(unix)]
fn runs(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn runs(file: &Path) -> bool {
    file.is_file()
}

type Work = Box<dyn FnOnce() + Send>;

/// Starts a process from a thread that lives as long as this process. On Linux a child can ask to be killed when its parent
/// ends, but "parent" means the *thread* that started it.
///
/// # Errors
/// What the system says of the command.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Work>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (give, take) = mpsc::channel::<Work>();
        // Where there is no thread the channel is closed, and the send below says so.
        let _ =
            thread::Builder::new().name("starter".to_owned()).spawn(move || take.into_iter().for_each(|work| work()));
        Mutex::new(give)
    });
    let (give, take) = mpsc::channel();
    let work = Box::new(move || drop(give.send(command.spawn())));
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter.lock().unwrap_or_else(PoisonError::into_inner).send(work).map_err(|_| gone())?;
    take.recv().map_err(|_| gone())?
}

/// The program that understands [`GUARDED`].
static GUARD: OnceLock<PathBuf> = OnceLock::new();

/// Says that the program of this process calls [`guarded`] where its first argument is [`GUARDED`].
pub fn can_guard() {
    if let Ok(this) = env::current_exe() {
        let _ = GUARD.set(this);
    }
}

/// A command that runs `program` and ends with this process, however this one ends: on Linux through the program that
/// [`can_guard`], which asks the kernel for that before it becomes `program`. Elsewhere, or without one, as it is.
pub fn guarded_command(program: &Path) -> Command {
    match GUARD.get() {
        Some(this) if cfg!(target_os = "linux") => {
            let mut command = Command::new(this);
            command.arg(GUARDED).arg(std::process::id().to_string()).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// Becomes the program that `arguments` name: the parent's id, the program, its own arguments. Does not return but for an
/// error.
pub fn guarded(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok());
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "resnext-run starts such processes itself");
    };
    if !end_with(parent) {
        return io::Error::other("the process that started this one has ended");
    }
    become_program(Command::new(program).args(arguments))
}

#[cfg(unix)]
fn become_program(command: &mut Command) -> io::Error {
    std::os::unix::process::CommandExt::exec(command)
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Asks the kernel to kill this process when the thread that started it ends, where the kernel can. False where the parent
/// has gone in the meantime, which the kernel then does not tell: this process is to end.
pub fn end_with(parent: u32) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        // Without it a watching thread remains, see `worker::watch`.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let now = getppid().map(|id| id.as_raw_nonzero().get().cast_unsigned());
        now == Some(parent)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = parent;
        true
    }
}

/// What `nvidia-smi` answers to a query, a row a line; nothing where it is not there, fails or hangs.
pub fn nvidia_smi(query: &str) -> Option<String> {
    let mut command = Command::new(find("nvidia-smi")?);
    command.args([query, "--format=csv,noheader,nounits"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(command).ok()?;
    let mut output = child.stdout.take()?;
    let reader = thread::spawn(move || io::read_to_string(&mut output));
    if !wait(&mut child, QUERY_LIMIT).ok()??.success() {
        return None;
    }
    reader.join().ok()?.ok()
}

/// Waits for a child for so long; kills it then, and returns `None`.
///
/// # Errors
/// What the system says of it.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_in_absolute_folders_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tool");
        std::fs::write(&program, "").unwrap();
        let path = |folder: &Path| env::join_paths([Path::new("."), Path::new(""), folder]).unwrap();
        assert_eq!(find_in(&path(folder.path()), "tool"), None, "not to be run");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in(&path(folder.path()), "tool"), Some(program));
        // Cargo runs tests in the package's folder, in which this file is called so.
        assert_eq!(find_in(&path(Path::new("src")), "lib.rs"), None);
    }

    #[test]
    fn a_child_that_takes_too_long_is_killed() {
        let mut command = Command::new(find("sleep").unwrap());
        command.arg("600");
        let mut child = spawn(command).unwrap();
        assert_eq!(wait(&mut child, Duration::from_millis(50)).unwrap(), None);
        assert!(child.try_wait().unwrap().is_some(), "it is still there");
    }
}
