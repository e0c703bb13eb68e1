//! The library on disk: found where it should be, and refused with reason where it is none.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::runner::{self, library, program, stderr, stdout};
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

/// A shared library made of this source, under onnxruntime's name.
fn build(folder: &Path, source: &str) -> PathBuf {
    fs::create_dir_all(folder).expect("created");
    let code = folder.join("fake.rs");
    fs::write(&code, source).expect("written");
    let library = folder.join("libonnxruntime.so");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-o"]).arg(&library).arg(&code);
    assert!(rustc.status().expect("rustc runs").success());
    library
}

/// What every onnxruntime exports, reporting this version and offering no interface.
fn reporting(version: &str) -> String {
    format!(
        "use std::ffi::{{c_char, c_void}};
        #[repr(C)] pub struct Base(extern \"C\" fn(u32) -> *const c_void, extern \"C\" fn() -> *const c_char);
        extern \"C\" fn api(_: u32) -> *const c_void {{ std::ptr::null() }}
        extern \"C\" fn version() -> *const c_char {{ c\"{version}\".as_ptr() }}
        static BASE: Base = Base(api, version);
        #[unsafe(no_mangle)] pub extern \"C\" fn OrtGetApiBase() -> *const Base {{ &BASE }}"
    )
}

/// A library that does this as soon as it is loaded.
fn on_load(statement: &str) -> String {
    format!(
        "extern \"C\" fn start() {{ {statement} }}
        #[used] #[unsafe(link_section = \".init_array\")] static START: extern \"C\" fn() = start;"
    )
}

/// The program with nothing of the user's settings.
fn resnext_run(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("ORT_DYLIB_PATH").env_remove("RESNEXT_ORT_DIR").env_remove("LD_LIBRARY_PATH");
    command.env("HOME", "/dev/null/home").env_remove("XDG_DATA_HOME");
    command
}

fn doctor(library: &Path) -> (Output, Value) {
    let path = library.to_str().expect("UTF-8");
    let output = resnext_run(&["doctor", "--json", "--timeout", "20", "--ort-lib", path]).output().expect("it starts");
    let findings =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(&output)));
    (output, findings)
}

fn problem(source: &str) -> String {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (output, findings) = doctor(&build(folder.path(), source));
    assert_eq!(output.status.code(), Some(4), "{findings}");
    findings["libraries"][0]["problem"]["detail"].as_str().expect("a problem").to_owned()
}

#[test]
fn an_onnxruntime_that_is_too_old_is_named_with_its_version() {
    let said = problem(&reporting("1.20.1"));
    assert!(said.contains("is onnxruntime 1.20.1; 1.24 or newer is needed"), "{said}");
    assert!(said.contains("resnext-run setup cpu"), "{said}");
    let said = problem(&reporting("nonsense"));
    assert!(said.contains("is onnxruntime nonsense"), "{said}");
}

#[test]
fn a_library_that_is_not_onnxruntime_is_told_apart() {
    let said = problem("#[unsafe(no_mangle)] pub extern \"C\" fn something_else() {}");
    assert!(said.contains("is not onnxruntime: it exports no OrtGetApiBase"), "{said}");
}

#[test]
fn a_file_that_is_no_library_comes_with_the_loaders_words() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = runner::write(folder.path(), "libonnxruntime.so", b"this is text, however it is named");
    let (output, findings) = doctor(&text);
    assert_eq!(output.status.code(), Some(4));
    let said = findings["libraries"][0]["problem"]["detail"].as_str().expect("a problem");
    assert!(said.contains("could not be loaded") && said.contains("file too short"), "{said}");
}

#[test]
fn a_library_that_kills_or_stops_the_process_that_loads_it_is_a_finding() {
    let said = problem(&on_load("std::process::abort()"));
    assert!(said.contains("SIGABRT"), "{said}");
    let said = problem(&on_load("unsafe { std::ptr::null_mut::<u32>().write_volatile(1) }"));
    assert!(said.contains("SIGSEGV"), "{said}");
    let folder = tempfile::tempdir().expect("temporary folder");
    let library = build(folder.path(), &on_load("loop { std::hint::spin_loop() }"));
    let path = library.to_str().expect("UTF-8");
    let output = resnext_run(&["doctor", "--timeout", "1", "--ort-lib", path]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(4));
    assert!(stdout(&output).contains("gave no answer within 1 s"), "{}", stdout(&output));
}

#[test]
fn what_is_named_and_not_there_is_an_error_and_not_passed_over() {
    for (flag, variable) in [(Some("/nowhere/lib"), None), (None, Some("/nowhere/lib"))] {
        let mut command = resnext_run(&["doctor"]);
        flag.map(|path| command.args(["--ort-lib", path]));
        variable.map(|path| command.env("ORT_DYLIB_PATH", path));
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(4));
        let named = if flag.is_some() { "--ort-lib" } else { "ORT_DYLIB_PATH" };
        assert!(stdout(&output).contains(&format!("{named} names /nowhere/lib")), "{}", stdout(&output));
    }
}

#[test]
fn the_order_is_flag_variable_installed_system() {
    let cpu = library(Package::Cpu);
    let root = runner::root();
    let other = tempfile::tempdir().expect("temporary folder");
    let linked = other.path().join("libonnxruntime.so");
    std::os::unix::fs::symlink(&cpu.path, &linked).expect("linked");
    let origin = |command: &mut Command| {
        let output = command.output().expect("it starts");
        let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        findings["libraries"][0]["origin"].as_str().expect("an origin").to_owned()
    };
    let library = cpu.path.to_str().expect("UTF-8");
    let mut all = resnext_run(&["doctor", "--json", "--ort-lib", library]);
    all.env("ORT_DYLIB_PATH", &linked).env("RESNEXT_ORT_DIR", &root).env("LD_LIBRARY_PATH", other.path());
    assert_eq!(origin(&mut all), "flag");
    let mut all = resnext_run(&["doctor", "--json"]);
    all.env("ORT_DYLIB_PATH", &linked).env("RESNEXT_ORT_DIR", &root).env("LD_LIBRARY_PATH", other.path());
    assert_eq!(origin(&mut all), "environment");
    assert_eq!(origin(all.env_remove("ORT_DYLIB_PATH")), "installed");
    assert_eq!(origin(all.env_remove("RESNEXT_ORT_DIR")), "system");
}

#[test]
fn without_any_library_the_error_says_where_it_looked_and_what_to_run() {
    let output = resnext_run(&["doctor"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(4));
    let said = stdout(&output);
    assert!(said.contains("no onnxruntime library found; looked at /"), "{said}");
    assert!(said.contains("run `resnext-run setup cpu`"), "{said}");
}

#[test]
fn the_check_up_tells_what_works_and_how_to_fix_the_rest() {
    let cpu = library(Package::Cpu);
    let (output, findings) = doctor(&cpu.path);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(findings["schema_version"], 2);
    assert!(findings["libraries"][0]["version"].as_str().is_some_and(|version| version.starts_with("1.")));
    let state = |name: &str| {
        let all = findings["providers"].as_array().expect("providers");
        all.iter().find(|provider| provider["provider"] == name).expect("every provider").clone()
    };
    assert_eq!(state("cpu")["state"], "works");
    for (name, hint) in [
        ("openvino", "resnext-run setup openvino"),
        ("cuda", "resnext-run setup cuda"),
        ("tensorrt", "https://docs.nvidia.com/deeplearning/tensorrt/latest/installing-tensorrt/installing.html"),
    ] {
        assert_eq!(state(name)["state"], "absent");
        let found = state(name);
        let hints = found["hints"].as_array().expect("hints");
        let is_there = |one: &serde_json::Value| one["text"].as_str().is_some_and(|text| text.contains(hint));
        assert!(hints.iter().any(is_there), "{found}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cpu = library(Package::Cpu);
    let script =
        format!("{} doctor --ort-lib {} | true; echo ${{PIPESTATUS[0]}}", program().display(), cpu.path.display());
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert_eq!((stdout(&output).trim(), stderr(&output).as_str()), ("0", ""));
}

#[test]
fn a_worker_started_by_hand_says_that_it_is_none_of_the_users_business() {
    let mut command = resnext_run(&["worker"]);
    let output = command.stdin(std::process::Stdio::null()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "an empty input is a parent that hung up");
    let script = format!("echo hello | {} worker", program().display());
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("starts workers itself"), "{}", stderr(&output));
}
