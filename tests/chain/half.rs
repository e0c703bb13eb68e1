//! f16 files under onnxruntime's CPU provider: how far they are from the checkpoint, and why not further.
//!
//! With u = 2^-11, rounding moves a number by at most u of itself, and many numbers by less than u / 2 in the mean square
//! (0.41 u where significands are spread evenly by logarithm). Two kinds of rounding are told apart.
//!
//! That of the weights is a function of its own, run in f64 here. Its distance from the checkpoint: each of n layers is
//! off by less than u / 2, independently, so all by less than sqrt(n) u / 2; residual networks stay below, since
//! what a block adds is a part of what it passes on.
//!
//! That of values: on x86-64 the CPU provider has no f16 kernels. It computes in f32 and drops the conversions between
//! nodes, so that only what the file itself converts is rounded: inputs and outputs that are f16, and values that leave a
//! node kept in f32. m of them: sqrt(m) u / 2. With f32 inputs and outputs and no node kept, only f32's own noise is left.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::common::runner::{launcher, library, run, spec, stderr, stdout};
use ndarray::{Array4, ArrayD};
use resnext_builder::architecture::{self, Options, StrideIn};
use resnext_builder::build::{Destination, External, Plan, Weights, build};
use resnext_builder::checkpoint::Checkpoint;
use resnext_builder::graph::Dim;
use resnext_builder::passes::{self, Lowering, Width};
use resnext_builder::precision::{Half, Precision};
use resnext_builder::reference::{Activation, evaluate, forward};
use resnext_builder::validate::validate;
use resnext_builder::weights::{Origin, Source, inferred};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::input;
use resnext_runner::model::file::ModelFile;
use resnext_runner::model::opened::Model as _;
use resnext_runner::model::tensor::{Data, Tensor};
use serde_json::Value;

/// 2^-11, the largest relative error of rounding to f16.
const U: f64 = 1.0 / 2048.0;

const SIZE: usize = 64;

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

/// Normal-looking images, the same on both sides.
fn images() -> Array4<f64> {
    let noise = input::noise::noise(4 * 3 * SIZE * SIZE, 9);
    Array4::from_shape_vec((4, 3, SIZE, SIZE), noise.into_iter().map(f64::from).collect()).unwrap()
}

fn plan(weights: &Path, path: &Path, lowering: Lowering) -> Plan {
    let mut plan = Plan::new(None, Weights::File(weights.into()), Destination::File(path.into()));
    plan.image = Some([Dim::Fixed(SIZE), Dim::Fixed(SIZE)]);
    plan.lowering = lowering;
    plan
}

fn build_half(weights: &Path, path: &Path, lowering: Lowering) {
    build(&plan(weights, path, lowering), &mut |_| {}).unwrap();
}

/// The outputs of a file under onnxruntime's CPU provider, on images in the type that it takes.
fn logits(path: &Path) -> (Data, Vec<f64>) {
    let images = images();
    let given = Tensor {
        name: "input".into(),
        shape: images.shape().to_vec(),
        data: Data::F32(images.iter().map(|&v| v as f32).collect()),
    };
    let file = ModelFile::read(path).unwrap();
    let fitted = input::fit(&[given], &file.name(), &file.image_input().unwrap()).unwrap();
    let mut worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path)).expect("loaded");
    let data = worker.run(&[fitted]).expect("ran").remove(0).data;
    let values = input::to_f64(&data);
    (data, values)
}

/// The checkpoint's own logits, and those with the weights that `lowering` rounds, both in f64.
fn exact(weights: &Path, lowering: &Lowering) -> [ArrayD<f64>; 2] {
    let checkpoint = Checkpoint::open(weights).unwrap();
    let found = inferred(&checkpoint).unwrap();
    let mut source = Source::new(Origin::Checkpoint(&checkpoint));
    let images = images();
    let exact =
        forward(&found.variant, StrideIn::Conv3x3, &found.head(), &mut source, &images, Activation::Relu).unwrap();
    let image = [Dim::Fixed(SIZE), Dim::Fixed(SIZE)];
    let options = Options { image, classes: found.classes.unwrap(), ..Options::classifier(&found.variant) };
    let mut graph = architecture::build(&found.variant, &options).unwrap();
    passes::run(&mut graph, lowering).unwrap();
    let valid = validate(&graph).unwrap();
    let rounded = evaluate(valid, &mut source, &images, Activation::Relu).unwrap().remove(0);
    [exact.logits.unwrap(), rounded]
}

/// Relative L2 distance.
fn distance<'a>(found: impl IntoIterator<Item = &'a f64>, exact: &ArrayD<f64>) -> f64 {
    let difference: f64 = found.into_iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum();
    (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt()
}

fn half(keep_io_types: bool, keep_f32: &[&str]) -> Lowering {
    let keep_f32 = keep_f32.iter().map(ToString::to_string).collect();
    Lowering { precision: Precision::F16(Half { keep_io_types, keep_f32 }), ..Lowering::default() }
}

#[test]
fn what_the_cpu_provider_computes_is_off_by_the_roundings_that_the_file_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    for weights in ["fixtures/checkpoints/resnext_zip.pth", "trained/shapes.safetensors"] {
        let weights = checkpoint(weights);
        // Flags, and how many values they have rounded between input and logits.
        for (ends, kept, conversions) in [
            (true, &[][..], 0),
            (true, &["conv1", "layer1.0.conv2", "layer1.0.relu2", "fc"], 2),
            (false, &[], 2),
            (false, &["layer2.0.conv2", "fc"], 3),
        ] {
            let lowering = half(ends, kept);
            std::fs::remove_file(&path).ok();
            build_half(&weights, &path, lowering.clone());
            let [exact, rounded] = exact(&weights, &lowering);
            let (data, found) = logits(&path);
            assert_eq!(matches!(data, Data::F32(_)), ends, "{kept:?}");
            let layers = onnx_file::read::read(&path).unwrap().graph.unwrap().node;
            let layers = layers.iter().filter(|node| matches!(node.op_type.as_str(), "Conv" | "Gemm")).count();
            let of_weights = distance(&rounded, &exact);
            let bound = (layers as f64).sqrt() * U / 2.0;
            assert!((1e-5..bound).contains(&of_weights), "{weights:?} {ends} {kept:?}: {of_weights} of {bound}");
            let of_values = distance(&found, &rounded);
            let noise = if cfg!(target_arch = "x86_64") { 1e-6 } else { bound };
            let bound = f64::from(conversions).sqrt() * U / 2.0 + noise;
            assert!(of_values <= bound, "{weights:?} {ends} {kept:?}: {of_values} of {bound}");
            assert!(conversions == 0 || of_values > 1e-5, "{weights:?} {ends} {kept:?}: {of_values}: nothing was f16");
        }
    }
}

#[test]
fn widening_external_data_and_unfolded_normalisations_compute_in_f16_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let weights = checkpoint("fixtures/checkpoints/resnext_zip.pth");
    let lowering = half(true, &[]);
    let [_, rounded] = exact(&weights, &lowering);
    let wide = Lowering { group_widths: vec![Width::at_least(8)], ..lowering.clone() };
    for (lowering, external) in [(wide, External::Never), (lowering.clone(), External::Always)] {
        std::fs::remove_file(&path).ok();
        let mut plan = plan(&weights, &path, lowering);
        plan.external = external;
        build(&plan, &mut |_| {}).unwrap();
        let far = distance(&logits(&path).1, &rounded);
        assert!(far <= 1e-6 || cfg!(not(target_arch = "x86_64")), "{external:?}: {far}");
    }
    // The runtime folds the normalisations itself, in f16, and so rounds the weights a second time, and their biases.
    let unfolded = Lowering { fold_bn: false, ..lowering };
    std::fs::remove_file(&path).ok();
    build_half(&weights, &path, unfolded.clone());
    let [exact, rounded] = exact(&weights, &unfolded);
    let (of_weights, far) = (distance(&rounded, &exact), distance(&logits(&path).1, &exact));
    assert!(far <= 3.0 * of_weights, "{far} where rounding the weights makes {of_weights}");
}

/// The program on the CPU library; its JSON result.
fn verb(arguments: &[&str]) -> Value {
    let library = library(Package::Cpu).path;
    let output = run(&[arguments, &["--json", "--ort-lib", library.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {} {}", stdout(&output), stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn every_verb_takes_f16_inputs_and_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let weights = checkpoint("fixtures/checkpoints/resnext_zip.pth");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (single, both, inside) = (path("f32.onnx"), path("f16.onnx"), path("inside.onnx"));
    build_half(&weights, Path::new(&single), Lowering::default());
    build_half(&weights, Path::new(&both), half(false, &[]));
    build_half(&weights, Path::new(&inside), half(true, &["layer1.0.conv2"]));

    let done = verb(&["compare", &single, &both, &inside, "-b", "4", "--layers"]);
    for row in [1, 2] {
        assert_eq!(done["rows"][row]["status"], "agrees", "{done}");
        assert_eq!(done["rows"][row]["precision"], "f16", "{done}");
        assert!(done["rows"][row]["outputs"][0]["max_abs"].as_f64().unwrap() > 0.0, "{done}");
    }
    assert!(done["layers"]["first_diverging"].is_null() && done["layers"]["boundaries"].as_u64() >= Some(4), "{done}");

    // Outputs saved from one are a reference for the other, and inputs saved from one are taken by the other.
    let (outputs, inputs) = (path("outputs.npz"), path("inputs.npz"));
    verb(&["compare", &both, "-b", "2", "--save-outputs", &outputs, "--save-inputs", &inputs]);
    let done = verb(&["compare", &single, "-b", "2", "--reference", &outputs, "--load-inputs", &inputs]);
    assert_eq!(done["rows"][0]["status"], "agrees", "{done}");

    let done = verb(&["bench", &both, &inside, "-b", "1,2", "--iterations", "5", "--warmup", "1"]);
    for row in done["rows"].as_array().unwrap() {
        assert_eq!(row["error"], Value::Null, "{done}");
    }
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/images/source/alpha.png");
    let image = images.to_str().unwrap();
    let best: Vec<Value> = [&single, &both, &inside]
        .map(|model| verb(&["infer", model, image, "--top-k", "5"])["images"][0]["top"].clone())
        .to_vec();
    for other in &best[1..] {
        for (class, expected) in other.as_array().unwrap().iter().zip(best[0].as_array().unwrap()) {
            assert_eq!(class["index"], expected["index"], "{best:?}");
            let (score, exact) = (class["score"].as_f64().unwrap(), expected["score"].as_f64().unwrap());
            assert!((score - exact).abs() < 4.0 * U * exact.abs().max(1.0), "{score} {exact}");
        }
    }
}
