//! Names, layout and type of inputs and outputs, of new models and of those of others; the name of the data file.

use std::path::Path;

use crate::common::models::{SMALL, build, export, metadata, read};
use crate::common::program::{fail, names, run, succeed, text};
use onnx_file::port::Port;
use onnx_file::proto::ModelProto;

/// Inputs and outputs of a model.
fn ports(model: &ModelProto) -> [Vec<String>; 2] {
    let graph = model.graph.as_ref().expect("a graph");
    let inputs = Port::inputs(graph).iter().map(Port::to_string).collect();
    [inputs, graph.output.iter().map(|output| Port::of(output).to_string()).collect()]
}

#[test]
fn building_and_optimizing_give_a_model_the_same_ends_and_its_weights_stay() {
    let folder = tempfile::tempdir().unwrap();
    let plain = build(folder.path(), "plain.onnx", &[]);
    let ends = ["--input-name", "pixel_values", "--output-names", "scores", "--input-type", "u8", "--softmax"];
    let built = build(folder.path(), "built.onnx", &ends);
    assert_eq!(ports(&built), [["pixel_values u8 [?, 64, 64, 3]"], ["scores f32 [?, 5]"]]);
    succeed(folder.path(), &[&["optimize", "plain.onnx", "-o", "optimized.onnx"], &ends[..]].concat());
    let optimized = read(&folder.path().join("optimized.onnx"));
    assert_eq!(ports(&optimized), ports(&built));
    let [of_built, of_optimized, of_plain] = [&built, &optimized, &plain].map(|model| model.graph.as_ref().unwrap());
    assert_eq!(of_built.node, of_optimized.node);
    let count = of_plain.initializer.len();
    assert_eq!(of_built.initializer[..count], of_plain.initializer[..]);
    assert_eq!(of_built.initializer.len(), count + 3);
    assert_eq!(metadata(&built, "resnext.preprocess"), metadata(&plain, "resnext.preprocess"));
}

#[test]
fn models_of_others_take_pixels_once_somebody_says_how_they_are_normalised() {
    let folder = tempfile::tempdir().unwrap();
    let path = export("resnext_torchscript.onnx").display().to_string();
    let args = ["optimize", &path, "-o", "o.onnx", "--input-type", "u8", "--json"];
    fail(folder.path(), &args, 2, &["nothing says which", "--preprocess"]);
    let done = succeed(folder.path(), &[&args[..], &["--preprocess", "v1"]].concat());
    let done: serde_json::Value = serde_json::from_slice(&done).unwrap();
    assert_eq!(
        (done["ends"][0]["end"].as_str(), done["ends"][0]["to"]["element_type"].as_str()),
        (Some("input"), Some("u8"))
    );
    let again = ["optimize", "o.onnx", "-o", "again.onnx", "--input-type", "u8"];
    fail(folder.path(), &again, 2, &["takes pixels as they are already"]);
}

#[test]
fn a_model_with_ends_is_verified_and_its_architecture_told() {
    let folder = tempfile::tempdir().unwrap();
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/resnext_zip.pth");
    let weights = weights.display().to_string();
    let args = ["--weights", &weights, "--verify", "--image-size", "64", "-o", "m.onnx"];
    for ends in
        [&["--input-type", "u8", "--softmax"][..], &["--layout", "nhwc"], &["--input-type", "u8", "--dtype", "f16"]]
    {
        let output = run(folder.path(), &[&args[..], &["--force"], ends].concat());
        assert_eq!(output.status.code(), Some(0), "{ends:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("verified"), "{}", text(&output.stderr));
        let told = text(&succeed(folder.path(), &["inspect", "m.onnx"]));
        assert!(!told.contains("unknown"), "{told}");
    }
}

#[test]
fn a_data_file_has_the_name_asked_for_and_never_replaces_another_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let args = [&SMALL[..], &["-q", "-o", "m.onnx", "--external-data", "always", "--external-data-name"]].concat();
    let with = |name: &'static str, more: &[&'static str]| [&args[..], &[name], more].concat();
    for bad in ["a/b", "..", "", "../x", "m.onnx"] {
        fail(folder.path(), &with(bad, &[]), 2, &["--external-data-name"]);
    }
    std::fs::write(folder.path().join("model.onnx_data"), "of somebody").unwrap();
    fail(folder.path(), &with("model.onnx_data", &[]), 2, &["model.onnx_data exists", "--force"]);
    succeed(folder.path(), &with("model.onnx_data", &["--force"]));
    assert_eq!(names(folder.path()), ["m.onnx", "model.onnx_data"]);
    let model = read(&folder.path().join("m.onnx"));
    let plain = build(folder.path(), "plain.onnx", &[]);
    let bytes = |model: &ModelProto| -> Vec<_> {
        let tensors = &model.graph.as_ref().unwrap().initializer;
        tensors.iter().map(|tensor| tensor.raw_data.clone()).collect()
    };
    assert!(bytes(&model) == bytes(&plain));
    let without = [&SMALL[..], &["-o", "n.onnx", "--external-data-name", "n_data"]].concat();
    fail(folder.path(), &without, 2, &["--external-data always"]);
    let itself = [
        "optimize",
        "m.onnx",
        "-o",
        "o.onnx",
        "--external-data",
        "always",
        "--external-data-name",
        "model.onnx_data",
        "--force",
    ];
    fail(folder.path(), &itself, 2, &["the input's data file"]);
}
