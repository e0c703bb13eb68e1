//! `--precision`: what a provider computes in, by its numbers, and what is refused.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::runner::{library, program, stderr};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::variant::Variant;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

fn model(folder: &Path) -> PathBuf {
    let path = folder.join("m.onnx");
    let variant = Variant::parse_with("50_16x4d", &[1, 1]).expect("a variant");
    let mut plan = Plan::new(Some(variant), Weights::Random { seed: 1 }, Destination::File(path.clone()));
    plan.image = Some([Dim::Fixed(32), Dim::Fixed(32)]);
    plan.classes = Some(8);
    build(&plan, &mut |_| {}).expect("built");
    path
}

fn run(verb: &str, model: &Path, package: Package, more: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg(verb).arg(model).args(more).arg("--ort-lib").arg(library(package).path);
    command.output().expect("it starts")
}

#[test]
fn openvino_in_bf16_is_a_row_of_its_own_with_the_tolerance_of_bf16() {
    if !std::arch::is_x86_feature_detected!("avx512bf16") {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = model(folder.path());
    let more = ["--ep", "openvino", "--precision", "f32,bf16", "--json"];
    let output = run("compare", &model, Package::OpenVino, &more);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = |at: usize, field: &str| found["rows"][at][field].as_str().unwrap_or_default().to_owned();
    assert_eq!((row(0, "provider"), row(1, "provider")), ("openvino".into(), "openvino-bf16".into()), "{found}");
    assert_eq!((row(0, "precision"), row(1, "precision")), ("f32".into(), "bf16".into()));
    // It really computed in bf16: further from f32 than f32 arithmetic is, and no further than bf16 is.
    let cosine = found["rows"][1]["outputs"][0]["cosine"].as_f64().expect("a cosine");
    let far = (2.0 * (1.0 - cosine)).sqrt();
    assert!((1e-4..5e-2).contains(&far), "{far}");
}

#[test]
fn what_a_provider_does_not_compute_in_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = model(folder.path());
    for (more, said) in [
        (&["--precision", "bf16"][..], "--ep openvino"),
        (&["--precision", "f16"], "--dtype f16"),
        (&["--ep", "cuda", "--precision", "bf16"], "types of the file"),
        (&["--ep", "openvino", "--precision", "tf32"], "NVIDIA"),
        (&["--precision", "f64"], "possible values"),
    ] {
        let output = run("compare", &model, Package::Cpu, more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{more:?}: {}", stderr(&output));
    }
    // Once more what it does anyway.
    let output = run("compare", &model, Package::Cpu, &["--precision", "f32,f32", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(1), "{found}");
}
