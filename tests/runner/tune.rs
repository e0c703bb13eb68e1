//! `tune` as the program runs it: what it writes is a model that computes the same, and a file that replays it.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::runner::{library, program, run, stderr, stdout};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::optimize::Model;
use resnext_builder::tuning::Tuning;
use resnext_builder::variant::Variant;
use resnext_runner::backend::onnxruntime::runtime::package::Package;

/// A network of two stages, 32 groups of 4 and of 8 channels, the second with a strided 1x1 convolution.
fn network(path: &Path) {
    network_of(path, "50_32x4d", &[1, 1]);
}

fn network_of(path: &Path, variant: &str, blocks: &[usize]) {
    let variant = Variant::parse_with(variant, blocks).unwrap();
    let mut plan = Plan::new(Some(variant), Weights::Random { seed: 0 }, Destination::File(path.to_owned()));
    plan.image = Some([Dim::Fixed(64), Dim::Fixed(64)]);
    plan.classes = Some(10);
    build(&plan, &mut |_| {}).unwrap();
}

fn tune(folder: &Path, more: &[&str]) -> Output {
    let library = library(Package::Cpu).path.display().to_string();
    let path = |name: &str| folder.join(name).display().to_string();
    let (model, output) = (path("m.onnx"), path("tuned.onnx"));
    let base = [
        "tune",
        &model,
        "-o",
        &output,
        "--ort-lib",
        &library,
        "--intra-op-threads",
        "1",
        "--duration",
        "0.05",
        "--processes",
        "3",
    ];
    run(&[&base[..], more].concat())
}

#[test]
fn what_tuning_writes_is_replayed_to_the_same_widths() {
    let folder = tempfile::tempdir().unwrap();
    network(&folder.path().join("m.onnx"));
    let output = tune(folder.path(), &["-b", "1,2", "--widths", "8,16", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let names: Vec<&str> = printed["rounds"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["stage-1", "stage-2", "strided-1x1", "all-together"]);
    for trial in printed["rounds"].as_array().unwrap().iter().flat_map(|round| round["trials"].as_array().unwrap()) {
        assert!(trial["out"].is_null(), "every candidate computes the same: {trial}");
        assert_eq!(trial["rows"].as_array().unwrap().len(), 2, "a row for each batch size");
    }
    let file = folder.path().join("tuned.tuning.json");
    let tuning = Tuning::read(&file).unwrap();
    assert_eq!(serde_json::to_value(&tuning.stages).unwrap(), printed["stages"]);
    assert_eq!((tuning.provider.as_str(), tuning.threads, &tuning.batches[..]), ("cpu", 1, &[1, 2][..]));
    let written = Model::read(&folder.path().join("tuned.onnx")).unwrap().stages();
    for (tuned, stage) in tuning.stages.iter().zip(&written) {
        assert!(stage.inputs >= tuned.width, "{stage:?} {tuned:?}");
        assert_eq!(stage.groups * stage.inputs, stage.channels);
    }
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["m.onnx", "tuned.onnx", "tuned.tuning.json"], "no candidate is left behind");
    let again = tune(folder.path(), &[]);
    assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
}

#[test]
fn an_interrupted_search_ends_with_its_own_exit_code_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    network(&folder.path().join("m.onnx"));
    let mut command = Command::new(program());
    command.args(["tune", &path("m.onnx"), "-o", &path("tuned.onnx"), "--duration", "600"]);
    command.arg("--ort-lib").arg(library(Package::Cpu).path);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let names =
        || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    while names().len() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote a candidate");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing was written") && stdout(&output).is_empty(), "{}", stderr(&output));
    assert_eq!(names(), ["m.onnx"]);
}

#[test]
fn a_model_that_nothing_beats_is_written_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    // Groups as wide as any kernel wants them; merging all four is nothing but four times the arithmetic. One stage alone
    // has no strided 1x1 convolution, which would be faster made dense.
    network_of(&folder.path().join("m.onnx"), "50_4x64d", &[1]);
    let output = tune(folder.path(), &["--widths", "512", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(printed["changed"], false, "{}", printed["rounds"]);
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("m.onnx") == read("tuned.onnx"), "the very bytes");
    let tuning = Tuning::read(&folder.path().join("tuned.tuning.json")).unwrap();
    assert!(tuning.stages.iter().all(|stage| stage.width == 1), "{tuning:?}");
}

#[test]
fn requests_without_an_answer_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    network_of(&folder.path().join("m.onnx"), "50_32x4d", &[1]);
    for (more, message) in [
        (&["--widths", "4"][..], "nothing to tune"),
        (&["--ep", "cpu,cpu", "--widths", "4,2"], "nothing to tune"),
        (&["--widths", "0"], "a number from 1 on"),
    ] {
        let output = tune(folder.path(), more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{more:?}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
