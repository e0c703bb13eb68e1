//! Models of others: which output says the classes, and what its numbers are, against onnxruntime's Python package.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::runner::{parsed, run_in, stderr, stdout};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/classifiers")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().map(|number| number.as_f64().expect("a number")).collect()
}

#[test]
fn every_way_to_end_a_classifier_is_read_as_it_is_meant() {
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("expected.json");
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    assert!(expected.len() > 25);
    for (name, expected) in &expected {
        let file = format!("{name}.onnx");
        let (code, output) = run_in(&folder(), &["infer", &file, "image.png", "--top-k", "3", "--json"]);
        if expected["refused"] == true {
            assert_eq!(code, Some(3), "{name}: {}{}", stdout(&output), stderr(&output));
            assert!(stderr(&output).contains("its outputs are: "), "{name}: {}", stderr(&output));
            continue;
        }
        assert_eq!(code, Some(0), "{name}: {}{}", stdout(&output), stderr(&output));
        let result = parsed(&output);
        assert_eq!(result["output"]["name"], expected["output"], "{name}");
        assert_eq!(result["output"]["meaning"], expected["meaning"], "{name}");
        let top = result["images"][0]["top"].as_array().expect("classes");
        let classes: Vec<f64> = top.iter().map(|class| class["index"].as_f64().expect("an index")).collect();
        assert_eq!(classes, numbers(&expected["classes"])[..classes.len()], "{name}");
        let right = numbers(&expected["probabilities"]);
        for (class, right) in top.iter().zip(&right) {
            let found = class["probability"].as_f64().unwrap_or(f64::NAN);
            // f16 rounds the image; grey is weighted without rounding to levels.
            let allowed = if name == "f16" || name == "grey" { 2e-3 } else { 1e-5 };
            assert!((found - right).abs() < allowed, "{name}: {found} and not {right}");
        }
        if right.is_empty() && name != "top_k" {
            assert!(top[0]["probability"].is_null(), "{name}: {result}");
        }
    }
}

#[test]
fn what_a_user_says_of_a_model_comes_before_what_its_graph_does() {
    let infer = |more: &[&str]| {
        let (code, output) = run_in(&folder(), &[&["infer"], more, &["image.png", "--json"]].concat());
        assert_eq!(code, Some(0), "{}", stderr(&output));
        parsed(&output)
    };
    let chosen = infer(&["ambiguous.onnx", "--use-output", "b"]);
    assert_eq!(chosen["output"]["name"], "b");
    let plain = infer(&["tanh.onnx"]);
    assert!(plain["notes"].to_string().contains("scores-unexplained"), "{plain}");
    let softmax = infer(&["tanh.onnx", "--softmax"]);
    let all: f64 = softmax["images"][0]["top"]
        .as_array()
        .expect("classes")
        .iter()
        .map(|c| c["probability"].as_f64().expect("one"))
        .sum();
    assert!(all > 0.5 && all <= 1.0, "{softmax}");
    assert!(infer(&["plain.onnx", "--no-softmax"])["images"][0]["top"][0]["probability"].is_null());
    assert_eq!(infer(&["one_tanh.onnx", "--softmax"])["output"]["meaning"], "logits");
    let (code, output) = run_in(&folder(), &["infer", "plain.onnx", "image.png", "--use-output", "z"]);
    assert_eq!(code, Some(3));
    assert!(stderr(&output).contains("no output 'z'; its outputs are: logits f32 [?, 10]"), "{}", stderr(&output));
}

#[test]
fn labels_and_preprocessing_are_given_or_found_beside_the_model() {
    let place = tempfile::tempdir().expect("temporary folder");
    for file in ["plain.onnx", "image.png", "embedding_first.onnx"] {
        std::fs::copy(folder().join(file), place.path().join(file)).expect("copied");
    }
    let infer = |more: &[&str]| run_in(place.path(), &[&["infer", "plain.onnx", "image.png", "--json"], more].concat());
    let label = |output: &Output| parsed(output)["images"][0]["top"][0]["label"].clone();
    assert!(label(&infer(&[]).1).is_null());
    let names: Vec<String> = (0..10).map(|n| format!("thing {n}")).collect();
    std::fs::write(place.path().join("labels.txt"), names.join("\n")).expect("written");
    let best = parsed(&infer(&[]).1)["images"][0]["top"][0]["index"].as_u64().expect("an index");
    assert_eq!(label(&infer(&["--labels", "labels.txt"]).1), format!("thing {best}"));
    std::fs::write(place.path().join("few.txt"), "cat\ndog\n").expect("written");
    let (code, output) = infer(&["--labels", "few.txt"]);
    assert_eq!(code, Some(3));
    assert!(stderr(&output).contains("2 classes have names, and no output has as many numbers"), "{}", stderr(&output));
    // As transformers writes them; those of another model, which has other classes, are not taken.
    let id2label: serde_json::Map<String, Value> =
        names.iter().enumerate().map(|(n, name)| (n.to_string(), name.to_uppercase().into())).collect();
    let config = serde_json::json!({"id2label": id2label});
    std::fs::write(place.path().join("config.json"), config.to_string()).expect("written");
    let result = parsed(&infer(&[]).1);
    assert_eq!(result["images"][0]["top"][0]["label"], format!("THING {best}"));
    assert!(result["notes"].to_string().contains("the config.json beside it"), "{}", result["notes"]);
    let other = serde_json::json!({"id2label": {"0": "cat", "1": "dog"}});
    std::fs::write(place.path().join("config.json"), other.to_string()).expect("written");
    assert!(label(&infer(&[]).1).is_null());
    std::fs::write(
        place.path().join("p.json"),
        r#"{"size":{"height":32,"width":32},"resample":2,"do_normalize":false}"#,
    )
    .expect("written");
    let result = parsed(&infer(&["--preprocess", "p.json"]).1);
    assert_eq!((&result["preprocess"]["squash"], &result["preprocess"]["std"][0]), (&Value::Bool(true), &1.0.into()));
    let result = parsed(&infer(&["--preprocess", "v2"]).1);
    assert_eq!((&result["preprocess"]["resize"], &result["preprocess"]["crop"]), (&33.into(), &32.into()));
}

#[test]
fn what_is_fed_is_said_and_models_of_several_inputs_are_measured_and_compared() {
    let (code, output) = run_in(&folder(), &["infer", "u8_nhwc.onnx", "image.png"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("input u8 [N, 32, 32, 3]; output logits: logits"), "{}", stdout(&output));
    for file in ["two_inputs.onnx", "nhwc.onnx", "u8_nhwc.onnx", "four.onnx", "f64.onnx"] {
        let (code, output) = run_in(&folder(), &["compare", file, file, "-b", "2", "--json"]);
        assert_eq!(code, Some(0), "{file}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(parsed(&output)["rows"][1]["status"], "agrees", "{file}");
        let bench = ["bench", file, "-b", "2", "--iterations", "3", "--warmup", "1", "--processes", "1", "--json"];
        let (code, output) = run_in(&folder(), &bench);
        assert_eq!(code, Some(0), "{file}: {}{}", stdout(&output), stderr(&output));
    }
    let place = tempfile::tempdir().expect("temporary folder");
    let inputs = place.path().join("inputs.npz").display().to_string();
    let (code, output) =
        run_in(&folder(), &["compare", "two_inputs.onnx", "two_inputs.onnx", "--save-inputs", &inputs]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let (code, output) =
        run_in(&folder(), &["compare", "two_inputs.onnx", "two_inputs.onnx", "--load-inputs", &inputs]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let (code, output) = run_in(&folder(), &["infer", "two_inputs.onnx", "image.png"]);
    assert_eq!(code, Some(3));
    assert!(stderr(&output).contains("needs inputs besides the images"), "{}", stderr(&output));
}

#[test]
fn probabilities_near_zero_are_as_exact_as_one_is() {
    let (code, output) = run_in(&folder(), &["compare", "sigmoid.onnx", "sigmoid.onnx", "--json"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let tolerance = &parsed(&output)["rows"][1]["outputs"][0]["tolerance"];
    assert!(tolerance["atol"].as_f64() >= Some(7e-6), "{tolerance}");
}
