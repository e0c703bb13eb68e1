//! From builder to onnxruntime: what the files compute is what the architecture means.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::common::runner::{floats, launcher, library, spec};
use ndarray::{Array4, ArrayD};
use resnext_builder::architecture::{BlockForm, Output, StrideIn};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::random::Random;
use resnext_builder::reference::{Activation, Forward, forward};
use resnext_builder::variant::Variant;
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::model::opened::Model as _;
use resnext_runner::model::tensor::{Data, Tensor};

/// Synthetic images `[count, 3, size, size]`, roughly normalised.
fn images(count: usize, size: usize) -> Array4<f64> {
    Array4::from_shape_fn((count, 3, size, size), |(n, c, y, x)| {
        // Rounded to f32, so that both sides see the same numbers.
        f64::from((((n * 131 + c * 71 + y * 37 + x * 17) % 251) as f32) / 62.5 - 2.0)
    })
}

fn tensor(images: &Array4<f64>) -> Tensor {
    let data = images.iter().map(|&v| v as f32).collect();
    Tensor { name: "input".into(), shape: images.shape().to_vec(), data: Data::F32(data) }
}

/// The outputs of a file under onnxruntime's CPU provider.
fn run(path: &Path, images: &Array4<f64>) -> Vec<Tensor> {
    let mut worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path)).expect("loaded");
    worker.run(&[tensor(images)]).expect("ran")
}

/// Relative L2 distance.
fn distance(found: &[f32], exact: &ArrayD<f64>) -> f64 {
    assert_eq!(found.len(), exact.len());
    let difference: f64 = found.iter().zip(exact).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt()
}

/// f32 numbers as what others are measured against.
fn exact_of(values: &[f32]) -> ArrayD<f64> {
    values.iter().map(|&v| f64::from(v)).collect::<ndarray::Array1<f64>>().into_dyn()
}

fn plan(variant: &Variant, path: PathBuf, image: usize) -> Plan {
    let mut plan = Plan::new(Some(variant.clone()), Weights::Random { seed: 11 }, Destination::File(path));
    plan.image = Some([Dim::Fixed(image), Dim::Fixed(image)]);
    plan
}

fn exact(variant: &Variant, stride_in: StrideIn, images: &Array4<f64>) -> Forward {
    let mut random = Random { seed: 11, features: variant.features() };
    forward(variant, stride_in, &[variant.default_classes()], &mut random, images, Activation::Relu)
        .expect("every tensor has a rule")
}

#[test]
fn the_papers_three_block_forms_agree_with_the_reference_and_each_other_on_a_real_variant() {
    let folder = tempfile::tempdir().unwrap();
    let variant = Variant::parse("50_32x4d").unwrap();
    let images = images(1, 64);
    let exact = exact(&variant, StrideIn::Conv3x3, &images);
    let mut logits = Vec::new();
    for form in [BlockForm::Grouped, BlockForm::Concat, BlockForm::Branches] {
        let path = folder.path().join(format!("{form:?}.onnx"));
        let plan = Plan { block_form: form, ..plan(&variant, path.clone(), 64) };
        build(&plan, &mut |_| {}).unwrap();
        let outputs = run(&path, &images);
        let far = distance(floats(&outputs[0]), exact.logits.as_ref().unwrap());
        assert!(far <= 1e-6, "{form:?}: {far}");
        logits.push(floats(&outputs[0]).to_vec());
    }
    for other in &logits[1..] {
        assert!(distance(other, &exact_of(&logits[0])) <= 1e-6);
    }
}

#[test]
fn every_kind_of_network_computes_what_the_reference_computes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, image, stride_in, fold) in [
        ("resnet18", 64, StrideIn::Conv3x3, true),
        ("29_8x64d", 32, StrideIn::Conv3x3, true),
        ("26_32x4d", 64, StrideIn::Conv1x1, true),
        ("26_32x4d", 64, StrideIn::Conv3x3, false),
        ("wide_resnet50_2", 64, StrideIn::Conv3x3, true),
    ] {
        let variant = Variant::parse(name).unwrap();
        let images = images(2, image);
        let exact = exact(&variant, stride_in, &images);
        let path = folder.path().join("m.onnx");
        let mut plan = Plan { stride_in, force: true, ..plan(&variant, path.clone(), image) };
        plan.outputs = vec![Output::Logits, Output::Stage(1), Output::Stage(variant.blocks.len())];
        plan.lowering.fold_bn = fold;
        build(&plan, &mut |_| {}).unwrap();
        let outputs = run(&path, &images);
        for (output, exact) in
            outputs.iter().zip([exact.logits.as_ref().unwrap(), &exact.stages[0], exact.stages.last().unwrap()])
        {
            let far = distance(floats(output), exact);
            assert!(far <= 1e-6, "{name} {stride_in:?} fold {fold}, {}: {far}", output.name);
        }
    }
}

#[test]
fn every_opset_dynamic_sizes_and_external_data_load_and_give_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut variant = Variant::parse("50_32x4d").unwrap();
    variant.blocks = vec![1, 1, 1, 1];
    let images = images(2, 64);
    let reference_path = folder.path().join("reference.onnx");
    build(&plan(&variant, reference_path.clone(), 64), &mut |_| {}).unwrap();
    let expected = exact_of(floats(&run(&reference_path, &images)[0]));
    let same = |name: &str, change: &dyn Fn(&mut Plan)| {
        let path = folder.path().join(format!("{name}.onnx"));
        let mut plan = plan(&variant, path.clone(), 64);
        change(&mut plan);
        build(&plan, &mut |_| {}).unwrap();
        let far = distance(floats(&run(&path, &images)[0]), &expected);
        assert!(far <= 1e-6, "{name}: {far}");
    };
    for opset in resnext_builder::export::OPSETS {
        same(&format!("opset{opset}"), &|plan| plan.versions = resnext_builder::export::Versions::of_opset(opset));
    }
    same("dynamic", &|plan| plan.image = Some([Dim::Named("height".into()), Dim::Named("width".into())]));
    same("fixed-batch", &|plan| plan.batch = Dim::Fixed(2));
    same("external", &|plan| plan.external = resnext_builder::build::External::Always);
}

#[test]
fn widened_groups_compute_the_same_under_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let variant = Variant::parse("26_32x4d").unwrap();
    let images = images(1, 64);
    let exact = exact(&variant, StrideIn::Conv3x3, &images);
    for width in [16, 64] {
        let path = folder.path().join(format!("{width}.onnx"));
        let mut plan = plan(&variant, path.clone(), 64);
        plan.lowering.group_widths = vec![resnext_builder::passes::Width::at_least(width)];
        build(&plan, &mut |_| {}).unwrap();
        let far = distance(floats(&run(&path, &images)[0]), exact.logits.as_ref().unwrap());
        assert!(far <= 1e-6, "{width}: {far}");
    }
}
