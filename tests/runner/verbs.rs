//! The verbs as a user meets them: verdicts, exit codes, and what is left when something goes wrong.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::runner::{self, library, model, node, program, small_network, stderr, stdout, value_info, write};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::variant::Variant;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

/// A network of the family with random weights.
fn network(folder: &Path, variant: &str, seed: u64) -> PathBuf {
    let path = folder.join(format!("{variant}-{seed}.onnx"));
    let variant = Variant::parse(variant).expect("a variant");
    let plan = Plan::new(Some(variant), Weights::Random { seed }, Destination::File(path.clone()));
    build(&plan, &mut |_| {}).expect("built");
    path
}

/// The program on the library of a package set.
fn on(package: Package, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).arg("--ort-lib").arg(library(package).path);
    command
}

fn finish(mut command: Command) -> (Option<i32>, Output) {
    let output = command.output().expect("the program starts");
    (output.status.code(), output)
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(output), stderr(output)))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Compares; returns the exit code and the result.
fn compared(package: Package, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, output) = finish(on(package, &[&["compare", "--json"], arguments].concat()));
    (code, parsed(&output))
}

#[test]
fn two_seeds_of_one_network_do_not_agree() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (first, second) = (network(folder.path(), "50_32x4d", 1), network(folder.path(), "50_32x4d", 2));
    let (code, result) = compared(Package::Cpu, &[text(&first), text(&second), "-b", "1"]);
    assert_eq!(code, Some(1), "{result}");
    assert_eq!(result["rows"][0]["status"], "reference");
    assert_eq!(result["rows"][1]["status"], "differs");
}

#[test]
fn cpu_and_openvino_agree_on_the_family_and_every_node_is_where_it_was_asked_to_be() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for variant in ["50_32x4d", "101_64x4d"] {
        let model = network(folder.path(), variant, 0);
        let (code, result) = compared(Package::OpenVino, &[text(&model), "--ep", "cpu,openvino", "-b", "1"]);
        assert_eq!(code, Some(0), "{result}");
        for (row, provider) in [(0, "CPUExecutionProvider"), (1, "OpenVINOExecutionProvider")] {
            let loaded = &result["rows"][row]["loaded"];
            let placement = loaded["placement"].as_object().expect("a placement");
            assert_eq!(placement.keys().collect::<Vec<_>>(), [provider], "{variant}");
            assert!(loaded["library_version"].as_str().is_some_and(|version| version.starts_with("1.")));
        }
        assert_eq!(result["rows"][1]["status"], "agrees", "{result}");
        fs::remove_file(model).expect("removed");
    }
}

#[test]
fn the_first_block_that_differs_is_found_and_none_where_none_does() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (first, second) = (network(folder.path(), "resnet18", 1), network(folder.path(), "resnet18", 2));
    let (code, result) = compared(Package::Cpu, &[text(&first), text(&second), "-b", "1", "--layers"]);
    assert_eq!(code, Some(1), "{result}");
    assert!(result["layers"]["first_diverging"].is_string(), "{}", result["layers"]);
    let same = [text(&first), "--ep", "cpu,openvino", "-b", "1", "--layers"];
    let (code, result) = compared(Package::OpenVino, &same);
    assert_eq!(code, Some(0), "{result}");
    assert!(result["layers"]["first_diverging"].is_null(), "{}", result["layers"]);
    assert!(result["layers"]["boundaries"].as_u64() >= Some(8), "{}", result["layers"]);
}

#[test]
fn a_search_for_layers_that_fails_keeps_the_comparison_and_its_verdict() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let first = write(folder.path(), "first.onnx", &small_network());
    let nodes = vec![
        node("GlobalAveragePool", &["input"], "q", vec![]),
        node("Flatten", &["q"], "g", vec![]),
        node("MatMul", &["g", "w"], "logits", vec![]),
    ];
    let ends = (value_info("input", &[-1, 3, 32, 32]), value_info("logits", &[-1, 10]));
    let other = model(nodes, vec![runner::weight("w", &[3, 10])], ends.0, ends.1);
    let second = write(folder.path(), "second.onnx", &other);
    let exported = folder.path().join("compare.json");
    let arguments = ["compare", text(&first), text(&second), "--layers", "--export-json", text(&exported)];
    let (code, output) = finish(on(Package::Cpu, &arguments));
    assert_eq!(code, Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("share no block boundaries"), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&fs::read(exported).expect("exported")).expect("JSON");
    assert_eq!(result["rows"][1]["status"], "differs", "{result}");
    assert!(result["notes"].to_string().contains("share no block boundaries"), "{result}");
    let (code, output) = finish(on(Package::Cpu, &["compare", text(&first), "--layers"]));
    assert_eq!(code, Some(2), "{}", stderr(&output));
}

#[test]
fn images_are_classified_and_a_bad_one_is_reported_in_its_place() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = network(folder.path(), "resnet18", 0);
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/images/source");
    let (good, cut) = (format!("{images}/alpha.png"), format!("{images}/cut.jpg"));
    let (code, output) = finish(on(Package::Cpu, &["infer", text(&model), &good, "--top-k", "3", "--json"]));
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let result = parsed(&output);
    assert_eq!(result["images"][0]["top"].as_array().map(Vec::len), Some(3));
    assert!(result["notes"].to_string().contains("random"), "{}", result["notes"]);
    let (code, output) = finish(on(Package::Cpu, &["infer", text(&model), &cut, &good, "--json"]));
    assert_eq!(code, Some(3), "{}", stderr(&output));
    let result = parsed(&output);
    assert!(result["images"][0]["error"]["code"] == "truncated" && result["images"][1]["error"].is_null(), "{result}");
    let (code, output) = finish(on(Package::Cpu, &["infer", text(&model), &good, "--ep", "cpu,openvino"]));
    assert_eq!(code, Some(2), "{}", stderr(&output));
}

#[test]
fn a_provider_without_a_result_is_a_row_and_the_others_finish() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let precision = r#"openvino.load_config={"CPU":{"INFERENCE_PRECISION_HINT":"f64"}}"#;
    let arguments = [text(&model), "--ep", "openvino,cpu", "--ep-option", precision];
    let (code, result) = compared(Package::OpenVino, &arguments);
    assert_eq!(code, Some(4), "{result}");
    assert_eq!(result["rows"][0]["status"], "no-result");
    assert_eq!(result["rows"][1]["status"], "reference");
    assert!(result["rows"][1]["loaded"]["placement"]["CPUExecutionProvider"].as_u64() > Some(0));
}

/// Packages like those that `setup` installs, whose OpenVINO plugin does this when it is loaded.
fn with_plugin(folder: &Path, statement: &str) -> PathBuf {
    let capi = folder.join("onnxruntime/capi");
    let plugin = folder.join("onnxruntime_ep_openvino");
    fs::create_dir_all(&capi).and_then(|()| fs::create_dir_all(&plugin)).expect("created");
    let real = library(Package::Cpu).path;
    let _ = std::os::unix::fs::symlink(&real, capi.join(real.file_name().expect("a name")));
    let source = format!(
        "extern \"C\" fn start() {{ {statement} }}
        #[used] #[unsafe(link_section = \".init_array\")] static START: extern \"C\" fn() = start;"
    );
    let code = runner::write(&plugin, "plugin.rs", source.as_bytes());
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-o"]);
    rustc.arg(plugin.join("libonnxruntime_providers_openvino_plugin.so")).arg(code);
    assert!(rustc.status().expect("rustc runs").success());
    folder.to_path_buf()
}

#[test]
fn a_provider_that_kills_its_process_is_a_row_that_says_how() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    for (statement, signal) in [
        ("unsafe { std::ptr::null_mut::<u32>().write_volatile(1) }", "SIGSEGV"),
        ("eprintln!(\"plugin: giving up\"); std::process::abort()", "SIGABRT"),
        #[cfg(target_arch = "x86_64")]
        ("unsafe { std::arch::asm!(\"ud2\") }", "SIGILL"),
    ] {
        let packages = with_plugin(folder.path(), statement);
        let mut command = Command::new(program());
        command.args(["compare", "--json", text(&model), "--ep", "openvino,cpu", "--ort-lib", text(&packages)]);
        let (code, output) = finish(command);
        assert_eq!(code, Some(4), "{}", stderr(&output));
        let rows = &parsed(&output)["rows"];
        let error = rows[0]["error"]["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(rows[0]["error"]["kind"], "crashed", "{rows}");
        assert!(error.contains(signal), "{error}");
        assert!(signal != "SIGABRT" || error.contains("plugin: giving up"), "{error}");
        assert_eq!(rows[1]["status"], "reference", "{rows}");
    }
}

#[test]
fn a_provider_that_hangs_is_a_row_that_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let packages = with_plugin(folder.path(), "loop { std::thread::sleep(std::time::Duration::from_secs(1)) }");
    let mut command = Command::new(program());
    command.args([
        "compare",
        "--json",
        text(&model),
        "--ep",
        "openvino,cpu",
        "--timeout",
        "5",
        "--ort-lib",
        text(&packages),
    ]);
    let (code, output) = finish(command);
    assert_eq!(code, Some(4), "{}", stderr(&output));
    let rows = &parsed(&output)["rows"];
    assert_eq!((&rows[0]["error"]["kind"], &rows[1]["status"]), (&"timed-out".into(), &"reference".into()), "{rows}");
}

#[test]
fn nodes_that_fall_back_are_refused_unless_allowed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let nodes = vec![node("Relu", &["input"], "positive", vec![]), node("Det", &["positive"], "logits", vec![])];
    let bytes = model(nodes, vec![], value_info("input", &[-1, 3, 32, 32]), value_info("logits", &[-1, 3]));
    let path = write(folder.path(), "det.onnx", &bytes);
    let (code, result) = compared(Package::OpenVino, &[text(&path), "--ep", "cpu,openvino"]);
    assert_eq!(code, Some(5), "{result}");
    assert_eq!(result["rows"][1]["error"]["kind"], "fallback");
    let (code, result) = compared(Package::OpenVino, &[text(&path), "--ep", "cpu,openvino", "--allow-fallback"]);
    assert_eq!(code, Some(0), "{result}");
    assert!(result["rows"][1]["loaded"]["placement"]["CPUExecutionProvider"].as_u64() > Some(0), "{result}");
}

#[test]
fn outputs_kept_once_are_a_reference_later() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (inputs, outputs) = (file("inputs.npz"), file("outputs.npz"));
    let keep = [text(&model), "--seed", "7", "--save-inputs", &inputs, "--save-outputs", &outputs];
    assert_eq!(compared(Package::Cpu, &keep).0, Some(0));
    let again = [text(&model), "--load-inputs", &inputs, "--reference", &outputs, "--atol", "0", "--rtol", "0"];
    let (code, result) = compared(Package::Cpu, &again);
    assert_eq!(code, Some(0), "{result}");
    assert_eq!(result["rows"][0]["status"], "agrees");
    let other = [text(&model), "--seed", "8", "--reference", &outputs];
    assert_eq!(compared(Package::Cpu, &other).0, Some(1));
}

#[test]
fn wrong_usage_bad_files_and_missing_libraries_have_their_exit_codes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let broken = write(folder.path(), "broken.onnx", b"this is no model");
    let table = model_of_a_table(folder.path());
    let model = text(&model);
    for (arguments, expected) in [
        (vec!["compare"], 2),
        (vec!["compare", model, "--ep", "metal"], 2),
        (vec!["compare", model, "--ep-option", "cuda.use_tf32=1"], 2),
        (vec!["compare", model, "--session-config", "nonsense"], 2),
        (vec!["compare", model, "--intra-op-threads", "0"], 2),
        (vec!["bench", model, "-b", "0"], 2),
        (vec!["bench", model, "--percentile", "100"], 2),
        (vec!["compare", text(&broken)], 3),
        (vec!["compare", "/nowhere/model.onnx"], 3),
        (vec!["compare", text(&table)], 0),
        (vec!["compare", model, "--load-inputs", "/nowhere/inputs.npz"], 3),
        (vec!["infer", model, "/nowhere/image.png"], 3),
        (vec!["compare", model, "--ep", "cuda"], 4),
        (vec!["compare", model, "--save-outputs", "/dev/null/outputs.npz"], 6),
    ] {
        let (code, output) = finish(on(Package::Cpu, &arguments));
        assert_eq!(code, Some(expected), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    }
    let mut command = Command::new(program());
    command.args(["compare", model, "--ort-lib", "/nowhere"]);
    assert_eq!(finish(command).0, Some(4));
}

fn model_of_a_table(folder: &Path) -> PathBuf {
    let nodes = vec![node("Relu", &["input"], "output", vec![])];
    let bytes = model(nodes, vec![], value_info("input", &[-1, 8]), value_info("output", &[-1, 8]));
    write(folder, "table.onnx", &bytes)
}

#[test]
fn a_full_disk_is_an_output_error_and_standard_output_has_everything() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let quick = ["bench", text(&model), "--iterations", "3", "--warmup", "1"];
    for flag in ["--export-json", "--export-csv", "--export-markdown"] {
        let (code, output) = finish(on(Package::Cpu, &[&quick[..], &[flag, "/dev/full"]].concat()));
        assert_eq!(code, Some(6), "{}", stderr(&output));
        assert!(stderr(&output).contains("cannot write /dev/full"), "{}", stderr(&output));
    }
    let mut command = on(Package::Cpu, &quick);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk"));
    assert_eq!(finish(command).0, Some(6));
}

#[test]
fn a_benchmark_holds_its_raw_samples_and_where_they_ran() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let arguments =
        ["bench", text(&model), "-b", "1,3", "--scope", "end-to-end,device", "--iterations", "12", "--json"];
    let (code, output) = finish(on(Package::Cpu, &arguments));
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let result = parsed(&output);
    let rows = result["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let samples: usize = row["blocks"]
            .as_array()
            .expect("blocks")
            .iter()
            .map(|block| block["samples_ms"].as_array().map_or(0, Vec::len))
            .sum();
        assert!(samples >= 12, "{row}");
    }
    let process = &result["candidates"][0]["processes"][0];
    assert!(process["loaded"]["placement"]["CPUExecutionProvider"].as_u64() > Some(0), "{process}");
    assert!(process["peak_resident_bytes"].as_u64() > Some(10 << 20), "{process}");
}

#[test]
fn an_interrupt_ends_a_benchmark_and_keeps_what_was_measured() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "model.onnx", &small_network());
    let mut command = on(Package::Cpu, &["bench", text(&model), "--warmup", "1", "--duration", "600", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_secs(3));
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let result = parsed(&output);
    assert_eq!(result["interrupted"], true);
    assert!(result["rows"][0]["blocks"].as_array().is_some_and(|blocks| !blocks.is_empty()), "{result}");
}

#[test]
fn the_first_command_of_all_goes_the_whole_way() {
    library(Package::OpenVino);
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = Command::new(program());
    command.args(["quickstart", "--dir", text(folder.path())]).env("RESNEXT_ORT_DIR", runner::root());
    command.env_remove("ORT_DYLIB_PATH");
    let (code, output) = finish(command);
    assert_eq!(code, Some(0), "{}{}", stdout(&output), stderr(&output));
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(folder.path().join(name)).expect("written")).expect("JSON")
    };
    let (compared, measured) = (read("compare.json"), read("bench.json"));
    assert_eq!(compared["rows"].as_array().map(Vec::len), Some(2), "cpu and openvino");
    assert_eq!(compared["rows"][1]["status"], "agrees", "{compared}");
    assert!(measured["rows"].as_array().is_some_and(|rows| rows.iter().all(|row| row["latency_ms"].is_object())));
    assert!(folder.path().join("model.onnx").is_file());
    let images = read("images.json");
    let images = images["images"].as_array().expect("classified");
    let right = images.iter().filter(|image| {
        let folder = Path::new(image["path"].as_str().expect("a path")).parent().and_then(Path::file_name);
        folder.expect("a class") == image["top"][0]["label"].as_str().expect("a label")
    });
    // The very images that torch gets right, 15 of 16.
    assert_eq!((right.count(), images.len()), (15, 16));
    assert!(stdout(&output).contains("15 of 16 images"), "{}", stdout(&output));
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = runner::run(&["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("quickstart"), "{shell}");
        let script = stdout(&output);
        let mut words = script.split(|c: char| !c.is_alphanumeric());
        assert!(words.all(|word| word != "worker"), "{shell}: the worker is nobody's verb");
    }
}
