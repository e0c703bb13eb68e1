//! What people see, as a whole.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use image::{Rgb, RgbImage};
use onnx_file::metadata::Key;
use onnx_file::proto::tensor_proto::DataType;

use super::bench::plan::{Plan, WarmUp};
use super::calibrate::result::{Calibration, Verdict};
use super::compare::tolerance::ToleranceOverride;
use super::eval::classes::Classes;
use super::eval::labelled::Dataset;
use super::outcome::Report;
use super::*;
use crate::host::environment::Environment;
use crate::host::machine::Host;
use crate::input::decode::Exif;
use crate::model::candidate::Candidate;
use crate::model::fake::Fake;
use crate::model::file::ModelFile;
use crate::model::file::tests::{file, value};
use crate::model::opened::{Block, Model, ModelError};
use crate::model::tensor::{Data, Tensor};
use crate::report::{json, markdown, short_names, text};

/// Compares with the snapshot of this name; `cargo insta review` shows what changed.
fn expect(name: &str, found: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, found));
}

fn environment() -> Environment {
    Environment {
        program_version: "0.1.0".into(),
        unix_time_s: 1_700_000_000,
        host: Host {
            platform: "linux x86_64".into(),
            kernel: Some("6.1".into()),
            processor: Some("Some Processor".into()),
            instruction_sets: vec!["avx2".into()],
            usable_processors: 2,
            default_threads: 2,
            memory_bytes: Some(24 << 30),
            gpus: Vec::new(),
        },
        load_average: Some([0.25, 0.5, 1.0]),
        governor: None,
        boost: None,
        virtual_machine: Some(true),
        affinity: None,
        cgroup_processors: None,
        cgroup_memory_bytes: None,
    }
}

/// A file whose path is the same on every machine.
fn model_file() -> ModelFile {
    let properties = [
        (Key::Labels, r#"["red","green","blue"]"#),
        (Key::Preprocess, r#"{"resize":4,"crop":4,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#),
    ];
    let file = file(vec![value("x", DataType::Float, &[-1, 3, 4, 4])], &properties);
    ModelFile { path: PathBuf::from("models/small.onnx"), ..file }
}

/// Scores are the means of the channels, changed by `error`; a run takes `milliseconds`, more or less.
fn candidate<'a>(file: &'a ModelFile, provider: &'a str, error: f32, milliseconds: f64) -> Candidate<'a> {
    let open = move |_: &Path| -> Result<Box<dyn Model + 'a>, ModelError> {
        if provider == "cuda" {
            return Err(ModelError::Unavailable(
                "libcudnn.so.9: cannot open shared object file\nrun setup cuda".into(),
            ));
        }
        let run = move |inputs: &[Tensor]| {
            let Data::F32(values) = &inputs[0].data else { panic!("f32 input") };
            let mean = |plane: &[f32]| plane.iter().sum::<f32>() / 16.0;
            let scores: Vec<f32> =
                values.chunks(16).map(mean).enumerate().map(|(i, s)| s + error * (i % 2) as f32).collect();
            Ok(vec![Tensor { name: "logits".into(), shape: vec![inputs[0].shape[0], 3], data: Data::F32(scores) }])
        };
        let mut runs = 0;
        let clock = move |inputs: &[Tensor], block: Block| {
            let run = |_| {
                runs += 1;
                let jitter = 1.0 + 0.01 * f64::from(runs * 7919 % 101) / 101.0;
                milliseconds / 1e3 * inputs[0].shape[0] as f64 * jitter
            };
            Ok((0..block.max_runs).map(run).collect())
        };
        Ok(Box::new(Fake::new(run).on(provider).clocked(clock)))
    };
    Candidate::of_file(file, provider, Box::new(open))
}

#[test]
fn a_benchmark_reads_well_as_text_markdown_and_csv() {
    let file = model_file();
    let mut candidates = [
        candidate(&file, "cpu", 0.0, 10.0),
        candidate(&file, "openvino", 0.0, 8.0),
        candidate(&file, "cuda", 0.0, 1.0),
        candidate(&file, "tensorrt", 0.0, 10.005),
    ];
    let plan = Plan {
        batches: vec![1, 8],
        min_runs: 100,
        min_seconds: 0.0,
        warmup: WarmUp::Runs(3),
        processes: Some(4),
        percentiles: vec![50.0, 90.0, 99.0],
        ..Plan::default()
    };
    let mut found = super::bench::measurement::bench(&mut candidates, &plan, &AtomicBool::new(false), &mut |_| {});
    found.environment = environment();
    found.notes.clear();
    let document = bench::document::document(&found);
    expect("measure_bench", &text::render(&document, false));
    expect("measure_bench.md", &markdown::render(&document));
    expect("measure_bench.csv", &bench::csv::csv(&found));
}

#[test]
fn a_benchmark_as_json_holds_raw_samples_versions_and_units() {
    let file = model_file();
    let plan = Plan { min_runs: 20, min_seconds: 0.0, warmup: WarmUp::Runs(1), processes: Some(1), ..Plan::default() };
    let mut candidates = [candidate(&file, "cpu", 0.0, 10.0)];
    let found = super::bench::measurement::bench(&mut candidates, &plan, &AtomicBool::new(false), &mut |_| {});
    let json: serde_json::Value = serde_json::from_str(&json::render(&found).unwrap()).unwrap();
    assert_eq!((json["schema_version"].as_u64(), json["kind"].as_str()), (Some(2), Some("bench")));
    let row = &json["rows"][0];
    let samples: usize =
        row["blocks"].as_array().unwrap().iter().map(|b| b["samples_ms"].as_array().unwrap().len()).sum();
    assert_eq!((samples, row["latency_ms"]["n"].as_u64()), (20, Some(20)));
    assert_eq!(row["scope"], "end-to-end");
    assert!(row["latency_ms"]["percentiles"][3]["value"].is_null(), "p99 of 20 samples is not given");
    assert_eq!(json["candidates"][0]["processes"][0]["loaded"]["library_version"], "1.32.0");
    assert!(json["environment"]["host"]["usable_processors"].as_u64().is_some());
}

#[test]
fn a_comparison_reads_well() {
    let file = model_file();
    let input =
        Tensor { name: "x".into(), shape: vec![2, 3, 4, 4], data: Data::F32(crate::input::noise::noise(96, 0)) };
    let request = super::compare::comparison::Request {
        inputs: &[input],
        inputs_source: "noise, seed 0".into(),
        reference: None,
        batch: 2,
        tolerance: ToleranceOverride::default(),
    };
    let mut candidates = [
        candidate(&file, "cpu", 0.0, 1.0),
        candidate(&file, "openvino", 1e-6, 1.0),
        candidate(&file, "cuda", 0.0, 1.0),
        candidate(&file, "tensorrt", 0.01, 1.0),
    ];
    let (mut found, _) = super::compare::comparison::compare(&mut candidates, &request, &mut |_| {});
    found.environment = environment();
    let document = compare::document::document(&found);
    expect("measure_compare", &text::render(&document, false));
    expect("measure_compare.csv", &compare::csv::csv(&found));
}

/// A folder of images whose colour is their class, but one, and a broken one.
fn images() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, colour) in [("red", [250, 10, 10]), ("green", [10, 250, 10]), ("blue", [10, 10, 250])] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        for index in 0..4 {
            let path = folder.path().join(name).join(format!("{index}.png"));
            let colour = if name == "blue" && index == 2 { [120, 110, 100] } else { colour };
            RgbImage::from_pixel(8, 8, Rgb(colour)).save(&path).unwrap();
        }
    }
    std::fs::write(folder.path().join("green/3.png"), b"").unwrap();
    folder
}

#[test]
fn classified_images_read_well() {
    let (file, folder) = (model_file(), images());
    let paths = ["red/0.png", "green/3.png", "blue/2.png"].map(|name| folder.path().join(name));
    let request =
        super::infer::inference::Request { images: &paths, batch: 2, top_k: 2, exif: Exif::Apply, left_out: &[] };
    let mut found =
        super::infer::inference::infer(&mut candidate(&file, "cpu", 0.0, 1.0), &request, &mut |_| {}).unwrap();
    for image in &mut found.images {
        image.path = Path::new(&image.path).strip_prefix(folder.path()).unwrap().display().to_string();
    }
    expect("measure_infer", &text::render(&infer::document::document(&found), false));
    expect("measure_infer.csv", &infer::csv::csv(&found));
}

#[test]
fn an_evaluation_reads_well() {
    let (file, folder) = (model_file(), images());
    let dataset = Dataset::open(folder.path(), None, &Classes::of(&file).unwrap()).unwrap();
    let request = super::eval::evaluation::Request { datasets: vec![&dataset; 2], batch: 4, exif: Exif::Ignore };
    let mut candidates = [candidate(&file, "cpu", 0.0, 1.0), candidate(&file, "openvino", 0.5, 1.0)];
    let mut found =
        super::eval::evaluation::eval(&mut candidates, &request, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let relative = |path: &str| Path::new(path).strip_prefix(folder.path()).unwrap().display().to_string();
    found.environment = environment();
    found.folder = "images".into();
    found.broken.iter_mut().for_each(|broken| broken.path = relative(&broken.path));
    found.pairs[0].differences.iter_mut().for_each(|difference| difference.path = relative(&difference.path));
    found.time = super::eval::result::Spent {
        wall_s: 0.5,
        images_per_second: 24.0,
        threads: 2,
        prepare: crate::input::pipeline::Time { decode_s: 0.3, resize_s: 0.1 },
        run_s: 0.25,
    };
    expect("measure_eval", &text::render(&eval::document::document(&found), false));
    expect("measure_eval.csv", &eval::csv::csv(&found));
}

/// A calibration of a network of three stages.
fn calibration() -> Report<Calibration> {
    use resnext_builder::calibration::{InputSource, Inputs as Fed, Measured, Range};

    use super::calibrate::result::{Elements, Inputs, Value};
    use super::calibrate::weights::Weights;
    use crate::input::broken::{Broken, Defect};
    let value = |stage: &str, node: &str, max: f64, non_finite| Value {
        range: Range {
            name: node.into(),
            node: Some(node.into()),
            op: Some("Conv".into()),
            min: Some(-1.5),
            max: Some(max),
            max_abs: Some(max),
            non_finite,
            histogram: None,
        },
        stage: stage.into(),
    };
    let layer = |n: usize| value("layer1", &format!("layer1.{n}.conv2"), [12.25, 7e4, 3.5, 2.75][n], (n == 3) as u64);
    let values: Vec<Value> = std::iter::once(value("stem", "conv1", 2.0, 0))
        .chain((0..4).map(layer))
        .chain([value("head", "fc", 9.0, 0)])
        .collect();
    let overflowing = vec!["layer1.1.conv2".to_owned(), "layer1.3.conv2".to_owned()];
    let file = model_file();
    let calibration = Calibration {
        model: Measured { file: "small.onnx".into(), sha256: "ab".into(), origin: file.origin().unwrap() },
        inputs: Inputs {
            fed: Fed { source: InputSource::Images, count: 300, seed: None },
            broken: vec![Broken { path: "ring/3.jpg".into(), reason: Defect::Empty }],
            oriented: vec![],
        },
        provider: "cpu".into(),
        loaded: Fake::new(|_| Ok(vec![])).loaded,
        values,
        elements: Elements { count: 1000, below_f16_normal: 13 },
        weights: Weights {
            count: 5000,
            max_abs: Some(1.5),
            largest: Some("conv1.weight".into()),
            below_f16_normal: 25,
            ..Weights::default()
        },
        verdict: Verdict {
            f16_safe: false,
            largest: Some(7e4),
            headroom: Some(65_504.0 / 7e4),
            keep_f32: vec!["layer1.1.conv2".into(), "layer1.1.relu2".into()],
            overflowing,
            keep_io_types: false,
            unfixable: true,
        },
        may_be_int8: true,
    };
    Report { notes: vec![crate::note::Note::SumsUnseen], ..Report::of(environment(), calibration) }
}

#[test]
fn a_calibration_reads_well() {
    let mut found = calibration();
    expect("measure_calibrate", &text::render(&calibrate::document::document(&found), false));
    expect("measure_calibrate.csv", &calibrate::csv::csv(&found));
    let last = |found: &Report<Calibration>| {
        text::render(&calibrate::document::document(found), false).trim().lines().last().unwrap().to_owned()
    };
    found.verdict =
        Verdict { f16_safe: true, headroom: Some(1.25), overflowing: vec![], ..found.result.verdict.clone() };
    assert_eq!(
        last(&found),
        "f16 holds these inputs with a headroom of 1.25, below 8: more inputs tell whether that is enough"
    );
    found.verdict.headroom = Some(512.0);
    assert_eq!(last(&found), "f16 is safe for these inputs: headroom 512");
}

#[test]
fn what_no_flag_fixes_is_told_and_a_weight_that_no_node_takes_is_no_node() {
    let text = |found: &Report<Calibration>| text::render(&calibrate::document::document(found), false);
    let mut found = calibration();
    assert!(text(&found).contains("--keep-f32") && text(&found).contains("these flags do not fix that"));
    found.verdict.unfixable = false;
    assert!(!text(&found).contains("fix"), "{}", text(&found));
    found.verdict = Verdict { overflowing: vec![], keep_f32: vec![], ..found.result.verdict.clone() };
    found.weights.overflowing = vec!["table".into()];
    let said = text(&found);
    assert!(said.contains("f16 is not safe: 1 weight tensor goes beyond its range"), "{said}");
    assert!(said.contains("no node of the main graph takes these weights") && !said.contains("fix"), "{said}");
}

#[test]
fn failures_are_in_the_tables_too() {
    let (file, folder) = (model_file(), images());
    let dataset = Dataset::open(folder.path(), None, &Classes::of(&file).unwrap()).unwrap();
    let request = super::eval::evaluation::Request { datasets: vec![&dataset; 3], batch: 4, exif: Exif::Ignore };
    let mut candidates = ["cpu", "cuda", "openvino"].map(|provider| candidate(&file, provider, 0.0, 1.0));
    candidates[2] = candidate(&file, "openvino", f32::NAN, 1.0);
    let found = super::eval::evaluation::eval(&mut candidates, &request, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let csv = eval::csv::csv(&found);
    for said in ["cuda,models/small.onnx,,,,,,,,,,libcudnn", "3.png: the file is empty", "NaN or infinite"] {
        assert!(csv.contains(said), "{said}: {csv}");
    }
    let text = text::render(&eval::document::document(&found), false);
    assert!(text.contains("openvino small.onnx failed") && text.contains("of 11 images; it has no accuracy"), "{text}");
    assert!(text.contains("there is no image that both evaluated"), "{text}");
    let paths = ["red/0.png", "blue/2.png"].map(|name| folder.path().join(name));
    let request =
        super::infer::inference::Request { images: &paths, batch: 1, top_k: 1, exif: Exif::Apply, left_out: &[] };
    let mut found =
        super::infer::inference::infer(&mut candidate(&file, "cpu", 0.0, 1.0), &request, &mut |_| {}).unwrap();
    found.error = Some(ModelError::Crashed("signal 9".into()));
    assert!(infer::csv::csv(&found).contains(",,,,,,signal 9"), "{}", infer::csv::csv(&found));
}

#[test]
fn models_are_called_by_file_name_unless_two_share_it() {
    let names = short_names(["a/m.onnx", "b/m.onnx", "c/other.onnx", "c/other.onnx"].into_iter());
    assert_eq!(names["a/m.onnx"], "a/m.onnx");
    assert_eq!(names["c/other.onnx"], "other.onnx");
}

#[test]
fn an_interrupt_before_any_result_is_told_by_the_exit_code_and_one_after_is_not() {
    let file = model_file();
    let plan = Plan { min_runs: 20, min_seconds: 0.0, warmup: WarmUp::Runs(1), processes: Some(1), ..Plan::default() };
    let measured = |stopped: bool| {
        let mut candidates = [candidate(&file, "cpu", 0.0, 10.0)];
        super::bench::measurement::bench(&mut candidates, &plan, &AtomicBool::new(stopped), &mut |_| {})
    };
    let code = |exit: onnx_file::exit::Exit| format!("{:?}", std::process::ExitCode::from(exit));
    let stopped = measured(true);
    assert!(stopped.interrupted);
    assert_eq!(format!("{:?}", stopped.exit_code()), code(onnx_file::exit::Exit::Interrupted));
    let mut whole = measured(false);
    whole.interrupted = true;
    assert_eq!(format!("{:?}", whole.exit_code()), code(onnx_file::exit::Exit::Success));
}
