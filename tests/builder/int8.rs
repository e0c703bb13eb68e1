//! `--dtype int8` as the program runs it: what the file holds, that `verify` compares it exactly, and what is refused.

use std::path::Path;

use crate::common::program::{fail, run, succeed, text};
use onnx_file::element::ElementType;
use onnx_file::proto::{ModelProto, TensorProto};
use prost::Message as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name).display().to_string()
}

/// Writes `ranges.json`: every value of the f32 build lies between -3 and 5.
fn calibrate(folder: &Path, weights: &str) {
    succeed(folder, &["--weights", weights, "--image-size", "64", "-o", "f32.onnx", "--force", "-q"]);
    let model = read(&folder.join("f32.onnx"));
    let graph = model.graph.unwrap();
    let value = |name: &String, node: Option<&String>| {
        let low = if name.contains("relu") { 0.0 } else { -3.0 };
        json!({"name": name, "node": node, "op": null, "min": low, "max": 5.0, "max_abs": 5.0, "non_finite": 0})
    };
    let made = graph.node.iter().map(|node| value(&node.output[0], Some(&node.name)));
    let values: Vec<_> = graph.input.iter().map(|input| value(&input.name, None)).chain(made).collect();
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let said = |key: &str| model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.clone());
    let ranges = json!({
        "schema_version": 2, "kind": "calibration",
        "model": {
            "file": "f32.onnx",
            "sha256": digest(&std::fs::read(folder.join("f32.onnx")).unwrap()),
            "variant": said("resnext.variant"),
            "source_sha256": said("resnext.weights_sha256"),
            "random_seed": null,
        },
        "inputs": {"source": "images", "count": 300, "seed": null},
        "values": values,
    });
    std::fs::write(folder.join("ranges.json"), ranges.to_string()).unwrap();
}

fn read(path: &Path) -> ModelProto {
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

fn tensors(model: &ModelProto, element: ElementType) -> Vec<&TensorProto> {
    let all = model.graph.iter().flat_map(|graph| &graph.initializer);
    all.filter(|tensor| tensor.data_type == element.to_proto()).collect()
}

#[test]
fn every_form_is_exactly_what_the_checkpoint_means_and_a_wrong_weight_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    calibrate(folder.path(), &weights);
    let int8 = ["--weights", &weights, "--image-size", "64", "-o", "m.onnx", "--force", "--dtype", "int8"];
    let int8 = [&int8[..], &["--calibration", "ranges.json"]].concat();
    for more in [
        &[][..],
        &["--target", "cpu-avx512"],
        &["--target", "openvino", "--weight-range", "full"],
        &["--target", "tensorrt", "--weight-range", "7bit"],
        &["--group-width", "8", "--opset", "13"],
        &["--outputs", "c2,logits,c5", "--external-data", "always"],
        &["--keep-f32", "layer1.0.conv2,fc"],
    ] {
        let output = run(folder.path(), &[&int8[..], more].concat());
        assert!(output.status.success(), "{more:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("int8: weights: "), "{more:?}: {}", text(&output.stderr));
        let verdict = succeed(folder.path(), &["verify", "m.onnx", "--weights", &weights, "--json"]);
        let verdict: serde_json::Value = serde_json::from_slice(&verdict).unwrap();
        assert_eq!((&verdict["basis"], &verdict["equal"]), (&json!("quantized"), &json!(true)), "{more:?}: {verdict}");
        let rounding = verdict["outputs"][0]["rounding_l2"].as_f64().unwrap();
        assert!((1e-4..0.5).contains(&rounding), "{more:?}: {rounding}");
    }
}

#[test]
fn a_single_integer_that_is_off_is_found_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    calibrate(folder.path(), &weights);
    let int8 = ["--weights", &weights, "--image-size", "64", "-o", "m.onnx", "--force", "--dtype", "int8"];
    let int8 = [&int8[..], &["--calibration", "ranges.json"]].concat();
    for target in ["portable", "cpu-avx512", "tensorrt"] {
        succeed(folder.path(), &[&int8[..], &["--target", target]].concat());
        let path = folder.path().join("m.onnx");
        let whole = read(&path);
        let verdict = succeed(folder.path(), &["verify", "m.onnx", "--weights", &weights, "--json"]);
        let verdict: serde_json::Value = serde_json::from_slice(&verdict).unwrap();
        let layers = verdict["constants"]["layers"].as_u64();
        assert_eq!((layers.unwrap() > 9, &verdict["constants"]["different"]), (true, &json!([])), "{verdict}");
        // A weight in the middle of the first, the middle and the last convolution, and a bias.
        let named = |element, dims| {
            let of: Vec<String> =
                tensors(&whole, element).into_iter().filter(|t| t.dims.len() == dims).map(|t| t.name.clone()).collect();
            of
        };
        let convolutions = named(ElementType::I8, 4);
        let mut planted = vec![convolutions[0].clone(), convolutions[convolutions.len() / 2].clone()];
        planted.push(convolutions[convolutions.len() - 1].clone());
        planted.extend(named(ElementType::I32, 1).first().cloned());
        for name in planted {
            let mut model = whole.clone();
            let tensors = &mut model.graph.as_mut().unwrap().initializer;
            let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
            let mut bytes = tensor.raw_data.to_vec();
            // Behind a weight that is no filling.
            let at = bytes.iter().position(|byte| *byte != 0).unwrap();
            bytes[at] = bytes[at].wrapping_add(3);
            tensor.raw_data = bytes.into();
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            let output = run(folder.path(), &["verify", "m.onnx", "--weights", &weights]);
            assert_eq!(output.status.code(), Some(1), "{target} {name}: {}", text(&output.stderr));
            let said = text(&output.stdout);
            assert!(said.contains("does not compute"), "{said}");
            assert!(said.contains("has 1 wrong weight or bias"), "{name}: {said}");
            // Nor do other names of its nodes hide it.
            for (index, node) in model.graph.as_mut().unwrap().node.iter_mut().enumerate() {
                node.name = format!("node{index}");
            }
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            let output = run(folder.path(), &["verify", "m.onnx", "--weights", &weights]);
            let said = text(&output.stdout);
            assert!(output.status.code() == Some(1) && said.contains(" wrong weight"), "{target} {name}: {said}");
        }
    }
}

#[test]
fn nodes_of_other_names_are_compared_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    calibrate(folder.path(), &weights);
    let int8 = ["--weights", &weights, "--image-size", "64", "-o", "m.onnx", "--dtype", "int8"];
    succeed(folder.path(), &[&int8[..], &["--calibration", "ranges.json"]].concat());
    let verify = || {
        let verdict = succeed(folder.path(), &["verify", "m.onnx", "--weights", &weights, "--json"]);
        serde_json::from_slice::<serde_json::Value>(&verdict).unwrap()["constants"].clone()
    };
    let before = verify();
    let mut model = read(&folder.path().join("m.onnx"));
    for (index, node) in model.graph.as_mut().unwrap().node.iter_mut().enumerate() {
        node.name = format!("node{index}");
    }
    std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
    assert_eq!(before, verify());
    assert_eq!((&before["different"], &before["unmatched"]), (&json!([]), &json!(0)));
}

#[test]
fn weights_are_signed_bytes_that_no_processor_saturates() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    calibrate(folder.path(), &weights);
    let int8 = ["--weights", &weights, "--image-size", "64", "-o", "m.onnx", "--force", "--dtype", "int8"];
    for (range, safe) in [("pair-safe", true), ("7bit", true), ("full", false)] {
        succeed(folder.path(), &[&int8[..], &["--calibration", "ranges.json", "--weight-range", range]].concat());
        let model = read(&folder.path().join("m.onnx"));
        let mut largest = 0;
        for tensor in tensors(&model, ElementType::I8) {
            let shape: Vec<usize> = tensor.dims.iter().map(|&n| n as usize).collect();
            let numbers: Vec<i8> = tensor.raw_data.iter().map(|&byte| byte as i8).collect();
            largest = largest.max(resnext_builder::weight::largest_pair(&numbers, &shape));
        }
        assert_eq!(largest <= resnext_builder::weight::PAIR_LIMIT, safe, "{range}: {largest}");
        let said = model.metadata_props.iter().find(|entry| entry.key == "resnext.int8_weights").unwrap();
        assert!(said.value.contains(&format!("sum to {largest},")), "{range}: {}", said.value);
    }
}

#[test]
fn what_does_not_go_with_int8_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    calibrate(folder.path(), &weights);
    let int8 = ["--weights", &weights, "-o", "m.onnx", "--dtype", "int8", "--calibration", "ranges.json"];
    fail(folder.path(), &[&int8[..], &["--target", "cuda"]].concat(), 2, &["tensorrt"]);
    fail(folder.path(), &[&int8[..], &["--keep-f32", "layer1.0.con2"]].concat(), 2, &["layer1.0.conv2"]);
    fail(folder.path(), &[&int8[..], &["--range-method", "percentile=101"]].concat(), 2, &["percentile=99.99"]);
    // The file holds smallest and largest numbers alone.
    fail(folder.path(), &[&int8[..], &["--range-method", "mse"]].concat(), 3, &["histogram", "resnext-run calibrate"]);
    fail(folder.path(), &["--weights", &weights, "-o", "m.onnx", "--range-method", "mse"], 2, &["--dtype int8"]);
    let optimize = ["optimize", "f32.onnx", "-o", "o.onnx", "--dtype", "int8"];
    fail(folder.path(), &optimize, 2, &["resnext-run calibrate"]);
    // Of another file than that measured.
    succeed(folder.path(), &["--weights", &weights, "--image-size", "96", "-o", "f32.onnx", "--force", "-q"]);
    let with = [&optimize[..], &["--calibration", "ranges.json"]].concat();
    fail(folder.path(), &with, 3, &["f32.onnx", "as it is now"]);
}
