//! Workers: what they compute, and that nothing that happens to one reaches its parent.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::runner::{self, floats, input, launcher, library, small_network, spec, write};
use resnext_runner::backend::onnxruntime::provider::{Kind, Provider};
use resnext_runner::backend::onnxruntime::runtime::find::{Library, Origin};
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::backend::onnxruntime::worker::{Launcher, Worker};
use resnext_runner::model::opened::{Block, Model, ModelError, Scope};
use resnext_runner::model::tensor::{Data, Tensor};

/// A folder with the small network, and a worker that has loaded it on the CPU.
fn loaded() -> (tempfile::TempDir, Worker) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, &model)).expect("loaded");
    (folder, worker)
}

/// A program that a shell runs in place of a worker; its standard input is the stream to the parent.
fn imposter(folder: &Path, script: &str) -> Launcher {
    let path = folder.join("imposter.sh");
    runner::script(&path, &format!("#!/bin/sh\n{script}\n"));
    Launcher { program: path, load_limit: Duration::from_secs(30), ..launcher() }
}

fn load_imposter(script: &str) -> ModelError {
    let folder = tempfile::tempdir().expect("temporary folder");
    let library = Library { path: PathBuf::from("/nowhere/libonnxruntime.so"), origin: Origin::Flag };
    imposter(folder.path(), script).load(&spec(library, Kind::Cpu, Path::new("model.onnx"))).expect_err("no worker")
}

fn signal(worker: &Worker, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), worker.process_id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

fn is_alive(process: u32) -> bool {
    let mut kill = Command::new("kill");
    kill.args(["-0", &process.to_string()]).stderr(Stdio::null());
    kill.status().expect("kill runs").success()
}

#[test]
fn a_batch_gives_what_its_images_give_one_by_one() {
    let (_folder, mut worker) = loaded();
    let outputs = worker.run(&[input(3)]).expect("ran");
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].name.as_str(), outputs[0].shape.as_slice()), ("logits", [3, 10].as_slice()));
    let all = input(3);
    for (index, expected) in floats(&outputs[0]).chunks(10).enumerate() {
        let image = floats(&all)[index * 3072..(index + 1) * 3072].to_vec();
        let one = Tensor { shape: vec![1, 3, 32, 32], data: Data::F32(image), ..all.clone() };
        let output = worker.run(&[one]).expect("ran");
        for (got, expected) in floats(&output[0]).iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{got} {expected}");
        }
    }
}

#[test]
fn an_opened_model_declares_its_inputs_and_outputs() {
    let (_folder, worker) = loaded();
    let said = |ports: &[onnx_file::port::Port]| ports.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(said(worker.inputs()), ["input f32 [?, 3, 32, 32]"]);
    assert_eq!(said(worker.outputs()), ["logits f32 [?, 10]"]);
}

#[test]
fn what_was_loaded_says_where_every_node_is_and_every_option() {
    let (_folder, worker) = loaded();
    let loaded = worker.loaded();
    assert_eq!(loaded.provider, "cpu");
    assert!(loaded.library_version.starts_with("1."), "{}", loaded.library_version);
    let nodes = loaded.placement.get("CPUExecutionProvider").copied();
    assert!(nodes.is_some_and(|nodes| nodes >= 5), "{:?}", loaded.placement);
    assert_eq!(loaded.placement.len(), 1);
    for key in ["cpu.use_arena", "intra_op_num_threads", "session.intra_op.allow_spinning", "graph_optimization_level"]
    {
        assert!(loaded.options.contains_key(key), "{key}: {:?}", loaded.options);
    }
    assert!(loaded.load_seconds > 0.0 && loaded.first_run_seconds > 0.0);
}

#[test]
fn a_block_ends_at_its_number_of_runs_or_after_its_time() {
    let (_folder, mut worker) = loaded();
    for scope in [Scope::EndToEnd, Scope::Device] {
        let by_number = worker.time(&[input(2)], Block { scope, max_runs: 7, max_seconds: 1000.0 }).expect("timed");
        assert_eq!(by_number.len(), 7);
        assert!(by_number.iter().all(|&seconds| seconds > 0.0));
        let by_time =
            worker.time(&[input(2)], Block { scope, max_runs: usize::MAX, max_seconds: 0.05 }).expect("timed");
        let before_the_last: f64 = by_time[..by_time.len() - 1].iter().sum();
        assert!(!by_time.is_empty() && before_the_last <= 0.05, "{before_the_last}");
        assert!(worker.time(&[input(2)], Block { scope, max_runs: 0, max_seconds: 1.0 }).expect("timed").is_empty());
    }
}

#[test]
fn memory_is_that_of_the_worker() {
    let (_folder, mut worker) = loaded();
    let memory = worker.memory().expect("told");
    assert!(!cfg!(target_os = "linux") || memory.peak_resident.is_some_and(|bytes| bytes > 10 << 20), "{memory:?}");
    assert_eq!(memory.device, None);
}

#[test]
fn inputs_that_do_not_fit_are_named_and_the_worker_lives_on() {
    let (_folder, mut worker) = loaded();
    let wrong = [
        (Tensor { name: "image".into(), ..input(1) }, "`image`: the model has no such input; it has `input`"),
        (Tensor { shape: vec![1, 3, 16, 64], ..input(1) }, "takes shape [-1, 3, 32, 32]"),
        (Tensor { data: Data::F64(vec![0.0; 3072]), ..input(1) }, "the model takes f32, not f64"),
        (Tensor { data: Data::F32(vec![0.0; 5]), ..input(1) }, "another number of elements"),
    ];
    for (tensor, expected) in wrong {
        let error = worker.run(&[tensor]).expect_err("refused");
        assert!(matches!(&error, ModelError::BadInput(reason) if reason.contains(expected)), "{error:?}");
    }
    let error = worker.run(&[]).expect_err("refused");
    assert!(matches!(&error, ModelError::BadInput(reason) if reason.contains("was not given")), "{error:?}");
    worker.run(&[input(1)]).expect("still there");
}

#[test]
fn noise_on_standard_output_spoils_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let script = format!("echo noise; echo noise >&2; exec {} \"$@\"", runner::program().display());
    let noisy = imposter(folder.path(), &script);
    let mut worker = noisy.load(&spec(library(Package::Cpu), Kind::Cpu, &model)).expect("loaded");
    worker.run(&[input(1)]).expect("ran");
}

#[test]
fn a_worker_killed_in_the_middle_of_a_run_is_an_error_that_names_the_signal() {
    for (name, expected) in [("KILL", "SIGKILL"), ("SEGV", "SIGSEGV"), ("ILL", "SIGILL"), ("ABRT", "SIGABRT")] {
        let (_folder, mut worker) = loaded();
        let process = worker.process_id();
        let killer = thread::spawn(move || {
            // Twice: the first SIGSEGV from outside only takes away the handler that watches for stack overflow.
            for _ in 0..2 {
                thread::sleep(Duration::from_millis(200));
                let mut kill = Command::new("kill");
                let _ = kill.args([format!("-{name}"), process.to_string()]).stderr(Stdio::null()).status();
            }
        });
        let block = Block { scope: Scope::EndToEnd, max_runs: usize::MAX, max_seconds: 60.0 };
        let error = worker.time(&[input(8)], block).map(|times| times.len()).expect_err("killed");
        killer.join().expect("joined");
        assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains(expected)), "{error:?}");
        assert_eq!(worker.run(&[input(1)]), Err(error.clone()), "later requests say the same");
        assert_eq!(worker.memory(), Err(error));
    }
}

#[test]
fn a_worker_that_hangs_is_ended_at_the_limit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let impatient = Launcher { run_limit: Duration::from_millis(300), ..launcher() };
    let mut worker = impatient.load(&spec(library(Package::Cpu), Kind::Cpu, &model)).expect("loaded");
    signal(&worker, "STOP");
    let asked = Instant::now();
    // More than the stream holds, so that sending itself has to wait.
    let error = worker.run(&[input(1000)]).expect_err("hung");
    assert!(matches!(&error, ModelError::TimedOut(reason) if reason.contains("0.3 s")), "{error:?}");
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert!(!is_alive(worker.process_id()));
}

#[test]
fn a_worker_that_never_answers_is_ended_at_the_limit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let library = Library { path: PathBuf::from("/nowhere/libonnxruntime.so"), origin: Origin::Flag };
    let sleepy = Launcher { load_limit: Duration::from_millis(300), ..imposter(folder.path(), "exec sleep 600") };
    let error = sleepy.load(&spec(library, Kind::Cpu, Path::new("model.onnx"))).expect_err("hung");
    assert!(matches!(&error, ModelError::TimedOut(_)), "{error:?}");
}

#[test]
fn garbage_instead_of_an_answer_is_an_error_that_shows_it() {
    let error = load_imposter("echo 'Segmentation fault (core dumped)' >&0; sleep 600");
    assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains("instead of a frame")), "{error:?}");
    let error = load_imposter("printf 'RNX\\002' >&0; sleep 600");
    assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains("version 2")), "{error:?}");
    let error =
        load_imposter("printf 'RNX\\001\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377\\377' >&0; sleep 600");
    assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains("impossible size")), "{error:?}");
    let error =
        load_imposter("printf 'RNX\\001\\002\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000{}' >&0; sleep 600");
    assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains("does not parse")), "{error:?}");
}

#[test]
fn a_worker_that_dies_leaves_its_last_words() {
    let error = load_imposter("echo 'first words'; echo 'no space left on the moon' >&2; exit 7");
    let ModelError::Crashed(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("exit code 7") && reason.contains("no space left on the moon"), "{reason}");
    assert!(reason.contains("first words"), "standard output is kept as well: {reason}");
    let error = load_imposter("kill -SEGV $$");
    assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains("SIGSEGV")), "{error:?}");
    let error = load_imposter("exit 0");
    assert!(matches!(&error, ModelError::Crashed(reason) if reason.contains("exit code 0")), "{error:?}");
}

#[test]
fn only_the_end_of_what_a_worker_prints_is_kept() {
    let error = load_imposter("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; exit 1");
    let ModelError::Crashed(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("line 4999") && !reason.contains("line 100\n"), "{}", reason.len());
    assert!(reason.len() < 5000, "{}", reason.len());
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let library = Library { path: PathBuf::from("/nowhere/libonnxruntime.so"), origin: Origin::Flag };
    let absent = Launcher { program: PathBuf::from("/nowhere/resnext-run"), ..launcher() };
    let error = absent.load(&spec(library, Kind::Cpu, Path::new("model.onnx"))).expect_err("nothing to start");
    assert!(matches!(&error, ModelError::Unavailable(reason) if reason.contains("/nowhere/resnext-run")), "{error:?}");
}

#[test]
fn a_worker_leaves_with_its_parent() {
    let (_folder, worker) = loaded();
    let process = worker.process_id();
    drop(worker);
    assert!(!is_alive(process));
}

#[test]
fn providers_that_the_library_does_not_have_are_unavailable() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    for kind in [Kind::OpenVino, Kind::Cuda, Kind::TensorRt] {
        let error = launcher().load(&spec(library(Package::Cpu), kind, &model)).expect_err("not there");
        let named = |reason: &str| reason.contains(kind.name());
        assert!(matches!(&error, ModelError::Unavailable(reason) if named(reason)), "{kind}: {error:?}");
    }
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn openvino_runs_every_node_and_agrees_with_the_cpu() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let library = library(Package::OpenVino);
    let mut cpu = launcher().load(&spec(library.clone(), Kind::Cpu, &model)).expect("loaded");
    let mut openvino = launcher().load(&spec(library, Kind::OpenVino, &model)).expect("loaded");
    assert_eq!(cpu.loaded().placement.keys().collect::<Vec<_>>(), ["CPUExecutionProvider"]);
    assert_eq!(openvino.loaded().placement.keys().collect::<Vec<_>>(), ["OpenVINOExecutionProvider"]);
    assert_eq!(cpu.loaded().library_version, openvino.loaded().library_version);
    let (ours, theirs) = (cpu.run(&[input(2)]).expect("ran"), openvino.run(&[input(2)]).expect("ran"));
    for (cpu, openvino) in floats(&ours[0]).iter().zip(floats(&theirs[0])) {
        assert!((cpu - openvino).abs() < 1e-5, "{cpu} {openvino}");
    }
    for scope in [Scope::EndToEnd, Scope::Device] {
        let times = openvino.time(&[input(2)], Block { scope, max_runs: 3, max_seconds: 60.0 }).expect("timed");
        assert_eq!(times.len(), 3);
    }
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_precision_that_openvino_does_not_have_is_an_error_of_that_worker() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let mut asked = spec(library(Package::OpenVino), Kind::OpenVino, &model);
    let Provider::OpenVino(_) = &asked.provider else { panic!("openvino") };
    asked.provider.set("load_config", r#"{"CPU":{"INFERENCE_PRECISION_HINT":"f64"}}"#).expect("JSON");
    let error = launcher().load(&asked).expect_err("no such precision");
    let gave_no_result = matches!(error, ModelError::Failed(_) | ModelError::Unavailable(_) | ModelError::Crashed(_));
    assert!(gave_no_result, "{error:?}");
    assert!(error.to_string().contains("f64"), "{error}");
}

#[test]
fn device_runs_give_the_same_as_plain_runs() {
    // Recording is CUDA's; asking for it elsewhere exercises the same fixed addresses, here in host memory.
    let (_folder, mut worker) = loaded();
    let plain = worker.run(&[input(2)]).expect("ran");
    let block = Block { scope: Scope::Device, max_runs: 2, max_seconds: 60.0 };
    worker.time(&[input(2)], block).expect("timed");
    worker.time(&[input(1)], block).expect("timed, another shape");
    assert_eq!(worker.run(&[input(2)]).expect("ran"), plain);
}

#[test]
fn a_block_may_take_longer_than_the_limit_for_one_run() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let limited = Launcher { run_limit: Duration::from_millis(500), ..launcher() };
    let mut worker = limited.load(&spec(library(Package::Cpu), Kind::Cpu, &model)).expect("loaded");
    let block = Block { scope: Scope::EndToEnd, max_runs: usize::MAX, max_seconds: 5.0 };
    let times = worker.time(&[input(1)], block).expect("timed");
    let all: f64 = times.iter().sum();
    assert!(all > 4.0 && times.len() > 1, "{} runs in {all} s", times.len());
    worker.run(&[input(1)]).expect("and answers on");
}

#[test]
fn a_worker_that_runs_out_of_memory_is_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let script = format!("ulimit -v 600000; exec {} \"$@\"", runner::program().display());
    let tight = imposter(folder.path(), &script);
    let mut worker = tight.load(&spec(library(Package::Cpu), Kind::Cpu, &model)).expect("loaded");
    worker.run(&[input(1)]).expect("one image fits");
    let error = worker.run(&[input(20_000)]).map(|outputs| outputs.len()).expect_err("twenty thousand do not");
    assert!(matches!(error, ModelError::Crashed(_) | ModelError::OutOfMemory(_)), "{error:?}");
}
