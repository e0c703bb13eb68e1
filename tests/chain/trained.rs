//! The network of `trained/` on its held-out images: what the program makes of the same files as torch.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::common::runner::{launcher, library, spec};
use onnx_file::metadata::Labels;
use resnext_builder::build::{Destination, LabelsChoice, Plan, PreprocessChoice, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::precision::{Half, Precision};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::input::decode::Exif;
use resnext_runner::model::candidate::Candidate;
use resnext_runner::model::file::ModelFile;
use resnext_runner::model::opened::Model;
use resnext_runner::verb::eval::classes::Classes;
use resnext_runner::verb::eval::evaluation as eval;
use resnext_runner::verb::eval::labelled::Dataset;
use resnext_runner::verb::eval::result::Evaluation;
use resnext_runner::verb::infer::inference as infer;
use resnext_runner::verb::infer::inference::Inference;
use resnext_runner::verb::outcome::Report;
use serde_json::Value;

/// Largest difference of a logit that another JPEG decoder makes; a margin beyond twice that decides a class.
const DECODERS: f64 = 0.25;

fn trained(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/trained").join(name)
}

/// Builds the trained network with its labels and preprocessing.
fn model(folder: &Path) -> ModelFile {
    model_in(folder, "shapes.onnx", Precision::F32)
}

/// The same, in f16 where `precision` says so.
fn model_in(folder: &Path, name: &str, precision: Precision) -> ModelFile {
    let path = folder.join(name);
    let weights = Weights::File(trained("shapes.safetensors"));
    let mut plan = Plan::new(None, weights, Destination::File(path.clone()));
    let text = |name: &str| std::fs::read_to_string(trained(name)).expect(name);
    plan.image = Some([Dim::Fixed(64), Dim::Fixed(64)]);
    plan.labels = LabelsChoice::Given(Labels::parse(&text("labels.txt")));
    plan.preprocess = PreprocessChoice::Given(serde_json::from_str(&text("preprocess.json")).expect("preprocessing"));
    plan.lowering.precision = precision;
    build(&plan, &mut |_| {}).expect("built");
    ModelFile::read(&path).expect("a model")
}

fn on_cpu(file: &ModelFile) -> Candidate<'_> {
    let open = |path: &Path| {
        let worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path))?;
        Ok(Box::new(worker) as Box<dyn Model>)
    };
    Candidate::of_file(file, "cpu", Box::new(open))
}

/// What torch made of the held-out images.
struct Expected {
    files: Vec<PathBuf>,
    logits: Vec<Vec<f64>>,
    right: usize,
    in_top5: usize,
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(trained("expected.json")).expect("expected.json");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let images = all["images"].as_array().expect("images");
    let logits = |image: &Value| -> Vec<f64> {
        image["logits"].as_array().expect("logits").iter().map(|logit| logit.as_f64().expect("a number")).collect()
    };
    let file = |image: &Value| trained("heldout").join(image["file"].as_str().expect("a file"));
    Expected {
        files: images.iter().map(file).collect(),
        logits: images.iter().map(logits).collect(),
        right: all["top1_correct"].as_u64().expect("a count") as usize,
        in_top5: all["top5_correct"].as_u64().expect("a count") as usize,
    }
}

fn best_two(logits: &[f64]) -> (usize, f64) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    (order[0], logits[order[0]] - logits[order[1]])
}

fn inferred(file: &ModelFile, images: &[PathBuf], batch: usize) -> Report<Inference> {
    let request = infer::Request { images, batch, top_k: 12, exif: Exif::Apply, left_out: &[] };
    infer::infer(&mut on_cpu(file), &request, &mut |_| {}).expect("classified")
}

fn evaluated(file: &ModelFile, batch: usize) -> Report<Evaluation> {
    let classes = Classes::of(file).expect("classes");
    let dataset = Dataset::open(&trained("heldout"), None, &classes).expect("a data set");
    let request = eval::Request { datasets: vec![&dataset], batch, exif: Exif::Ignore };
    eval::eval(&mut [on_cpu(file)], &request, &AtomicBool::new(false), &mut |_| {}).expect("evaluated")
}

#[test]
fn from_the_same_files_the_classes_are_torchs_and_the_logits_differ_by_the_decoders_noise() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let expected = expected();
    let found = inferred(&model(folder.path()), &expected.files, 16);
    assert_eq!(found.images.len(), 300);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let mut largest: f64 = 0.0;
    for (image, logits) in found.images.iter().zip(&expected.logits) {
        for class in &image.top {
            largest = largest.max((class.score.expect("a score") - logits[class.index]).abs());
        }
        let (class, margin) = best_two(logits);
        if margin > 2.0 * DECODERS {
            assert_eq!(image.top[0].index, class, "{} with a margin of {margin}", image.path);
        }
    }
    assert!(largest <= DECODERS, "a logit differs by {largest}");
}

#[test]
fn the_accuracy_is_torchs_to_one_image_at_any_batch_size() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (file, expected) = (model(folder.path()), expected());
    let found = evaluated(&file, 7);
    let one = &found.candidates[0];
    let (top1, top5) = (one.top1.expect("top-1"), one.top5.expect("top-5"));
    assert_eq!((top1.trials, found.broken.len()), (300, 0));
    assert!(top1.successes.abs_diff(expected.right) <= 1, "{} against torch's {}", top1.successes, expected.right);
    assert!(top5.successes.abs_diff(expected.in_top5) <= 1, "{} against torch's {}", top5.successes, expected.in_top5);
    assert_eq!(evaluated(&file, 64).candidates[0].top1, one.top1);
    assert_eq!(one.classes.len(), 12);
    assert!(one.classes.iter().all(|class| class.images == 25 && class.label.is_some()));
}

#[test]
fn in_f16_the_accuracy_is_that_of_f32_to_one_image() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let f32_right = evaluated(&model(folder.path()), 32).candidates[0].top1.expect("top-1").successes;
    let keep = |nodes: &[&str]| nodes.iter().map(ToString::to_string).collect();
    for (name, half) in [
        ("f16.onnx", Half::default()),
        ("ends.onnx", Half { keep_io_types: true, ..Half::default() }),
        ("kept.onnx", Half { keep_io_types: false, keep_f32: keep(&["conv1", "layer2.0.conv2", "fc"]) }),
    ] {
        let found = evaluated(&model_in(folder.path(), name, Precision::F16(half)), 32);
        let one = &found.candidates[0];
        let right = one.top1.expect("top-1").successes;
        assert_eq!((one.top1.expect("top-1").trials, found.broken.len()), (300, 0));
        assert!(right.abs_diff(f32_right) <= 1, "{name}: {right} of 300 right, {f32_right} in f32");
    }
}
