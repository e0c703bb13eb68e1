//! A model from standard input, in every verb that takes one.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use resnext_runner::backend::onnxruntime::runtime::package::Package;

use crate::common::runner::{library, parsed, program, small_network, stderr, stdout, write};

/// Runs the program with the content of `input` on standard input.
fn piped(folder: &Path, input: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(program());
    command.args(arguments).arg("--ort-lib").arg(library(Package::Cpu).path).current_dir(folder);
    command.env("TMPDIR", folder.join("tmp")).stdin(Stdio::from(File::open(input).expect("there")));
    let output = command.output().expect("the program starts");
    (output.status.code(), output)
}

fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = write(folder.path(), "m.onnx", &small_network());
    std::fs::create_dir(folder.path().join("tmp")).expect("made");
    image::RgbImage::new(32, 32).save(folder.path().join("a.png")).expect("saved");
    (folder, model)
}

#[test]
fn every_verb_reads_a_model_from_standard_input_and_leaves_nothing_of_it() {
    let (folder, model) = folder();
    std::fs::create_dir_all(folder.path().join("set/0")).expect("made");
    std::fs::copy(folder.path().join("a.png"), folder.path().join("set/0/a.png")).expect("copied");
    for arguments in [
        &["infer", "-", "a.png"][..],
        &["bench", "-", "m.onnx", "--iterations", "2", "--warmup", "1", "--processes", "1"],
        &["compare", "-", "m.onnx"],
        &["compare", "-", "m.onnx", "--layers"],
        &["eval", "-", "set"],
        &["calibrate", "-", "--count", "2"],
    ] {
        let (code, output) = piped(folder.path(), &model, &[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {}", stderr(&output));
        assert_eq!(parsed(&output)["schema_version"], 2, "{arguments:?}");
        let (code, output) = piped(folder.path(), &model, arguments);
        let text = stdout(&output) + &stderr(&output);
        assert!(code == Some(0) && !text.contains("resnext-input"), "{arguments:?}: {text}");
        let left = std::fs::read_dir(folder.path().join("tmp")).expect("read").count();
        assert_eq!(left, 0, "{arguments:?}");
    }
    let (_, from_pipe) = piped(folder.path(), &model, &["infer", "-", "a.png", "--json"]);
    let (_, from_file) = piped(folder.path(), &model, &["infer", "m.onnx", "a.png", "--json"]);
    assert_eq!(parsed(&from_pipe)["images"], parsed(&from_file)["images"]);
    assert_eq!(parsed(&from_pipe)["model"], "standard input");
}

#[test]
fn tune_and_quantize_read_it_too() {
    let (folder, model) = folder();
    let short = ["--duration", "1ms", "--processes", "1", "--widths", "8"];
    let (code, output) = piped(folder.path(), &model, &[&["tune", "-", "-o", "t.onnx"][..], &short].concat());
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert!(folder.path().join("t.onnx").exists());
    for name in ["b.png", "c.png"] {
        image::RgbImage::from_pixel(32, 32, image::Rgb([200, 9, 30])).save(folder.path().join(name)).expect("saved");
    }
    let arguments = ["quantize", "-", "--images", "a.png", "b.png", "c.png", "-o", "q.onnx"];
    let (code, output) = piped(folder.path(), &model, &arguments);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("standard input"), "{}", stdout(&output));
}

#[test]
fn what_is_no_model_or_more_than_one_is_refused_by_its_name() {
    let (folder, model) = folder();
    let text = write(folder.path(), "text", b"not a model at all\n");
    let empty = write(folder.path(), "empty", b"");
    for (input, arguments, expected, said) in [
        (&text, &["bench", "-"][..], 3, "standard input"),
        (&empty, &["infer", "-", "a.png"], 3, "standard input"),
        (&model, &["compare", "-", "-"], 2, "'-' stands for one model"),
        (&model, &["infer", "-", "a.png", "--use-output", "none"], 3, "standard input: "),
    ] {
        let (code, output) = piped(folder.path(), input, arguments);
        let text = stderr(&output);
        assert!(code == Some(expected) && text.contains(said), "{arguments:?}: {code:?} {text}");
        assert!(!text.contains("resnext-input"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_terminal_is_no_model() {
    let (folder, _) = folder();
    // The tool of every Linux that gives a program a terminal.
    let line = format!("{} bench -", program().display());
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(folder.path()).output();
    let Ok(output) = output else { return };
    let text = stdout(&output);
    assert!(output.status.code() == Some(3) && text.contains("it is a terminal; pipe a model"), "{text}");
}
