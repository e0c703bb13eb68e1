//! `--dtype f16` as the program runs it: what the file holds, what is refused, and what is said of its safety.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::program::{fail, names, run, succeed, text};
use half::f16;
use onnx_file::element::ElementType;
use onnx_file::proto::{ModelProto, ValueInfoProto, type_proto};
use onnx_file::tensor::{to_f32, to_f64};
use resnext_builder::build::{BuildError, Destination, Plan, Weights};
use resnext_builder::calibration::Calibration;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name).display().to_string()
}

/// Builds the small network in f16; what it says and the model, external data included.
fn build(folder: &Path, more: &[&str]) -> (String, ModelProto) {
    let weights = fixture("resnext_zip.pth");
    let args = [&["--weights", weights.as_str(), "--image-size", "64", "-o", "m.onnx", "--force"], more].concat();
    let output = run(folder, &args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    let path = folder.join("m.onnx");
    let mut model = onnx_file::read::read(&path).unwrap();
    for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        onnx_file::read::load_external(&path, tensor).unwrap();
    }
    (text(&output.stderr), model)
}

fn element(value: &ValueInfoProto) -> ElementType {
    let Some(type_proto::Value::TensorType(tensor)) = &value.r#type.as_ref().unwrap().value else { panic!("a tensor") };
    ElementType::from_proto(tensor.elem_type).unwrap()
}

fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

#[test]
fn every_number_and_value_is_f16_and_each_weight_is_the_nearest_to_its_exact_value() {
    let folder = tempfile::tempdir().unwrap();
    for more in [
        &[][..],
        &["--no-fold-bn"],
        &["--block-form", "branches", "--outputs", "c2,logits,c5"],
        &["--block-form", "concat", "--no-top"],
        &["--target", "cpu-avx512", "--external-data", "always"],
    ] {
        let (_, single) = build(folder.path(), more);
        let (_, model) = build(folder.path(), &[more, &["--dtype", "f16"]].concat());
        let (graph, single) = (model.graph.unwrap(), single.graph.unwrap());
        let values = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
        assert!(values.into_iter().all(|value| element(value) == ElementType::F16), "{more:?}");
        assert_eq!(graph.node, single.node, "{more:?}: names and attributes are those of the f32 file");
        for (tensor, single) in graph.initializer.iter().zip(&single.initializer) {
            assert_eq!((tensor.data_type, &tensor.name), (ElementType::F16.to_proto(), &single.name));
            for (found, single) in to_f32(tensor).unwrap().iter().zip(to_f64(single).unwrap()) {
                // The f32 file is off by at most 2^-24 of the exact value; half a step of f16 is at most 2^-11 of it.
                let step = 2f64.powi(-11) * single.abs() * (1.0 + 2f64.powi(-12)) + 2f64.powi(-25);
                assert!((f64::from(*found) - single).abs() <= step, "{} {single} {found}", tensor.name);
            }
        }
    }
}

#[test]
fn ends_and_nodes_that_are_kept_are_f32_behind_casts() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--dtype", "f16", "--keep-io-types", "--keep-f32", "layer1.0.conv2", "--keep-f32", "fc,fc"];
    let (said, model) = build(folder.path(), &flags);
    assert!(said.contains("f16: kept in f32: layer1.0.conv2, fc\n"), "{said}");
    assert_eq!(metadata(&model, "resnext.keep_f32"), Some(r#"["layer1.0.conv2","fc"]"#));
    let graph = model.graph.as_ref().unwrap();
    assert!(graph.input.iter().chain(&graph.output).all(|value| element(value) == ElementType::F32));
    let casts: BTreeMap<&str, i64> =
        graph.node.iter().filter(|n| n.op_type == "Cast").map(|n| (n.name.as_str(), n.attribute[0].i)).collect();
    let (single, half) = (i64::from(ElementType::F32.to_proto()), i64::from(ElementType::F16.to_proto()));
    let expected =
        [("input.f16", half), ("layer1.0.relu1.f32", single), ("layer1.0.conv2.f16", half), ("flatten.f32", single)];
    assert_eq!(casts, BTreeMap::from(expected));
    let single: Vec<&str> = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.data_type == ElementType::F32.to_proto())
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert_eq!(single, ["layer1.0.conv2.weight", "layer1.0.conv2.bias", "fc.weight", "fc.bias"]);
    let report = text(&succeed(folder.path(), &["inspect", "m.onnx"]));
    for part in ["dtype         f16", "input f32 [batch, 3, 64, 64]", "f16 x32, f32 x4"] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn what_does_not_go_with_f16_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    let half = ["--dtype", "f16"];
    let (mistaken, folded) = (["--keep-f32", "layer1.0.con2"], ["--keep-f32", "layer1.0.bn2"]);
    for (flags, parts) in [
        (&["--dtype", "int4"][..], &["invalid value 'int4'", "f32, f16, int8"][..]),
        (&["--dtype", "int8"], &["resnext-run calibrate", "--calibration"]),
        (&["--weight-range", "full"], &["--dtype int8"]),
        (&["--keep-io-types"], &["--dtype f16"]),
        (&["--keep-f32", "fc"], &["--dtype f16"]),
        (&["--calibration", "none.json"], &["--dtype f16"]),
        (&[&half[..], &mistaken].concat(), &["no node 'layer1.0.con2'", "did you mean 'layer1.0.conv2'"]),
        (&[&half[..], &folded].concat(), &["no node 'layer1.0.bn2'"]),
    ] {
        fail(folder.path(), &[&["--weights", &weights, "-o", "m.onnx"], flags].concat(), 2, parts);
    }
    assert_eq!(names(folder.path()), [""; 0], "nothing is left behind");
}

/// A copy of the small checkpoint in which one number of `fc.weight`, of index 7, is `value`.
fn with_weight(path: &Path, value: f32) {
    let bytes = std::fs::read(fixture("resnext.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut changed = tensors.tensor("fc.weight").unwrap().data().to_vec();
    changed[28..32].copy_from_slice(&value.to_le_bytes());
    let views = tensors.tensors().into_iter().map(|(name, view)| {
        let data = if name == "fc.weight" { &changed[..] } else { view.data() };
        (name, TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap())
    });
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, path).unwrap();
}

#[test]
fn a_weight_beyond_f16_is_refused_by_its_place_and_keeping_its_node_fixes_it() {
    let folder = tempfile::tempdir().unwrap();
    with_weight(&folder.path().join("w.safetensors"), -65520.0);
    for external in ["never", "always"] {
        let args = ["--weights", "w.safetensors", "-o", "m.onnx", "--dtype", "f16", "--external-data", external];
        fail(folder.path(), &args, 3, &["'fc.weight' is -65520 at index 7", "65504", "--keep-f32 fc"]);
        assert_eq!(names(folder.path()), ["w.safetensors"], "nothing is left behind");
    }
    let args = ["--weights", "w.safetensors", "-o", "m.onnx", "--dtype", "f16", "--keep-f32", "fc"];
    succeed(folder.path(), &args);
    // The largest that rounds down to f16's largest is none too large, and the summary names it.
    with_weight(&folder.path().join("w.safetensors"), -65519.0);
    let args = ["--weights", "w.safetensors", "-o", "m.onnx", "--dtype", "f16", "--force"];
    let said = text(&run(folder.path(), &args).stderr);
    assert!(said.contains("largest weight 65519.000 (fc.weight; f16 ends at 65504)"), "{said}");
}

#[test]
fn numbers_too_small_for_f16_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let said = |value: f32| {
        with_weight(&folder.path().join("w.safetensors"), value);
        let args = ["--weights", "w.safetensors", "-o", "m.onnx", "--dtype", "f16", "--force", "--keep-f32"];
        // All other nodes stay in f32.
        let (_, model) = build(folder.path(), &[]);
        let others: Vec<String> = model.graph.unwrap().node.iter().map(|node| node.name.clone()).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).filter(|name| *name != "fc").collect();
        text(&run(folder.path(), &[&args[..], &[&others.join(",")]].concat()).stderr)
    };
    // The checkpoint has one subnormal number of its own there.
    for (value, counts) in [
        (1.0, "1 of 325 became subnormal and 0 zero"),
        (1e-9, "1 of 325 became subnormal and 1 zero"),
        (1e-6, "2 of 325 became subnormal and 0 zero"),
    ] {
        assert!(said(value).contains(counts), "{value}: {}", said(value));
    }
}

/// A calibration of the small network as it might have been measured on `model`: 12 everywhere, but for `values`.
fn calibration(model: &ModelProto, values: &[(&str, f64)]) -> String {
    let ranges = model.graph.as_ref().unwrap().node.iter().map(|node| {
        let max = values.iter().find(|(name, _)| *name == node.name).map_or(12.0, |(_, max)| *max);
        json!({"name": node.output[0], "node": node.name, "op": node.op_type, "min": -max, "max": max, "max_abs": max,
               "non_finite": 0})
    });
    json!({
        "schema_version": 1,
        "kind": "calibration",
        "model": {
            "file": "m.onnx",
            "sha256": "00",
            "variant": metadata(model, "resnext.variant"),
            "source_sha256": metadata(model, "resnext.weights_sha256"),
            "random_seed": null,
        },
        "inputs": {"source": "images", "count": 300, "seed": null},
        "provider": "cpu",
        "values": ranges.collect::<Vec<_>>(),
    })
    .to_string()
}

#[test]
fn measured_ranges_say_why_f16_is_safe_and_without_them_the_file_says_that_it_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (said, model) = build(folder.path(), &["--dtype", "f16"]);
    let unchecked = "activation ranges unchecked; run resnext-run calibrate";
    assert!(said.contains(unchecked) && metadata(&model, "resnext.f16_activations") == Some(unchecked), "{said}");
    assert_eq!(metadata(&model, "resnext.dtype"), Some("f16"));
    let weights = metadata(&model, "resnext.f16_weights").unwrap();
    assert!(weights.contains("largest weight 4.287 (layer1.0.conv3.weight") && said.contains(weights), "{said}");

    let (_, single) = build(folder.path(), &[]);
    assert_eq!(metadata(&single, "resnext.dtype"), None);
    let checked = calibration(&single, &[("layer2.0.conv3", 64.0)]);
    std::fs::write(folder.path().join("c.json"), checked).unwrap();
    for more in [&[][..], &["--keep-io-types", "--keep-f32", "fc"], &["--target", "cpu-avx512"]] {
        let (said, model) = build(folder.path(), &[&["--dtype", "f16", "--calibration", "c.json"], more].concat());
        let safe = "values up to 64.0000 (layer2.0.conv3) on 300 images, headroom 1023.5 to f16's end at 65504";
        assert!(said.contains(safe) && metadata(&model, "resnext.f16_activations") == Some(safe), "{said}");
    }
    let (_, lowered) = build(folder.path(), &["--target", "cpu-avx512"]);
    std::fs::write(folder.path().join("c.json"), calibration(&lowered, &[("layer2.0.conv3", 64.0)])).unwrap();
    let (said, _) = build(folder.path(), &["--dtype", "f16", "--calibration", "c.json"]);
    assert!(said.contains("values up to 64.0000 (layer2.0.conv3)"), "{said}");
}

#[test]
fn ranges_beyond_f16_and_those_of_other_models_are_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (_, single) = build(folder.path(), &[]);
    let (_, unfolded) = build(folder.path(), &["--no-fold-bn"]);
    std::fs::remove_file(folder.path().join("m.onnx")).unwrap();
    let path = folder.path().join("c.json");
    let weights = fixture("resnext_zip.pth");
    let args =
        ["--weights", &weights, "--image-size", "64", "--dtype", "f16", "-o", "m.onnx", "--calibration", "c.json"];
    let good = calibration(&single, &[]);
    let sha256 = metadata(&single, "resnext.weights_sha256").unwrap();
    for (content, parts) in [
        (
            calibration(&single, &[("layer2.0.conv3", 7e4), ("layer2.0.add", 66000.5)]),
            &["'layer2.0.conv3' outputs up to 70000", "1 more", "--keep-f32 layer2.0.conv3,layer2.0.add,layer2.0"][..],
        ),
        (good.replace(sha256, "ab"), &["SHA-256 ab", sha256, "resnext-run calibrate"]),
        (good.replace("4x2d", "8x2d"), &["8x2d", "4x2d"]),
        (calibration(&unfolded, &[]), &["a node 'bn1'", "resnext-run calibrate"]),
        ("{}".into(), &["not a calibration file", "resnext-run calibrate"]),
    ] {
        std::fs::write(&path, content).unwrap();
        fail(folder.path(), &args, 3, parts);
        assert_eq!(names(folder.path()), ["c.json"]);
    }
    std::fs::remove_file(&path).unwrap();
    fail(folder.path(), &args, 3, &["c.json"]);
    // As the message says, so it is.
    std::fs::write(&path, calibration(&single, &[("layer2.0.conv3", 7e4), ("layer2.0.add", 66000.5)])).unwrap();
    succeed(folder.path(), &[&args[..], &["--keep-f32", "layer2.0.conv3,layer2.0.add,layer2.0"]].concat());
}

#[test]
fn the_library_refuses_a_calibration_of_an_f32_build_as_the_program_does() {
    let folder = tempfile::tempdir().unwrap();
    let (_, single) = build(folder.path(), &[]);
    let (calibration_file, path) = (folder.path().join("c.json"), folder.path().join("n.onnx"));
    std::fs::write(&calibration_file, calibration(&single, &[])).unwrap();
    let weights = Weights::File(fixture("resnext_zip.pth").into());
    let mut plan = Plan::new(None, weights, Destination::File(path.clone()));
    plan.calibration = Some(Calibration::read(&calibration_file).unwrap());
    let error = resnext_builder::build::build(&plan, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, BuildError::Request(reason) if reason.contains("--dtype f16")), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_seeded_network_is_calibrated_by_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--planes", "16", "-o", "m.onnx", "--force", "-q"];
    succeed(folder.path(), &[&small[..], &["--seed", "5"]].concat());
    let model = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap();
    let measured = calibration(&model, &[]).replace(r#""random_seed":null"#, r#""random_seed":5"#);
    std::fs::write(folder.path().join("c.json"), measured).unwrap();
    let half = ["--dtype", "f16", "--calibration", "c.json"];
    succeed(folder.path(), &[&small[..], &half, &["--seed", "5"]].concat());
    fail(folder.path(), &[&small[..], &half].concat(), 3, &["random weights of seed 5", "random weights of seed 0"]);
}

#[test]
fn a_number_is_rounded_once_from_what_the_checkpoint_holds() {
    // In an f64 checkpoint, a hair above the middle of two f16: through f32 it would be the middle, and go down.
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("resnext.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let value = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
    let wide: Vec<u8> = (0..5 * 64).flat_map(|_| value.to_le_bytes()).collect();
    let views = tensors.tensors().into_iter().map(|(name, view)| match name.as_str() {
        "fc.weight" => (name, TensorView::new(safetensors::Dtype::F64, view.shape().to_vec(), &wide).unwrap()),
        _ => (name, view),
    });
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, &folder.path().join("w.safetensors")).unwrap();
    succeed(folder.path(), &["--weights", "w.safetensors", "-o", "m.onnx", "--dtype", "f16"]);
    let graph = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap().graph.unwrap();
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == "fc.weight").unwrap();
    let up = f16::from_bits(f16::ONE.to_bits() + 1);
    assert!(to_f32(tensor).unwrap().iter().all(|&v| v == up.to_f32()), "{:?}", &to_f32(tensor).unwrap()[..3]);
}
