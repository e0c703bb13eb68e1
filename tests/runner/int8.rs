//! int8 files on onnxruntime: that they run wholly in integers, what they lose, and that every form makes the same bits.
#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::runner::{launcher, library, program, spec, stderr};
use onnx_file::metadata::{Key, Labels, Metadata};
use onnx_file::proto::ModelProto;
use ort::session::builder::SessionBuilder;
use prost::Message as _;
use resnext_builder::build::{Destination, External, LabelsChoice, Plan, PreprocessChoice, Weights, build};
use resnext_builder::cli::PrecisionArgs;
use resnext_builder::graph::Dim;
use resnext_builder::optimize;
use resnext_builder::precision::Dtype;
use resnext_builder::target::{Rationale, Target};
use resnext_builder::weight::WeightRange;
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::backend::onnxruntime::runtime::{self, Runtime};
use resnext_runner::input::noise::noise;
use resnext_runner::model::file::ModelFile;
use resnext_runner::model::opened::Model;
use resnext_runner::model::tensor::{Data, Tensor};
use serde_json::Value;

fn trained(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/trained").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The trained network in `dtype` for `target`, at `path`.
fn shapes(path: &Path, target: Target, precision: &PrecisionArgs) {
    let mut plan = Plan::new(None, Weights::File(trained("shapes.safetensors")), Destination::File(path.to_owned()));
    let read = |name: &str| fs::read_to_string(trained(name)).expect(name);
    plan.force = true;
    plan.image = Some([Dim::Fixed(64), Dim::Fixed(64)]);
    plan.labels = LabelsChoice::Given(Labels::parse(&read("labels.txt")));
    plan.preprocess = PreprocessChoice::Given(serde_json::from_str(&read("preprocess.json")).expect("preprocessing"));
    plan.lowering = target.lowering(precision.dtype);
    plan.rationale = Rationale::of(target, precision.dtype);
    (plan.lowering.precision, plan.calibration) = precision.choose(target).expect("a precision");
    build(&plan, &mut |_| {}).expect("built");
}

fn int8(ranges: &Path) -> PrecisionArgs {
    PrecisionArgs { dtype: Dtype::Int8, calibration: Some(ranges.to_owned()), ..PrecisionArgs::default() }
}

/// Runs the program on onnxruntime's own library; its JSON.
#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let mut command = Command::new(program());
    let output = command.args(arguments).arg("--ort-lib").arg(library(Package::Cpu).path).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The trained network in f32, and its ranges on every second held-out image from the one at `first` on.
fn calibrated(folder: &Path, first: usize) -> (PathBuf, PathBuf) {
    let (model, ranges) = (folder.join("f32.onnx"), folder.join(format!("ranges{first}.json")));
    shapes(&model, Target::Portable, &PrecisionArgs::default());
    let images = every_second(folder, &format!("calibrate{first}"), first);
    let found = json(&["calibrate", text(&model), "--images", text(&images), "--batch-size", "16", "--json"]);
    fs::write(&ranges, found.to_string()).expect("written");
    (model, ranges)
}

/// Links to every second held-out image of each class.
fn every_second(folder: &Path, name: &str, first: usize) -> PathBuf {
    let root = folder.join(name);
    for class in fs::read_dir(trained("heldout")).expect("images").map(|entry| entry.expect("a class").path()) {
        let to = root.join(class.file_name().expect("a name"));
        fs::create_dir_all(&to).expect("a folder");
        let mut images: Vec<PathBuf> =
            fs::read_dir(&class).expect("a class").map(|e| e.expect("a file").path()).collect();
        images.sort();
        for image in images.iter().skip(first).step_by(2) {
            std::os::unix::fs::symlink(image, to.join(image.file_name().expect("a name"))).expect("a link");
        }
    }
    root
}

/// The operators of a model as onnxruntime's CPU provider runs it, its fusions made.
fn fused(folder: &Path, model: &Path) -> BTreeMap<String, usize> {
    // A process has one environment.
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| runtime::load(&library(Package::Cpu).path, false).expect("a library"));
    let optimised = folder.join("optimised.onnx");
    let builder = SessionBuilder::new(&runtime.environment).expect("a builder");
    let builder = builder.with_optimized_model_path(&optimised).expect("a path");
    builder.with_intra_threads(1).expect("threads").commit_from_file(model).expect("a session");
    let model = ModelProto::decode(fs::read(&optimised).expect("a file").as_slice()).expect("ONNX");
    let mut counts = BTreeMap::new();
    for node in model.graph.expect("a graph").node {
        *counts.entry(node.op_type).or_insert(0) += 1;
    }
    counts
}

/// What a model makes of `images` seeded images, of its own size.
fn logits(path: &Path, images: usize) -> Vec<f32> {
    let file = ModelFile::read(path).expect("a model");
    let image = file.image_input().expect("an image");
    let mut model = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path)).expect("it loads");
    let (height, width) = (image.height.unwrap_or(64), image.width.unwrap_or(64));
    let images = image.batch.unwrap_or(images);
    let data = Data::F32(noise(images * 3 * height * width, 11));
    let input = Tensor { name: image.name, shape: vec![images, 3, height, width], data };
    match model.run(&[input]).expect("it runs").remove(0).data {
        Data::F32(logits) => logits,
        other => panic!("{:?} instead of f32", other.element_type()),
    }
}

/// L2 of the difference over L2 of the first.
fn distance(exact: &[f32], found: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    norm(&mut exact.iter().zip(found).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied())
}

#[test]
fn every_multiplication_runs_in_integers_and_every_form_makes_the_same_bits() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (_, ranges) = calibrated(folder.path(), 0);
    let mut all: Vec<Vec<f32>> = Vec::new();
    for target in [Target::Portable, Target::OpenVino, Target::CpuAvx512, Target::CpuAvx2] {
        let path = folder.path().join(format!("{}.onnx", target.name()));
        shapes(&path, target, &int8(&ranges));
        let counts = fused(folder.path(), &path);
        let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
        assert_eq!((of("Conv") + of("FusedConv") + of("Gemm"), of("QGemm"), of("QLinearAdd")), (0, 1, 7), "{counts:?}");
        // Five grouped convolutions of 8 groups of 2 to 16 channels: as they are, or as several of one group.
        let several = matches!(target, Target::CpuAvx512 | Target::CpuAvx2);
        assert_eq!(of("QLinearConv") > 26, several, "{counts:?}");
        assert!(of("QLinearConv") >= 26 && of("QLinearGlobalAveragePool") == 1, "{counts:?}");
        all.push(logits(&path, 3));
    }
    assert!(all.iter().all(|logits| *logits == all[0]));
}

#[test]
fn half_of_the_images_calibrate_and_of_the_other_half_hardly_one_is_lost() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut lost = BTreeMap::new();
    for first in [0, 1] {
        let (f32_model, ranges) = calibrated(folder.path(), first);
        let judged = every_second(folder.path(), &format!("eval{first}"), 1 - first);
        let mut models = vec![f32_model];
        for (name, target, range) in [
            ("cpu", Target::CpuAvx512, WeightRange::PairSafe),
            ("openvino", Target::OpenVino, WeightRange::PairSafe),
            ("tensorrt", Target::TensorRt, WeightRange::Full),
            ("7bit", Target::Portable, WeightRange::SevenBit),
        ] {
            let path = folder.path().join(format!("{name}{first}.onnx"));
            shapes(&path, target, &PrecisionArgs { weight_range: Some(range), ..int8(&ranges) });
            models.push(path);
        }
        let mut arguments = vec!["eval"];
        arguments.extend(models.iter().map(|path| text(path)));
        arguments.extend([text(&judged), "--json"]);
        let found = json(&arguments);
        let right = |index: usize| found["candidates"][index]["top1"]["successes"].as_u64().expect("a count");
        assert_eq!(found["candidates"][0]["top1"]["trials"].as_u64(), Some(if first == 0 { 144 } else { 156 }));
        for index in 1..models.len() {
            *lost.entry(index).or_insert(0) += right(0) as i64 - right(index) as i64;
        }
    }
    assert!(lost.values().all(|lost| *lost <= 2), "of 300 images: {lost:?}");
}

#[test]
fn the_file_is_a_quarter_says_what_it_is_and_is_the_same_each_time() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (f32_model, ranges) = calibrated(folder.path(), 0);
    let path = folder.path().join("int8.onnx");
    let write = |range| {
        let precision = PrecisionArgs { weight_range: range, ..int8(&ranges) };
        let _ = fs::remove_file(&path);
        shapes(&path, Target::OpenVino, &precision);
        fs::read(&path).expect("a file")
    };
    let bytes = write(None);
    assert_eq!(bytes, write(None));
    let size = |path: &Path| fs::metadata(path).expect("a file").len() as f64;
    // Of 0.4 million weights; the rest is scales and nodes.
    assert!(size(&path) / size(&f32_model) < 0.33, "{}", size(&path) / size(&f32_model));
    let says = |bytes: &[u8], key| {
        let model = ModelProto::decode(bytes).expect("ONNX");
        Metadata::of(&model).get(key).expect("said").to_owned()
    };
    assert_eq!(says(&bytes, Key::Dtype), "int8");
    assert!(says(&bytes, Key::Int8Weights).contains("no sum of two products leaves 16 bits"));
    assert!(says(&bytes, Key::Int8Activations).contains("ranges of 156 images"));
    assert!(says(&write(Some(WeightRange::Full)), Key::Int8Weights).contains("without VNNI"));
}

#[test]
fn a_calibration_of_other_weights_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (_, ranges) = calibrated(folder.path(), 0);
    let changed = fs::read_to_string(&ranges).expect("ranges").replace("\"source_sha256\":\"", "\"source_sha256\":\"0");
    fs::write(&ranges, changed).expect("written");
    let path = folder.path().join("int8.onnx");
    let mut plan = Plan::new(None, Weights::File(trained("shapes.safetensors")), Destination::File(path.clone()));
    plan.image = Some([Dim::Fixed(64), Dim::Fixed(64)]);
    (plan.lowering.precision, plan.calibration) = int8(&ranges).choose(Target::Portable).expect("a precision");
    let refused = build(&plan, &mut |_| {}).expect_err("another network");
    assert!(refused.to_string().contains("was measured on"), "{refused}");
    assert!(!path.exists());
}

#[test]
fn quantize_measures_what_it_loses_and_fails_where_that_may_be_too_much() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (model, output) = (folder.path().join("f32.onnx"), folder.path().join("int8.onnx"));
    shapes(&model, Target::Portable, &PrecisionArgs::default());
    let heldout = trained("heldout");
    let quantize = |images: &Path, most: &[&str]| {
        let mut command = Command::new(program());
        command.args(["quantize", text(&model), "--images", text(images), "-o", text(&output), "--force", "--json"]);
        let output = command.arg("--max-loss").args(most).arg("--ort-lib").arg(library(Package::Cpu).path).output();
        let output = output.expect("it starts");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), found, stderr(&output))
    };
    let (code, found, said) = quantize(&heldout, &["4"]);
    assert_eq!((code, &found["exceeded"]), (Some(0), &Value::Bool(false)), "{said}{found}");
    let accuracy = &found["accuracy"];
    assert_eq!((accuracy["labelled"].as_bool(), accuracy["images"].as_u64()), (Some(true), Some(150)), "{accuracy}");
    assert!(accuracy["loss_points"].as_f64() < accuracy["loss_bound_points"].as_f64(), "{accuracy}");
    let (share, covered) = (found["int8_coverage"]["share"].as_f64(), found["not_covered"].as_bool());
    assert_eq!((share, covered), (Some(1.0), Some(false)), "{}", found["int8_coverage"]);
    // 150 images show no loss below a point.
    let (code, found, said) = quantize(&heldout, &["0.5"]);
    assert_eq!((code, &found["exceeded"]), (Some(1), &Value::Bool(true)), "{said}{found}");
    // Without class folders the answers of the f32 file are what counts.
    let (code, found, said) = quantize(&heldout.join("star"), &["100"]);
    assert_eq!((code, found["accuracy"]["labelled"].as_bool()), (Some(0), Some(false)), "{said}{found}");
    assert_eq!(found["accuracy"]["images"].as_u64(), Some(12));
    assert_eq!(fused(folder.path(), &output).get("Conv"), None);
    // What is kept by request is not missed; where nothing becomes an integer kernel, all is.
    let kept = ["100", "--keep-f32", "layer1.0.conv1"];
    let (code, found, said) = quantize(&heldout, &kept);
    assert_eq!((code, found["not_covered"].as_bool()), (Some(0), Some(false)), "{said}{found}");
    let float = |node: &&Value| !node["float"].is_null();
    let nodes = found["int8_coverage"]["nodes"].as_array().expect("nodes").iter().filter(float);
    assert_eq!(nodes.map(|node| node["name"].as_str()).collect::<Vec<_>>(), [Some("layer1.0.conv1")]);
    assert_eq!(found["int8_coverage"]["nodes"][2]["float"]["code"], "weights-not-quantized", "{found}");
    let off = ["100", "--session-config", "session.disable_quant_qdq=1"];
    let (code, found, said) = quantize(&heldout.join("star"), &off);
    assert_eq!((code, found["not_covered"].as_bool()), (Some(1), Some(true)), "{said}{found}");
}

/// The histograms are counts on one grid: they, and what follows from them, do not depend on how images are divided.
#[test]
fn ranges_of_every_method_are_the_same_whatever_the_batch_and_the_threads() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = folder.path().join("f32.onnx");
    shapes(&model, Target::Portable, &PrecisionArgs::default());
    let images = trained("heldout").join("star");
    let measured = |batch: &str, threads: &str| {
        let more = ["--batch-size", batch, "--threads", threads, "--json"];
        json(&[&["calibrate", text(&model), "--images", text(&images)], &more[..]].concat())
    };
    let (one, several) = (measured("1", "1"), measured("7", "2"));
    let counts = |found: &Value| -> Vec<f64> {
        let sum = |side: &Value| side.as_array().expect("counts").iter().filter_map(Value::as_f64).sum::<f64>();
        let of = |value: &Value| {
            let found = &value["histogram"];
            found["zeros"].as_f64().expect("zeros") + sum(&found["negative"]) + sum(&found["positive"])
        };
        found["values"].as_array().expect("values").iter().map(of).collect()
    };
    assert_eq!(counts(&one), counts(&several));
    // The image goes in alike; inside, a batch of another size may be summed in another order.
    assert_eq!(one["values"][0]["histogram"], several["values"][0]["histogram"]);
    let ranges = folder.path().join("ranges.json");
    fs::write(&ranges, one.to_string()).expect("written");
    let mut files = BTreeSet::new();
    for method in ["min-max", "percentile=99.9", "mse", "entropy"] {
        let path = folder.path().join("int8.onnx");
        let write = || {
            let _ = fs::remove_file(&path);
            let range_method = Some(method.parse().expect("a method"));
            shapes(&path, Target::Portable, &PrecisionArgs { range_method, ..int8(&ranges) });
            fs::read(&path).expect("a file")
        };
        let bytes = write();
        assert_eq!(bytes, write(), "{method}");
        let said = Metadata::of(&ModelProto::decode(bytes.as_slice()).expect("ONNX"))
            .get(Key::Int8Activations)
            .map(str::to_owned);
        assert!(said.expect("said").ends_with(method), "{method}");
        files.insert(bytes);
    }
    assert_eq!(files.len(), 4, "each method makes another file");
}

/// torch's exports, in integers by `optimize`.
#[test]
fn others_files_become_integers_wherever_there_is_a_rule() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, convolutions, left) in [
        ("resnext_torchscript", 20, &[][..]),
        ("resnext_unfolded", 20, &[]),
        ("resnet_torchscript", 9, &[]),
        ("resnext_dynamo", 20, &[]),
        ("regnet_torchscript", 18, &["Mul", "Sigmoid"]),
    ] {
        let input = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/fixtures/exports/{name}.onnx"));
        let ranges = folder.path().join(format!("{name}.json"));
        let found = json(&["calibrate", text(&input), "--count", "4", "--json"]);
        fs::write(&ranges, found.to_string()).expect("written");
        for target in [Target::Portable, Target::CpuAvx512] {
            let output = folder.path().join(format!("{name}-{}.onnx", target.name()));
            let mut lowering = target.lowering(Dtype::Int8);
            (lowering.precision, _) = int8(&ranges).choose(target).expect("a precision");
            let plan = optimize::Plan {
                input: input.clone(),
                output: output.clone(),
                force: false,
                lowering,
                rationale: Rationale::of(target, Dtype::Int8),
                external: External::default(),
                data_name: None,
                ends: Default::default(),
                calibration: Some(resnext_builder::calibration::Calibration::read(&ranges).expect("ranges")),
                constant_initializers: false,
                labels: LabelsChoice::default(),
                preprocess: PreprocessChoice::default(),
                files: Vec::new(),
            };
            let done = optimize::optimize(&plan).expect("quantized");
            let declined: BTreeSet<&str> = done.declined.iter().map(|declined| declined.op.as_str()).collect();
            let unexpected =
                declined.iter().filter(|op| !left.contains(op) && **op != "Relu" && **op != "Conv").count();
            assert_eq!(unexpected, 0, "{name}: {:?}", done.declined);
            let counts = fused(folder.path(), &output);
            let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
            assert_eq!((of("Conv") + of("FusedConv") + of("Gemm"), of("QGemm")), (0, 1), "{name} {counts:?}");
            assert!(of("QLinearConv") >= convolutions, "{name} {counts:?}");
            let far = distance(&logits(&input, 2), &logits(&output, 2));
            assert!((1e-4..0.1).contains(&far), "{name}: {far}");
        }
    }
}
