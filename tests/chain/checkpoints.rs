//! From real checkpoints to onnxruntime: what torch computed in float64 is what comes out.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::common::runner::{floats, launcher, library, spec};
use ndarray::Array4;
use resnext_builder::architecture::{Output, StrideIn};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::checkpoint::Checkpoint;
use resnext_builder::reference::{Activation, forward};
use resnext_builder::weights::{Origin, Source, inferred};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::model::opened::Model as _;
use resnext_runner::model::tensor::{Data, Tensor};
use safetensors::SafeTensors;

/// Fixture, file with torch's outputs, name of the logits there.
const FIXTURES: [(&str, &str, &str); 14] = [
    ("resnext_zip.pth", "resnext", "logits"),
    ("resnext_legacy.pth", "resnext", "logits"),
    ("resnext.safetensors", "resnext", "logits"),
    ("resnext_channels_last.pth", "resnext", "logits"),
    ("resnext_f16.pth", "resnext", "logits.f16"),
    ("resnext_bf16.pth", "resnext", "logits.bf16"),
    ("resnext_f64.pth", "resnext", "logits.f64"),
    ("resnext_mixed.pth", "resnext", "logits.mixed"),
    ("resnext_data_parallel.pth", "resnext", "logits.f16"),
    ("resnext_no_counters.pth", "resnext", "logits.f16"),
    ("resnext_parameters.pth", "resnext", "logits.f16"),
    ("resnext_nested.pth", "resnext", "logits.f16"),
    ("basic.pth", "basic", "logits"),
    ("cifar.pth", "cifar", "logits"),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name)
}

/// torch's input (f32) or an output (f64), with its shape.
fn expected(kind: &str, name: &str) -> (Vec<usize>, Vec<f64>) {
    let bytes = std::fs::read(fixture(&format!("{kind}_expected.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = match view.dtype() {
        safetensors::Dtype::F32 => {
            view.data().as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
        }
        safetensors::Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        other => panic!("{name} is {other:?}"),
    };
    (view.shape().to_vec(), values)
}

fn images(kind: &str) -> Array4<f64> {
    let (shape, values) = expected(kind, "input");
    Array4::from_shape_vec([shape[0], shape[1], shape[2], shape[3]], values).unwrap()
}

fn distance(found: impl Iterator<Item = f64>, exact: &[f64]) -> f64 {
    let difference: f64 = found.zip(exact).map(|(a, b)| (a - b).powi(2)).sum();
    (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt()
}

#[test]
fn the_reference_computes_what_torch_computes_in_float64() {
    for (file, kind, logits) in FIXTURES {
        let checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        let found = inferred(&checkpoint).unwrap();
        let mut source = Source::new(Origin::Checkpoint(&checkpoint));
        let outputs =
            forward(&found.variant, StrideIn::Conv3x3, &found.head(), &mut source, &images(kind), Activation::Relu)
                .unwrap();
        let far = distance(outputs.logits.unwrap().iter().copied(), &expected(kind, logits).1);
        assert!(far <= 1e-12, "{file}: {far}");
        if logits == "logits" {
            for (index, stage) in outputs.stages.iter().enumerate() {
                let (shape, exact) = expected(kind, &format!("c{}", index + 2));
                assert_eq!(stage.shape(), shape);
                let far = distance(stage.iter().copied(), &exact);
                assert!(far <= 1e-12, "{file} stage {}: {far}", index + 1);
            }
        }
    }
}

#[test]
fn every_container_and_storage_type_gives_torchs_numbers_under_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    for (file, kind, logits) in FIXTURES {
        for fold in [true, false] {
            let path = folder.path().join("m.onnx");
            let mut plan = Plan::new(None, Weights::File(fixture(file)), Destination::File(path.clone()));
            plan.force = true;
            plan.lowering.fold_bn = fold;
            let images = images(kind);
            let size = resnext_builder::graph::Dim::Fixed(images.shape()[2]);
            plan.image = Some([size.clone(), size]);
            build(&plan, &mut |_| {}).unwrap();
            let data = images.iter().map(|&v| v as f32).collect();
            let input = Tensor { name: "input".into(), shape: images.shape().to_vec(), data: Data::F32(data) };
            let mut worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, &path)).unwrap();
            let outputs = worker.run(&[input]).unwrap();
            let found = floats(&outputs[0]).iter().map(|&v| f64::from(v));
            let far = distance(found, &expected(kind, logits).1);
            assert!(far <= 1e-6, "{file}, folded {fold}: {far}");
        }
    }
}

#[test]
fn a_checkpoint_without_a_head_gives_feature_maps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.onnx");
    let mut plan = Plan::new(None, Weights::File(fixture("resnext_zip.pth")), Destination::File(path.clone()));
    plan.outputs = vec![Output::Stage(2), Output::Stage(4)];
    plan.image = Some([resnext_builder::graph::Dim::Fixed(64), resnext_builder::graph::Dim::Fixed(64)]);
    build(&plan, &mut |_| {}).unwrap();
    let images = images("resnext");
    let data = images.iter().map(|&v| v as f32).collect();
    let input = Tensor { name: "input".into(), shape: images.shape().to_vec(), data: Data::F32(data) };
    let mut worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, &path)).unwrap();
    for (output, name) in worker.run(&[input]).unwrap().iter().zip(["c3", "c5"]) {
        assert_eq!(output.name, name);
        let far = distance(floats(output).iter().map(|&v| f64::from(v)), &expected("resnext", name).1);
        assert!(far <= 1e-6, "{name}: {far}");
    }
}
