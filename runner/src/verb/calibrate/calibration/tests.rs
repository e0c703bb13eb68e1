//! Calibration of a network that is a closure.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use onnx_file::metadata::{Key, Weights};
use onnx_file::proto::tensor_proto::DataType;
use onnx_file::proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use prost::Message;

use super::*;
use crate::input::decode::Exif;
use crate::input::noise::noise;
use crate::model::fake::Fake;
use crate::model::file::tests::value;
use crate::model::tensor::{Data, Tensor};
use crate::verb::calibrate::inputs::spread;
use crate::verb::compare::boundary::tests::node;

/// x -> conv1 -> c -> layer1.0 -> r -> shape -> s, fc -> logits, of images of 4x4 pixels.
fn network(folder: &Path, batch: i64) -> ModelFile {
    let graph = GraphProto {
        node: vec![
            node("Conv", "conv1", &["x", "w"], "c"),
            node("Relu", "layer1.0", &["c"], "r"),
            node("Shape", "shape", &["r"], "s"),
            node("Gemm", "fc", &["r", "v"], "logits"),
        ],
        input: vec![value("x", DataType::Float, &[batch, 3, 4, 4])],
        output: vec![value("logits", DataType::Float, &[batch, 3])],
        ..Default::default()
    };
    let entry = |key: Key, value: &str| StringStringEntryProto { key: key.name().into(), value: value.into() };
    let preprocess = r#"{"resize":4,"crop":4,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#;
    let model = ModelProto {
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        metadata_props: vec![entry(Key::Preprocess, preprocess), entry(Key::WeightsSha256, "abc")],
        ..Default::default()
    };
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    ModelFile::read(&path).unwrap()
}

/// `c` is twice the input, `r` its positive part, `s` a shape; `logits` are 0. `change` may spoil `c`.
fn run(inputs: &[Tensor], change: impl Fn(&mut Vec<f32>)) -> Vec<Tensor> {
    let Data::F32(x) = &inputs[0].data else { panic!("f32 input") };
    let shape = inputs[0].shape.clone();
    let mut c: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    change(&mut c);
    let r: Vec<f32> = c.iter().map(|c| c.max(0.0)).collect();
    let tensor = |name: &str, shape: &[usize], data| Tensor { name: name.into(), shape: shape.to_vec(), data };
    vec![
        tensor("logits", &[shape[0], 3], Data::F32(vec![0.0; shape[0] * 3])),
        tensor("c", &shape, Data::F32(c)),
        tensor("r", &shape, Data::F32(r)),
        tensor("s", &[4], Data::I64(vec![1; 4])),
    ]
}

/// Calibrates, stopping after `stop_after` runs; returns the sizes of batches, too.
fn calibrated(
    file: &ModelFile,
    inputs: Source<'_>,
    batch: usize,
    stop_after: usize,
    change: impl Fn(&mut Vec<f32>) + Copy,
) -> (Result<Report<Calibration>, CalibrateError>, Vec<usize>) {
    let (sizes, stop) = (RefCell::new(Vec::new()), AtomicBool::new(stop_after == 0));
    let (seen, stopped) = (&sizes, &stop);
    let open = move |path: &Path| -> Result<Box<dyn crate::model::opened::Model + '_>, ModelError> {
        let outputs = ModelFile::read(path).unwrap().outputs;
        let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["logits", "c", "r", "s"], "all values are outputs");
        Ok(Box::new(Fake::new(move |inputs| {
            seen.borrow_mut().push(inputs[0].shape[0]);
            stopped.store(seen.borrow().len() >= stop_after, Ordering::Relaxed);
            Ok(run(inputs, change))
        })))
    };
    let mut candidate = Candidate::of_file(file, "cpu", Box::new(open));
    let found = calibrate(&mut candidate, &Request { inputs, batch, exif: Exif::Apply }, &stop, &mut |_| {});
    drop(candidate);
    (found, sizes.into_inner())
}

const SEEDED: Source<'_> = Source::Seeded { count: 5, seed: 3 };

#[test]
fn ranges_do_not_depend_on_how_inputs_are_batched() {
    let folder = tempfile::tempdir().unwrap();
    let expected = noise(5 * 48, 3).into_iter().map(|x| f64::from(2.0 * x));
    let (low, high) = (expected.clone().fold(0.0, f64::min), expected.fold(0.0, f64::max));
    for (fixed, batch, sizes) in [(-1, 1, vec![1; 5]), (-1, 2, vec![2, 2, 1]), (-1, 8, vec![5]), (2, 9, vec![2, 2, 2])]
    {
        let (found, seen) = calibrated(&network(folder.path(), fixed), SEEDED, batch, 99, |_| {});
        let found = found.unwrap();
        assert_eq!(seen, sizes);
        let names: Vec<&str> = found.values.iter().map(|value| value.range.name.as_str()).collect();
        assert_eq!(names, ["x", "c", "r", "logits"], "the order of the graph, without the shape");
        let ends = |index: usize| [found.values[index].range.min, found.values[index].range.max];
        assert_eq!(ends(0), [Some(low / 2.0), Some(high / 2.0)]);
        assert_eq!((ends(1), ends(2)), ([Some(low), Some(high)], [Some(0.0), Some(high)]));
        assert_eq!(found.elements.count, 5 * (48 + 48 + 3), "fillings do not count");
        assert_eq!((found.inputs.count(), found.inputs.fed.seed, found.interrupted), (5, Some(3), false));
        assert!(found.verdict.f16_safe);
        assert!(found.notes.contains(&Note::NoRange { count: 1 }), "{:?}", found.notes);
        assert_eq!(found.model.origin.weights, Some(Weights::Checkpoint { sha256: "abc".into() }));
    }
}

#[test]
fn a_value_that_is_nan_once_is_unsafe_and_keeps_the_range_of_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let spoil = |c: &mut Vec<f32>| c[7] = f32::NAN;
    let (found, _) = calibrated(&network(folder.path(), -1), SEEDED, 2, 99, spoil);
    let found = found.unwrap();
    assert_eq!(found.values[1].range.non_finite, 3, "once in each of three runs");
    assert!(found.values[1].range.max_abs.is_some_and(|largest| largest > 1.0));
    assert_eq!((found.verdict.f16_safe, found.result.verdict.overflowing), (false, vec!["conv1".to_owned()]));
}

#[test]
fn a_value_beyond_f16_is_named_with_those_who_take_it() {
    let folder = tempfile::tempdir().unwrap();
    let spoil = |c: &mut Vec<f32>| c[7] = -70_000.0;
    let (found, _) = calibrated(&network(folder.path(), -1), SEEDED, 2, 99, spoil);
    let verdict = found.unwrap().result.verdict;
    assert_eq!((verdict.largest, verdict.f16_safe), (Some(70_000.0), false));
    assert_eq!(
        (verdict.overflowing, verdict.keep_f32),
        (vec!["conv1".into()], vec!["conv1".into(), "layer1.0".into()])
    );
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let save = |level: u8| {
        let path = folder.join(format!("{level}.png"));
        RgbImage::from_pixel(4, 4, Rgb([level; 3])).save(&path).unwrap();
        path
    };
    [51, 102, 204].map(save).to_vec()
}

#[test]
fn broken_images_are_named_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (file, images) = (network(folder.path(), -1), images(folder.path()));
    for broken in 0..3 {
        let before = std::fs::read(&images[broken]).unwrap();
        std::fs::write(&images[broken], b"").unwrap();
        let (found, sizes) = calibrated(&file, Source::Images(&images), 2, 99, |_| {});
        let found = found.unwrap();
        assert_eq!((found.inputs.count(), sizes), (2, vec![2]));
        assert_eq!(found.inputs.broken.len(), 1);
        assert!(found.inputs.broken[0].path.ends_with(images[broken].file_name().unwrap().to_str().unwrap()));
        let expected = if broken == 2 { 0.8 } else { 1.6 };
        assert!((found.values[1].range.max.unwrap() - expected).abs() < 1e-6, "{:?}", found.values[0]);
        std::fs::write(&images[broken], before).unwrap();
    }
    images.iter().for_each(|path| std::fs::write(path, b"").unwrap());
    let (found, _) = calibrated(&file, Source::Images(&images), 2, 99, |_| {});
    let error = found.unwrap_err().to_string();
    assert!(error.contains("none of the 3 images") && error.contains("the file is empty"), "{error}");
}

#[test]
fn stopping_keeps_what_was_measured_and_needs_something() {
    let folder = tempfile::tempdir().unwrap();
    let (file, images) = (network(folder.path(), -1), images(folder.path()));
    for inputs in [SEEDED, Source::Images(&images)] {
        let (found, _) = calibrated(&file, inputs, 1, 2, |_| {});
        let found = found.unwrap();
        assert_eq!((found.inputs.count(), found.interrupted), (2, true));
    }
    std::fs::write(&images[0], b"broken").unwrap();
    for (inputs, runs) in [(SEEDED, 5), (Source::Images(&images), 2)] {
        let (found, _) = calibrated(&file, inputs, 1, runs, |_| {});
        assert!(!found.unwrap().interrupted, "a stop in the last run interrupts nothing");
    }
    let (found, _) = calibrated(&file, SEEDED, 1, 0, |_| {});
    assert!(matches!(found, Err(CalibrateError::Stopped)));
}

#[test]
fn fewer_images_than_there_are_are_taken_at_equal_distances() {
    let paths: Vec<PathBuf> = (0..10).map(|n| PathBuf::from(n.to_string())).collect();
    let names = |count| -> Vec<String> {
        spread(paths.clone(), count).into_iter().map(|path| path.display().to_string()).collect()
    };
    assert_eq!(names(4), ["0", "2", "5", "7"]);
    assert_eq!((names(10).len(), names(99).len(), names(1)), (10, 10, vec!["0".to_owned()]));
    assert!(spread(Vec::new(), 3).is_empty());
}
