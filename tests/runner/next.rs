//! What a result says to do next: where there is something, what works when it is done, and nowhere else.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};

use crate::common::runner::{run_in, small_network, stderr, stdout, write};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), "m.onnx", &small_network());
    for (name, colour) in [("0/a.png", [250, 9, 9]), ("1/b.png", [9, 250, 9])] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        RgbImage::from_pixel(32, 32, Rgb(colour)).save(path).expect("saved");
    }
    folder
}

/// What stands under `Next`.
fn next(folder: &Path, arguments: &[&str]) -> String {
    let (_, output) = run_in(folder, arguments);
    let text = stdout(&output);
    assert!(!text.is_empty(), "{arguments:?}: {}", stderr(&output));
    text.split_once("\nNext\n").map(|(_, next)| next.to_owned()).unwrap_or_default()
}

#[test]
fn a_comparison_that_differs_leads_to_layers_and_one_that_was_searched_or_agrees_to_nothing() {
    let folder = folder();
    let mut other = small_network();
    // Some number of a weight.
    let at = other.len() / 2;
    other[at] ^= 0x40;
    write(folder.path(), "other.onnx", &other);
    let compared = next(folder.path(), &["compare", "m.onnx", "other.onnx"]);
    assert!(compared.contains("--layers"), "{compared}");
    for arguments in [
        &["compare", "m.onnx", "other.onnx", "--layers"][..],
        &["compare", "m.onnx", "m.onnx"],
        &["compare", "m.onnx", "other.onnx", "-q"],
        &["compare", "m.onnx", "other.onnx", "--json"],
        &["compare", "m.onnx", "other.onnx", "--export-markdown", "-"],
    ] {
        assert_eq!(next(folder.path(), arguments), "", "{arguments:?}");
    }
}

#[test]
fn the_command_that_a_calibration_ends_with_writes_the_int8_model() {
    let folder = folder();
    let said = next(folder.path(), &["calibrate", "m.onnx", "--images", "0", "1", "-o", "my ranges.json"]);
    let command = said.split('`').nth(1).expect("a command");
    assert!(command.starts_with("resnext-build optimize m.onnx --dtype int8 --calibration 'my ranges.json'"), "{said}");
    // The other program lies beside this one where the whole workspace was built.
    let builder = crate::common::runner::program().with_file_name("resnext-build");
    if builder.exists() {
        let line = command.replacen("resnext-build", &format!("'{}'", builder.display()), 1);
        let done = Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().expect("sh starts");
        assert!(done.status.success() && folder.path().join("int8.onnx").exists(), "{}", stderr(&done));
    }
    let noise = next(folder.path(), &["calibrate", "m.onnx", "--count", "2"]);
    assert!(noise.contains("calibrate m.onnx --images DIR") && !noise.contains("--dtype int8"), "{noise}");
}

#[test]
fn unknown_preprocessing_and_doubtful_classes_are_told_with_the_flags_that_decide() {
    let folder = folder();
    let inferred = next(folder.path(), &["infer", "m.onnx", "0/a.png"]);
    assert!(inferred.contains("--preprocess v1, v2"), "{inferred}");
    let told = next(folder.path(), &["infer", "m.onnx", "0/a.png", "--preprocess", "v1"]);
    assert_eq!(told, "");
    let names: Vec<String> = (0..10).map(|class| format!("c{class}")).collect();
    for name in &names {
        let class = folder.path().join("set").join(name);
        std::fs::create_dir_all(&class).expect("made");
        std::fs::copy(folder.path().join("0/a.png"), class.join("a.png")).expect("copied");
    }
    let evaluated = next(folder.path(), &["eval", "m.onnx", "set", "--preprocess", "v1"]);
    assert!(evaluated.contains("--labels FILE"), "one class in ten is right: {evaluated}");
}

#[test]
fn a_provider_that_is_missing_leads_to_doctor() {
    let folder = folder();
    let said = next(folder.path(), &["compare", "m.onnx", "--ep", "cpu,openvino"]);
    assert!(said.contains("resnext-run doctor"), "{said}");
}
