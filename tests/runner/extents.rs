//! Extents of inputs: a model's own batch size is the default, and what it leaves open is given on the command line.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use onnx_file::proto::tensor_proto::DataType;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

use crate::common::runner::{library, model, node, program, stderr, stdout, value_info, value_info_of, weight, write};

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(program());
    command.args(arguments).arg("--ort-lib").arg(library(Package::Cpu).path).current_dir(folder);
    let output = command.output().expect("the program starts");
    (output.status.code(), output)
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let (code, output) = run(folder, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Images of this shape to ten classes.
fn network(folder: &Path, name: &str, shape: &[i64]) {
    let nodes = vec![
        node("Conv", &["input", "w"], "c", vec![]),
        node("GlobalAveragePool", &["c"], "p", vec![]),
        node("Flatten", &["p"], "logits", vec![]),
    ];
    let (input, output) = (value_info("input", shape), value_info("logits", &[shape[0], 10]));
    write(folder, name, &model(nodes, vec![weight("w", &[10, 3, 3, 3])], input, output));
}

fn batches(result: &Value) -> Vec<u64> {
    result["rows"].as_array().expect("rows").iter().map(|row| row["batch"].as_u64().expect("a size")).collect()
}

const SHORT: [&str; 6] = ["--iterations", "2", "--warmup", "1", "--processes", "1"];

#[test]
fn a_fixed_batch_is_the_default_and_another_one_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    network(folder, "four.onnx", &[4, 3, 16, 16]);
    network(folder, "two.onnx", &[2, 3, 16, 16]);
    network(folder, "any.onnx", &[-1, 3, 16, 16]);
    let bench = |models: &[&str]| batches(&json(folder, &[&["bench"], models, &SHORT].concat()));
    assert_eq!(bench(&["four.onnx"]), [4]);
    assert_eq!(bench(&["any.onnx"]), [1]);
    assert_eq!(bench(&["four.onnx", "any.onnx"]), [4, 4]);
    assert_eq!(bench(&["four.onnx", "two.onnx"]), [4, 2]);
    let (code, output) = run(folder, &[&["bench", "four.onnx", "-b", "1"][..], &SHORT].concat());
    assert_eq!(code, Some(3), "{}", stdout(&output));
    assert!(stdout(&output).contains("fixed at 4"), "{}", stdout(&output));
    assert_eq!(json(folder, &["compare", "two.onnx"])["input_shape"][0], 2);
}

#[test]
fn what_a_model_leaves_open_is_given_by_name() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    network(folder, "any.onnx", &[-1, 3, -1, -1]);
    let fives = vec![node("Reshape", &["ids", "five"], "y", vec![])];
    let five = onnx_file::proto::TensorProto {
        name: "five".into(),
        dims: vec![2],
        data_type: DataType::Int64 as i32,
        int64_data: vec![-1, 5],
        ..Default::default()
    };
    let (ids, y) = (value_info_of("ids", &[-1, -1], DataType::Int64), value_info_of("y", &[-1, 5], DataType::Int64));
    write(folder, "words.onnx", &model(fives, vec![five], ids, y));
    let compared = json(folder, &["compare", "any.onnx", "--shape", "input:2x3x40x56"]);
    assert_eq!(compared["input_shape"], serde_json::json!([2, 3, 40, 56]));
    // The very first run has the shape, or a sequence of one would have ended it.
    let compared = json(folder, &["compare", "words.onnx", "--shape", "ids:3x10"]);
    assert_eq!(compared["input_shape"], serde_json::json!([3, 10]));
    let measured = json(folder, &[&["bench", "any.onnx", "--shape", "?x3x32x32", "-b", "2,3"][..], &SHORT].concat());
    assert_eq!(batches(&measured), [2, 3]);
    for (shape, why) in [("input:1x4x32x32", "is none of input"), ("pixels:1x3x8x8", "no input is called 'pixels'")] {
        let (code, output) = run(folder, &["bench", "any.onnx", "--shape", shape]);
        assert_eq!(code, Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
}

#[test]
fn images_have_the_size_asked_for_where_a_model_takes_any_and_eval_says_what_it_feeds() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    network(folder, "any.onnx", &[-1, 3, -1, -1]);
    network(folder, "small.onnx", &[-1, 3, 16, 16]);
    std::fs::create_dir_all(folder.join("images/0")).expect("a folder");
    RgbImage::from_pixel(64, 48, Rgb([200, 30, 90])).save(folder.join("images/0/a.png")).expect("saved");
    let inferred = json(folder, &["infer", "any.onnx", "images/0/a.png", "--image-size", "40x48"]);
    assert_eq!((&inferred["input"]["height"], &inferred["input"]["width"]), (&40.into(), &48.into()));
    let evaluated = json(folder, &["eval", "any.onnx", "images", "--image-size", "40"]);
    let input = &evaluated["candidates"][0]["input"];
    assert_eq!(
        (&input["layout"], &input["element_type"], &input["width"]),
        (&"nchw".into(), &"f32".into(), &40.into())
    );
    let (_, text) = run(folder, &["eval", "any.onnx", "images"]);
    assert!(stdout(&text).contains("input f32 [N, 3, H, W]; output logits"), "{}", stdout(&text));
    let (code, output) = run(folder, &["infer", "small.onnx", "images/0/a.png", "--image-size", "40"]);
    assert_eq!(code, Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--image-size: small.onnx"), "{}", stderr(&output));
}
