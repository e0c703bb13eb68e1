//! The real GPU package on a machine without its driver or libraries: registers, fails, and says what is missing.
//!
//! Where the driver and the libraries are there, the same package has to work.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::PathBuf;
use std::process::Command;

use crate::common::runner::{self, launcher};
use resnext_runner::backend::onnxruntime::examination::{State, examine_provider};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::find::{Library, Search};
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::host::machine as host;

/// The pinned onnxruntime of `setup cuda` without NVIDIA's gigabyte of libraries, fetched once.
fn gpu_library() -> Library {
    let pinned = &Package::Cuda.requirements()[0];
    let root = runner::root();
    let folder: PathBuf = root.join(format!("{}-{}", pinned.name, pinned.version));
    std::fs::create_dir_all(&root).expect("root");
    let lock = std::fs::File::create(root.join(".gpu.lock")).expect("lock");
    lock.lock().expect("locked");
    if !folder.is_dir() {
        let partial = tempfile::tempdir_in(&root).expect("temporary folder");
        let hashes = pinned.hashes.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect::<String>();
        let list = runner::write(
            partial.path(),
            "list.txt",
            format!("{}=={}{hashes}", pinned.name, pinned.version).as_bytes(),
        );
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--no-compile",
        ]);
        pip.args(["--python-version", "3.13", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]);
        pip.arg("--target").arg(partial.path().join("site")).arg("--requirement").arg(&list);
        assert!(
            pip.status().expect("pip runs").success(),
            "this test fetches onnxruntime-gpu; it needs pip and a network"
        );
        std::fs::rename(partial.path().join("site"), &folder).expect("moved into place");
    }
    let search = Search { flag: Some(folder), ..Search::default() };
    search.libraries().expect("an installed library").remove(0)
}

#[test]
fn cuda_and_tensorrt_name_the_library_that_is_missing() {
    let library = gpu_library();
    assert!(library.has(Kind::Cuda) && library.has(Kind::TensorRt) && !library.has(Kind::OpenVino));
    let cpu = examine_provider(&launcher(), &library, Kind::Cpu);
    assert_eq!(cpu.state, State::Works, "{cpu:?}");
    for (kind, provider) in
        [(Kind::Cuda, "libonnxruntime_providers_cuda.so"), (Kind::TensorRt, "libonnxruntime_providers_tensorrt.so")]
    {
        let finding = examine_provider(&launcher(), &library, kind);
        if finding.state == State::Works {
            assert!(host::has_nvidia_driver(), "{kind} cannot work without a driver");
            continue;
        }
        assert_eq!(finding.state, State::Broken);
        let reason = finding.reason.expect("a reason").to_string();
        assert!(reason.contains(provider), "{reason}");
        assert!(reason.contains("cannot open shared object file"), "{reason}");
        let hints: Vec<String> = finding.hints.iter().map(ToString::to_string).collect();
        let hint = hints.join("; ");
        assert!(hint.contains("resnext-run setup cuda"), "{hint}");
        assert!(hint.contains("driver") || host::has_nvidia_driver(), "{hint}");
    }
}
