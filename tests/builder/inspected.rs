//! `inspect` knows models by their graphs: ours in every form, and other exporters'.

use std::path::Path;

use serde_json::Value;

use crate::common::models::{SMALL, export};
use crate::common::program::{succeed, text};

fn inspected(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&succeed(folder, &["inspect", file, "--json"])).expect("JSON")
}

#[test]
fn a_model_of_every_form_is_the_network_it_was_built_from() {
    let folder = tempfile::tempdir().expect("a folder");
    for (more, form) in [
        (&[][..], None),
        (&["--group-width", "16"], Some("widened: 8, 16, 32, 32 groups")),
        (&["--subsample"], Some("pixels of strided 1x1")),
        (&["--target", "cpu-avx512"], Some("widened: 8, 16, 32, 32 groups")),
        (&["--block-form", "concat"], Some("branches, concatenated")),
        (&["--block-form", "branches"], Some("whole branches, summed")),
        (&["--dtype", "f16"], None),
        (&["--dtype", "f16", "--keep-io-types"], None),
        (&["--no-fold-bn"], None),
        (&["--outputs", "logits,c2,c5"], None),
        (&["--stride-in", "1x1"], None),
        (&["--external-data", "always"], None),
    ] {
        succeed(folder.path(), &[&SMALL[..], &["-q", "--force", "-o", "m.onnx"], more].concat());
        let found = inspected(folder.path(), "m.onnx");
        let inferred = &found["architecture"]["inferred"];
        assert_eq!(inferred["variant"], "32x4d blocks 1,1,1,1 planes 64", "{more:?}: {}", found["architecture"]);
        assert_eq!(inferred["classes"], 5, "{more:?}");
        assert_eq!(inferred["image_size"], serde_json::json!([64, 64]), "{more:?}");
        assert_eq!(inferred["parameters"], 7_373_125, "{more:?}");
        let forms = inferred["form"].to_string();
        assert!(form.map_or(forms == "[]", |form| forms.contains(form)), "{more:?}: {forms}");
    }
}

#[test]
fn costs_are_those_of_the_models_own_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let cost = |size: &str| {
        let args = ["--variant", "resnet18", "--image-size", size, "-q", "--force", "-o", "m.onnx"];
        succeed(folder.path(), &args);
        inspected(folder.path(), "m.onnx")["architecture"]["inferred"]["multiply_adds"].as_u64().expect("a number")
    };
    let [usual, double] = [cost("224"), cost("448")];
    assert!((1.8e9..1.83e9).contains(&(usual as f64)), "{usual}");
    assert!((3.9..4.1).contains(&(double as f64 / usual as f64)), "{double}");
}

#[test]
fn other_exporters_models_are_known_by_their_graphs() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, variant) in [
        ("resnext_torchscript.onnx", "4x2d blocks 1,2,1,1 planes 2"),
        ("resnext_dynamo.onnx", "4x2d blocks 1,2,1,1 planes 2"),
        ("resnext_unfolded.onnx", "4x2d blocks 1,2,1,1 planes 2"),
        ("resnet_torchscript.onnx", "1x4d blocks 1,1 planes 4"),
        ("forms/dynamo_plain.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/dynamo_fixed.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/script_view.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/frozen.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/matmul.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/half_weights.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/quantized.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/transposed.onnx", "4x2d blocks 1,1,1,1 planes 2"),
        ("forms/ir3.onnx", "4x2d blocks 1,1,1,1 planes 2"),
    ] {
        let found = inspected(folder.path(), export(name).to_str().expect("a path"));
        assert_eq!(found["architecture"]["inferred"]["variant"], variant, "{name}: {}", found["architecture"]);
    }
    let found = inspected(folder.path(), export("regnet_torchscript.onnx").to_str().expect("a path"));
    assert!(found["architecture"]["unknown"].to_string().contains("its stem is a 3x3"), "{}", found["architecture"]);
}

#[test]
fn tensors_are_listed_where_they_are_asked_for_with_typed_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    succeed(folder.path(), &[&SMALL[..], &["-q", "-o", "m.onnx"]].concat());
    let found = succeed(folder.path(), &["inspect", "m.onnx", "--json", "--tensors"]);
    let found: Value = serde_json::from_slice(&found).expect("JSON");
    let tensors = found["tensor_list"].as_array().expect("a list");
    assert_eq!(Some(tensors.len() as u64), found["tensors"].as_u64());
    let fc = tensors.iter().find(|tensor| tensor["name"] == "fc.weight").expect("the classifier");
    assert_eq!((&fc["element_type"], &fc["shape"]), (&"f32".into(), &serde_json::json!([5, 2048])));
    assert_eq!(found["inputs"][0]["shape"], serde_json::json!(["batch", 3, 64, 64]));
    assert!(inspected(folder.path(), "m.onnx").get("tensor_list").is_none());
    let listed = text(&succeed(folder.path(), &["inspect", "m.onnx", "--tensors"]));
    assert!(listed.contains("f32    [5, 2048]            fc.weight"), "{listed}");
}
