//! Which stacks take a file: exit codes, words, JSON, and files of others.

use crate::common::models::{build, export};
use crate::common::program::{fail, run, succeed, text};
use serde_json::Value;

#[test]
fn a_stack_that_must_take_a_file_and_does_not_is_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "m.onnx", &[]);
    let said = text(&succeed(folder.path(), &["check", "m.onnx", "--for", "onnxruntime,openvino,tract,rten"]));
    assert!(said.contains("4 of 4 take it") && said.contains("tried 2026-"), "{said}");
    let output = run(folder.path(), &["check", "m.onnx", "--for", "openvino,optimum", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["kind"], &found["taken"]), (&"check".into(), &false.into()));
    assert_eq!(found["stacks"][0]["takes"], true);
    assert_eq!(found["stacks"][1]["objections"][0]["code"], "input-name");
    assert!(found["stacks"][1]["objections"][0]["fix"].as_str().unwrap().contains("--input-name pixel_values"));
    build(folder.path(), "hf.onnx", &["--input-name", "pixel_values"]);
    succeed(folder.path(), &["check", "hf.onnx", "--for", "optimum,transformers.js"]);
    build(folder.path(), "h.onnx", &["--dtype", "f16"]);
    let output = run(folder.path(), &["check", "h.onnx", "--for", "tract"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("'fc' is a Gemm in f16; keep it in f32: --keep-f32 fc"),
        "{}",
        text(&output.stdout)
    );
    build(folder.path(), "kept.onnx", &["--dtype", "f16", "--keep-f32", "fc"]);
    succeed(folder.path(), &["check", "kept.onnx", "--for", "tract"]);
}

#[test]
fn files_of_others_are_checked_and_what_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = export("resnext_torchscript.onnx").display().to_string();
    let said = text(&succeed(folder.path(), &["check", &path]));
    assert!(said.contains("yes  onnxruntime") && said.contains("no   candle"), "{said}");
    std::fs::write(folder.path().join("x.onnx"), "no model").unwrap();
    fail(folder.path(), &["check", "x.onnx"], 3, &["x.onnx"]);
    fail(folder.path(), &["check", "absent.onnx"], 3, &["absent.onnx"]);
    fail(folder.path(), &["check", &path, "--for", "openvin"], 2, &["did you mean 'openvino'"]);
}
