//! `resnext-build optimize` on what a file tells of itself, and between pipes.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::common::models::{export, meaning, metadata, read};
use crate::common::program::{fail, names, program, succeed, text};

fn exported() -> String {
    export("resnext_torchscript.onnx").display().to_string()
}

/// Writes `count` labels, one a line.
fn labels(folder: &Path, count: usize) {
    let lines: Vec<String> = (0..count).map(|index| format!("class {index}")).collect();
    std::fs::write(folder.join("labels.txt"), lines.join("\n")).unwrap();
}

#[test]
fn labels_and_preprocessing_are_stored_in_anybodys_model() {
    let folder = tempfile::tempdir().unwrap();
    labels(folder.path(), 5);
    let args = ["optimize", &exported(), "-o", "o.onnx", "--labels", "labels.txt", "--preprocess", "v2"];
    let output = program().current_dir(folder.path()).args(args).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("stored: 5 labels"), "{said}");
    let model = read(&folder.path().join("o.onnx"));
    let stored: Vec<String> = serde_json::from_str(metadata(&model, "resnext.labels").unwrap()).unwrap();
    assert_eq!((stored.len(), stored[4].as_str()), (5, "class 4"));
    let preprocess: serde_json::Value = serde_json::from_str(metadata(&model, "resnext.preprocess").unwrap()).unwrap();
    assert_eq!(preprocess["crop"], 64, "that of the model's input: {preprocess}");
    // Given anew they replace what is there, and left out they stay.
    labels(folder.path(), 5);
    succeed(folder.path(), &["optimize", "o.onnx", "-o", "p.onnx", "--preprocess", "v1", "-q"]);
    let again = read(&folder.path().join("p.onnx"));
    assert_eq!(metadata(&again, "resnext.labels"), metadata(&model, "resnext.labels"));
    assert_ne!(metadata(&again, "resnext.preprocess"), metadata(&model, "resnext.preprocess"));
}

#[test]
fn what_does_not_go_with_the_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    labels(folder.path(), 6);
    let exported = exported();
    let args = ["optimize", &exported, "-o", "o.onnx"];
    fail(
        folder.path(),
        &[&args[..], &["--labels", "labels.txt"]].concat(),
        2,
        &["6 labels do not go with the model's 5 classes"],
    );
    fail(folder.path(), &[&args[..], &["--labels", "imagenet"]].concat(), 2, &["1000 labels"]);
    let other = r#"{"resize":256,"crop":224,"interpolation":"bilinear","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}"#;
    std::fs::write(folder.path().join("p.json"), other).unwrap();
    fail(folder.path(), &[&args[..], &["--preprocess", "p.json"]].concat(), 2, &["takes images of 64x64"]);
    fail(
        folder.path(),
        &["optimize", &exported, "-o", "labels.txt", "--force", "--labels", "labels.txt"],
        2,
        &["another file that is read"],
    );
    assert_eq!(names(folder.path()), ["labels.txt", "p.json"]);
}

/// Runs the program with the file at `input` as its standard input.
fn piped(folder: &Path, input: &str, args: &[&str]) -> std::process::Output {
    let mut child = program()
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&std::fs::read(input).unwrap()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn models_come_and_go_through_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let exported = exported();
    succeed(folder.path(), &["optimize", &exported, "-o", "o.onnx", "--group-width", "8", "-q"]);
    let through = piped(folder.path(), &exported, &["optimize", "-", "-o", "-", "--group-width", "8"]);
    let said = text(&through.stderr);
    assert!(through.status.success() && said.contains("standard output: "), "{said}");
    std::fs::write(folder.path().join("p.onnx"), &through.stdout).unwrap();
    let [file, pipe] = ["o.onnx", "p.onnx"].map(|name| read(&folder.path().join(name)));
    assert_eq!(meaning(&file), meaning(&pipe));
    let found = piped(folder.path(), "/dev/null", &["optimize", "-", "-o", "-"]);
    assert_eq!(found.status.code(), Some(3), "{}", text(&found.stderr));
    let inspected = piped(folder.path(), &exported, &["inspect", "-"]);
    let inspected = text(&inspected.stdout);
    assert!(inspected.contains("file          standard input ("), "{inspected}");
    let weights = export("../checkpoints/resnext_zip.pth").display().to_string();
    succeed(folder.path(), &["--weights", &weights, "--image-size", "64", "-q", "-o", "m.onnx"]);
    let model = folder.path().join("m.onnx").display().to_string();
    let verified = piped(folder.path(), &model, &["verify", "-", "--weights", &weights]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains("standard input computes what"), "{}", text(&verified.stdout));
    for more in [&["--json"][..], &["--external-data", "always"]] {
        fail(folder.path(), &[&["optimize", "m.onnx", "-o", "-"], more].concat(), 2, &["write"]);
    }
}
