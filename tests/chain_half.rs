//! f16 files under onnxruntime's CPU provider: how far they are from the checkpoint, and why not further.
//!
//! With u = 2^-11, a number rounded to f16 moves by at most u, by 0.42 u in the mean square over a binade and its like.
//! Three roundings are told apart here. That of the weights is a function of its own, run in f64. The CPU provider has no
//! f16 kernels on this kind of processor: it computes in f32 and drops the conversions between nodes, so that the values
//! inside are not rounded, and a model with f32 inputs and outputs equals that function to f32's own noise. With f16
//! inputs and outputs, those two roundings come on top, each at most u.
#![cfg(unix)]

mod runner_common;

use std::path::{Path, PathBuf};

use ndarray::{Array4, ArrayD};
use resnext_builder::architecture::{self, Options, StrideIn};
use resnext_builder::build::{Destination, Plan, Weights, build};
use resnext_builder::checkpoint::Checkpoint;
use resnext_builder::graph::Dim;
use resnext_builder::passes::{self, Half, Lowering};
use resnext_builder::reference::{Activation, evaluate, forward};
use resnext_builder::validate::validate;
use resnext_builder::weights::{Origin, Source, inferred};
use resnext_runner::input;
use resnext_runner::metadata::ModelFile;
use resnext_runner::model::Model as _;
use resnext_runner::provider::Kind;
use resnext_runner::runtime::install::Package;
use resnext_runner::tensor::{Data, Tensor};
use runner_common::{launcher, library, run, spec, stderr, stdout};
use serde_json::Value;

/// 2^-11, the largest relative error of rounding to f16.
const U: f64 = 1.0 / 2048.0;

const SIZE: usize = 64;

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

/// Normal-looking pictures, the same on both sides.
fn pictures() -> Array4<f64> {
    let noise = input::noise::noise(4 * 3 * SIZE * SIZE, 9);
    Array4::from_shape_vec((4, 3, SIZE, SIZE), noise.into_iter().map(f64::from).collect()).unwrap()
}

fn build_half(weights: &Path, path: &Path, lowering: Lowering) {
    let mut plan = Plan::new(None, Weights::File(weights.into()), Destination::File(path.into()));
    plan.image = Some([Dim::Fixed(SIZE), Dim::Fixed(SIZE)]);
    plan.lowering = lowering;
    build(&plan, &mut |_| {}).unwrap();
}

/// The outputs of a file under onnxruntime's CPU provider, on pictures in the type that it takes.
fn logits(path: &Path) -> (Data, Vec<f64>) {
    let pictures = pictures();
    let given = Tensor {
        name: "input".into(),
        shape: pictures.shape().to_vec(),
        data: Data::F32(pictures.iter().map(|&v| v as f32).collect()),
    };
    let file = ModelFile::read(path).unwrap();
    let fitted = input::fit(&[given], &file, &file.image_input().unwrap()).unwrap();
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
    let pictures = pictures();
    let exact =
        forward(&found.variant, StrideIn::Conv3x3, found.classes, &mut source, &pictures, Activation::Relu).unwrap();
    let image = [Dim::Fixed(SIZE), Dim::Fixed(SIZE)];
    let options = Options { image, classes: found.classes.unwrap(), ..Options::classifier(&found.variant) };
    let mut graph = architecture::build(&found.variant, &options).unwrap();
    passes::run(&mut graph, lowering).unwrap();
    let valid = validate(&graph).unwrap();
    let rounded = evaluate(valid, &mut source, &pictures, Activation::Relu).unwrap().remove(0);
    [exact.logits.unwrap(), rounded]
}

/// Relative L2 distance.
fn distance<'a>(found: impl IntoIterator<Item = &'a f64>, exact: &ArrayD<f64>) -> f64 {
    let difference: f64 = found.into_iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum();
    (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt()
}

fn half(keep_io_types: bool, keep_f32: &[&str]) -> Lowering {
    let keep_f32 = keep_f32.iter().map(ToString::to_string).collect();
    Lowering { half: Some(Half { keep_io_types, keep_f32 }), ..Lowering::default() }
}

#[test]
fn what_the_cpu_provider_computes_is_off_by_the_roundings_that_the_file_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    for weights in ["fixtures/checkpoints/resnext_zip.pth", "trained/shapes.safetensors"] {
        let weights = checkpoint(weights);
        for (ends, kept) in [
            (true, &[][..]),
            (true, &["conv1", "layer1.0.conv2", "layer1.0.relu2", "fc"]),
            (false, &[]),
            (false, &["layer2.0.conv2", "fc"]),
        ] {
            let lowering = half(ends, kept);
            std::fs::remove_file(&path).ok();
            build_half(&weights, &path, lowering.clone());
            let [exact, rounded] = exact(&weights, &lowering);
            let (data, found) = logits(&path);
            assert_eq!(matches!(data, Data::F32(_)), ends);
            let (of_weights, beside, all) =
                (distance(&rounded, &exact), distance(&found, &rounded), distance(&found, &exact));
            eprintln!("{} {ends} {kept:?}: {of_weights:.2e} {beside:.2e} {all:.2e}", weights.display());
        }
    }
}
