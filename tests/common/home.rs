//! Homes with a cache of their own, the file to put there, and the server to fetch it from.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::forged;
pub(crate) use super::program::{names, program, text};
use super::server::{Server, status};

pub(crate) const NAME: &str = "resnet18-f37072fd.pth";

pub(crate) const PARTIAL: &str = ".resnet18-f37072fd.pth.partial";

/// The file that passes for [`NAME`].
pub(crate) fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(forged::resnet18)
}

/// A home of its own: no cache, no settings, no proxy of whoever runs the tests.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where torch would keep it.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path().join("torch/hub/checkpoints")
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(self.cache()).unwrap();
        std::fs::write(self.cache().join(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, url: &str) -> Command {
        let mut command = program();
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        for name in ["XDG_CACHE_HOME", "RESNEXT_WEIGHTS_TIMEOUT", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            command.env_remove(name);
        }
        for name in std::env::vars_os().map(|(name, _)| name) {
            if ["HF_", "HUGGING", "TRANSFORMERS_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.path()).env("TORCH_HOME", self.path().join("torch"));
        command.env("RESNEXT_WEIGHTS_URL", url).current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn build(&self, url: &str) -> Command {
        let mut command = self.command(url);
        command.args(["--variant", "resnet18", "--weights", "IMAGENET1K_V1", "-o", "m.onnx"]);
        command
    }

    #[track_caller]
    pub(crate) fn assert_no_model_and_in_cache(&self, expected: &[&str]) {
        assert!(!self.path().join("m.onnx").exists());
        let found = if self.cache().exists() { names(&self.cache()) } else { Vec::new() };
        assert_eq!(found, expected);
    }
}

#[track_caller]
pub(crate) fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

#[track_caller]
pub(crate) fn fails(command: &mut Command, code: i32, parts: &[&str]) -> String {
    let output = command.output().unwrap();
    check_failure(&output, code, parts);
    text(&output.stderr)
}

#[track_caller]
pub(crate) fn check_failure(output: &Output, code: i32, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "should mention '{part}': {said}");
    }
}

/// A server that must not be asked.
pub(crate) fn silent() -> Server {
    Server::start(|_, out| status(out, "500 Asked", ""))
}

pub(crate) fn wait_for_bytes(path: &Path, bytes: u64) {
    let start = Instant::now();
    while path.metadata().map_or(0, |metadata| metadata.len()) < bytes {
        assert!(start.elapsed() < Duration::from_secs(60), "{} never has {bytes} bytes", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What was set or removed for `from` is so for `to`.
#[cfg(unix)]
pub(crate) fn copy_environment(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}
