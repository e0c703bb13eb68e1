//! Runs the built program and shows what it said where that is not what was expected.

use std::path::Path;
use std::process::{Command, Output};

/// The program under test.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnext-build"));
    command.env_remove("RUST_BACKTRACE");
    command
}

/// Runs it with `args` in `folder`.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    program().args(args).current_dir(folder).output().expect("the program starts")
}

/// Runs it and expects success; returns its standard output.
#[track_caller]
pub(crate) fn succeed(folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = run(folder, args);
    assert!(output.status.success(), "{args:?} exits {:?}: {}", output.status.code(), text(&output.stderr));
    output.stdout
}

/// Runs it and expects this exit code and one message that holds all of `parts`.
#[track_caller]
pub(crate) fn fail(folder: &Path, args: &[&str], code: i32, parts: &[&str]) {
    let output = run(folder, args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?} should mention '{part}': {message}");
    }
    assert!(output.stdout.is_empty(), "{args:?} prints on standard output: {}", text(&output.stdout));
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
