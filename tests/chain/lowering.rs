//! Rewritten models compute under onnxruntime what they computed before, whoever exported them.
#![cfg(unix)]

use std::path::Path;

use crate::common::runner::{floats, launcher, library, spec};
use resnext_builder::build::External;
use resnext_builder::optimize::Model;
use resnext_builder::passes::{Lowering, Pass, Width};
use resnext_builder::target::Rationale;
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::model::opened::Model as _;
use resnext_runner::model::tensor::{Data, Tensor};

fn logits(path: &Path) -> Vec<f32> {
    let values: Vec<f32> = (0..2 * 3 * 64 * 64).map(|i| ((i * 37 % 251) as f32) / 62.5 - 2.0).collect();
    let input = Tensor { name: "input".into(), shape: vec![2, 3, 64, 64], data: Data::F32(values) };
    let mut worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path)).expect("loaded");
    let outputs = worker.run(&[input]).expect("ran");
    floats(&outputs[0]).to_vec()
}

#[test]
fn torchs_exports_compute_the_same_after_every_widening() {
    let folder = tempfile::tempdir().unwrap();
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports");
    for name in [
        "resnext_torchscript.onnx",
        "resnext_unfolded.onnx",
        "resnext_dynamo.onnx",
        "resnet_torchscript.onnx",
        "regnet_torchscript.onnx",
        "forms/dynamo_plain.onnx",
        "forms/script_view.onnx",
        "forms/frozen.onnx",
        "forms/matmul.onnx",
        "forms/gemm_forms.onnx",
        "forms/auto_pad.onnx",
        "forms/half_weights.onnx",
        "forms/quantized.onnx",
        "forms/transposed.onnx",
        "forms/ir3.onnx",
    ] {
        let before = logits(&exports.join(name));
        let norm = before.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-3, "{name}");
        for width in [Width::at_least(4), Width::blocks_of(8), Width::blocks_of(16), Width::at_least(64)] {
            let path = folder.path().join("rewritten.onnx");
            let lowering = Lowering { group_widths: vec![width], subsample: true, ..Lowering::default() };
            let model = Model::read(&exports.join(name)).unwrap();
            let done = model.lower(&lowering, &Rationale::default(), &path, External::Never).unwrap();
            let dense = done.passes.iter().find(|pass| pass.pass == Pass::Subsample).map_or(0, |pass| pass.rewrites);
            assert!(dense > 0, "{name}: {done:?}");
            let after = logits(&path);
            let difference: f64 = before.iter().zip(&after).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            assert!(difference.sqrt() / norm < 2e-6, "{name} {width:?}: {}", difference.sqrt() / norm);
        }
    }
}
