//! Installing and finding the library: what is asked for is there whole, or not at all, and errors say what to do.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::runner::{self, library, program, stderr, stdout};
use resnext_runner::backend::onnxruntime::runtime::error::InstallError;
use resnext_runner::backend::onnxruntime::runtime::install;
use resnext_runner::backend::onnxruntime::runtime::install::Source;
use resnext_runner::backend::onnxruntime::runtime::package::Package;

/// The program with an environment of its own: nothing of the user's, and only these folders to find pip in.
fn bare(path: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_clear().env("PATH", path).env("HOME", path);
    command
}

/// A folder with a `python3` that answers as pip and then does what the script says; `$dest` is where wheels go.
fn pip_that(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let find_dest = r#"for word; do if [ "$previous" = --dest ]; then dest=$word; fi; previous=$word; done"#;
    let body = format!("#!/bin/sh\ncase \"$*\" in *--version*) exit 0;; esac\n{find_dest}\n{script}\n");
    let python = folder.path().join("python3");
    runner::script(&python, &body);
    folder
}

fn setup(pip: &Path, root: &Path, more: &[&str]) -> Output {
    let mut command = bare(pip);
    command.args(["setup", "cpu", "--dir"]).arg(root).args(more);
    command.output().expect("the program starts")
}

/// What an installation that failed may leave: the lock.
fn assert_nothing_installed(root: &Path) {
    let left: Vec<PathBuf> = fs::read_dir(root).expect("root").map(|entry| entry.expect("entry").path()).collect();
    assert!(left.iter().all(|path| path.ends_with(".lock")), "{left:?}");
}

#[test]
fn without_pip_the_error_says_how_to_get_it_or_do_without() {
    let (empty, root) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let output = setup(empty.path(), root.path(), &[]);
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(said.contains("pip was not found") && said.contains("--from WHEEL"), "{said}");
    assert_nothing_installed(root.path());
}

#[test]
fn a_lock_that_is_a_link_is_not_written_through_and_a_file_in_its_place_keeps_its_content() {
    let (empty, root) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let (lock, victim) = (root.path().join(".lock"), empty.path().join("victim"));
    fs::write(&victim, "precious").expect("victim");
    std::os::unix::fs::symlink(&victim, &lock).expect("link");
    let output = setup(empty.path(), root.path(), &[]);
    assert_ne!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("symbolic link"), "{}", stderr(&output));
    fs::remove_file(&lock).expect("removed");
    fs::write(&lock, "of somebody").expect("lock");
    setup(empty.path(), root.path(), &[]);
    assert_eq!((fs::read(&victim).unwrap(), fs::read(&lock).unwrap()), (b"precious".to_vec(), b"of somebody".to_vec()));
}

#[test]
fn without_a_network_the_error_holds_pips_own_words() {
    let pip = pip_that("echo 'ERROR: Could not find a version that satisfies the requirement' >&2; exit 1");
    let root = tempfile::tempdir().expect("folder");
    let output = setup(pip.path(), root.path(), &[]);
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(said.contains("Could not find a version") && said.contains("run `resnext-run setup cpu` again"), "{said}");
    assert_nothing_installed(root.path());
}

#[test]
fn a_download_that_breaks_off_leaves_nothing() {
    let pip = pip_that("echo half >\"$dest/onnxruntime.whl\"; kill -KILL $$");
    let root = tempfile::tempdir().expect("folder");
    let output = setup(pip.path(), root.path(), &[]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert_nothing_installed(root.path());
}

#[test]
fn a_wheel_with_another_hash_is_refused_whoever_brought_it() {
    let pip = pip_that("echo evil >\"$dest/onnxruntime.whl\"");
    let root = tempfile::tempdir().expect("folder");
    let output = setup(pip.path(), root.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("none of those pinned for onnxruntime 1."), "{}", stderr(&output));
    assert_nothing_installed(root.path());
    let wheel = runner::write(pip.path(), "mine.whl", b"evil");
    let output = setup(pip.path(), root.path(), &["--from", wheel.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("mine.whl has SHA-256"), "{}", stderr(&output));
    assert_nothing_installed(root.path());
}

#[test]
fn a_folder_without_the_wheels_names_the_missing_packages() {
    let (empty, root) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let output = setup(empty.path(), root.path(), &["--from", empty.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("still missing: onnxruntime 1."), "{}", stderr(&output));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_output_error() {
    let empty = tempfile::tempdir().expect("folder");
    let output = setup(empty.path(), Path::new("/dev/null/runtime"), &[]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
}

#[test]
fn what_a_killed_installation_left_is_cleared_away() {
    let pip = pip_that("exit 1");
    let root = tempfile::tempdir().expect("folder");
    let left = root.path().join(".partial/wheels");
    fs::create_dir_all(&left).expect("created");
    runner::write(&left, "half.whl", b"half");
    assert_eq!(setup(pip.path(), root.path(), &[]).status.code(), Some(4));
    assert_nothing_installed(root.path());
}

#[test]
fn a_wheel_carried_over_by_hand_installs_without_pip() {
    let installed = library(Package::Cpu);
    let wheels = tempfile::tempdir().expect("folder");
    // The wheel as any machine with a network would fetch it.
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/runtime-cpu.txt");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    pip.arg("--dest").arg(wheels.path()).args(["--requirement", requirements]);
    assert!(pip.status().expect("pip runs").success(), "this test fetches a wheel; it needs pip and a network");
    let (empty, root) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let from = ["--from", wheels.path().to_str().expect("UTF-8")];
    let output = setup(empty.path(), root.path(), &from);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("cpu works"), "{}", stdout(&output));
    let carried =
        Package::Cpu.folder(root.path()).join("onnxruntime/capi").join(installed.path.file_name().expect("name"));
    assert_eq!(fs::read(carried).expect("carried"), fs::read(&installed.path).expect("fetched"), "the same library");
    let again = setup(empty.path(), root.path(), &[]);
    assert_eq!(again.status.code(), Some(0));
    assert!(stdout(&again).contains("already there"), "{}", stdout(&again));
}

#[test]
fn processes_that_install_at_once_agree_on_one_installation() {
    let root = runner::root();
    let install = || install::install(Package::Cpu, &root, Source::Pip { show: false });
    let folders: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(install)).collect();
        threads.into_iter().map(|thread| thread.join().expect("joined").expect("installed").folder).collect()
    });
    assert!(folders.iter().all(|folder| *folder == Package::Cpu.folder(&root)));
}

#[test]
fn only_what_the_library_needs_is_kept() {
    let library = library(Package::Cpu);
    let packages = library.path.ancestors().nth(3).expect("site").to_path_buf();
    assert!(packages.join("onnxruntime/LICENSE").is_file());
    let mut folders = vec![packages];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            assert!(path.extension().is_none_or(|extension| extension != "py"), "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn an_unreachable_index_is_an_error_and_no_half_installation() {
    let root = tempfile::tempdir().expect("folder");
    let mut command = Command::new(program());
    command.args(["setup", "cpu", "--dir"]).arg(root.path());
    command.env("PIP_INDEX_URL", "http://127.0.0.1:9/").env("PIP_RETRIES", "0").env("PIP_NO_CACHE_DIR", "1");
    command.env("PIP_CONFIG_FILE", "/dev/null").env_remove("PIP_FIND_LINKS").env_remove("PIP_EXTRA_INDEX_URL");
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("pip could not fetch onnxruntime 1."), "{}", stderr(&output));
    assert_nothing_installed(root.path());
}

#[test]
fn the_pins_are_read_from_the_lists() {
    let names = |package: Package| package.requirements().iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names(Package::Cpu), ["onnxruntime"]);
    assert!(names(Package::OpenVino)[0].starts_with("onnxruntime"));
    assert!(names(Package::Cuda).contains(&"nvidia-cudnn-cu13"));
    for package in [Package::Cpu, Package::OpenVino, Package::Cuda] {
        for requirement in package.requirements() {
            assert!(!requirement.version.is_empty() && !requirement.hashes.is_empty(), "{requirement:?}");
            let hexadecimal = |hash: &str| hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit());
            assert!(requirement.hashes.iter().all(|hash| hexadecimal(hash)), "{requirement:?}");
        }
    }
    let error = InstallError::NoFolder.to_string();
    assert!(error.contains("--dir"), "{error}");
}

#[test]
fn a_damaged_installation_is_told_and_replaced() {
    let pip = pip_that("exit 1");
    let root = tempfile::tempdir().expect("folder");
    let folder = Package::Cpu.folder(root.path());
    // What `setup` left, and a library that somebody emptied.
    let capi = folder.join("onnxruntime/capi");
    fs::create_dir_all(&capi).expect("folder");
    let name = library(Package::Cpu).path.file_name().expect("a name").to_owned();
    fs::write(capi.join(&name), "").expect("emptied");
    let list = format!("{} 4 onnxruntime/capi/{}\n", "0".repeat(64), name.display());
    fs::write(folder.join("files.list"), list).expect("list");
    let output = setup(pip.path(), root.path(), &[]);
    assert_eq!(output.status.code(), Some(4), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("cpu is damaged: ") && said.contains("is not what was installed"), "{said}");
    assert!(capi.join(&name).exists(), "without another one it stays");
    let mut doctor = bare(pip.path());
    let output = doctor.args(["doctor", "--ort-lib"]).arg(&folder).output().expect("the program starts");
    assert!(stdout(&output).contains("the installation is damaged"), "{}", stdout(&output));
    fs::remove_file(capi.join(&name)).expect("deleted");
    let said = stderr(&setup(pip.path(), root.path(), &[]));
    assert!(said.contains("cpu is damaged: it holds no onnxruntime library"), "{said}");
}

#[test]
fn doctor_asks_the_kernels_once_and_results_carry_what_it_found() {
    let home = tempfile::tempdir().expect("folder");
    let library = library(Package::Cpu).path;
    let run = |arguments: &[&str]| {
        let mut command = bare(home.path());
        command.args(arguments).arg("--ort-lib").arg(&library).output().expect("the program starts")
    };
    let kernels = |output: &Output| {
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found["kernels"][0].clone()
    };
    let first = kernels(&run(&["doctor", "--json"]));
    assert!(first["error"].is_null(), "{first}");
    let answers = first["answers"].as_array().expect("answers");
    let float = answers.iter().filter(|answer| answer["is_integer"] == false);
    assert!(answers.len() > 10 && float.clone().count() > 1, "{first}");
    assert!(float.clone().all(|answer| answer["wrong"] == 0), "{first}");
    // Where 16-bit sums saturate, integers are wrong, and that is what it is for.
    let can = |set: &str| resnext_runner::host::machine::Host::read().instruction_sets.iter().any(|has| has == set);
    if can("avx512vnni") || can("neon") {
        assert!(answers.iter().all(|answer| answer["wrong"] == 0), "{first}");
    }
    assert_eq!(kernels(&run(&["doctor", "--json"])), first, "the same, its duration included");
    assert_ne!(kernels(&run(&["doctor", "--json", "--no-cache"])), first, "asked again");
    let folder = home.path().join(".cache/resnext-onnx/kernels");
    let kept = fs::read_dir(folder).expect("kept").next().expect("one").expect("entry").path();
    let mut planted: serde_json::Value = serde_json::from_slice(&fs::read(&kept).expect("read")).expect("JSON");
    planted["answers"][0]["wrong"] = 7.into();
    fs::write(&kept, planted.to_string()).expect("written");
    let said = stdout(&run(&["doctor"]));
    assert!(said.contains("7 of") && said.contains("whose weights have 7 bits"), "{said}");
    let model = runner::write(home.path(), "m.onnx", &runner::small_network());
    let model = model.to_str().expect("UTF-8");
    for arguments in [&["bench", model, "--duration", "0.1"][..], &["compare", model]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "nothing is refused: {}", stderr(&output));
        assert!(stdout(&output).contains("computes wrong results on this processor"), "{}", stdout(&output));
    }
}
