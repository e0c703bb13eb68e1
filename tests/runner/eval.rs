//! `eval` and `infer` as a user meets them where a model, an image or a label is not what it should be.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::runner::{model, node, parsed, run_in, stderr, stdout, value_info, weight, write};
use image::{Rgb, RgbImage};
use onnx_file::proto::{ModelProto, StringStringEntryProto, ValueInfoProto, type_proto};
use prost::Message;

const COLOURS: [(&str, [u8; 3]); 3] = [("red", [250, 10, 10]), ("green", [10, 250, 10]), ("blue", [10, 10, 250])];

/// Four images of each colour, in folders of classes.
fn images(folder: &Path) -> PathBuf {
    let root = folder.join("images");
    for (name, colour) in COLOURS {
        fs::create_dir_all(root.join(name)).expect("created");
        for index in 0..4 {
            RgbImage::from_pixel(40, 40, Rgb(colour))
                .save(root.join(name).join(format!("{index}.png")))
                .expect("saved");
        }
    }
    root
}

/// Scores are the means of the three channels, which `more` may go on with; `labels` name them.
fn channel_means(labels: [&str; 3], more: &[(&str, &str)]) -> Vec<u8> {
    let mut nodes = vec![
        node("GlobalAveragePool", &["input"], "pooled", vec![]),
        node("Flatten", &["pooled"], if more.is_empty() { "logits" } else { "means" }, vec![]),
    ];
    let mut before = "means";
    for (op, output) in more {
        nodes.push(node(op, &[before], output, vec![]));
        before = output;
    }
    let bytes = model(nodes, vec![], value_info("input", &[-1, 3, 32, 32]), value_info("logits", &[-1, 3]));
    let mut proto = ModelProto::decode(bytes.as_slice()).expect("a model");
    let labels = serde_json::to_string(&labels).expect("JSON");
    proto.metadata_props.push(StringStringEntryProto { key: "resnext.labels".into(), value: labels });
    proto.encode_to_vec()
}

fn right() -> Vec<u8> {
    channel_means(["red", "green", "blue"], &[])
}

/// A model whose scores are NaN.
fn broken() -> Vec<u8> {
    channel_means(["red", "green", "blue"], &[("Abs", "a"), ("Exp", "e"), ("Neg", "n"), ("Sqrt", "logits")])
}

/// As [`right`], with a second output that is a single number; whether its shape is declared.
fn with_a_scalar(declared: bool) -> Vec<u8> {
    let mut proto = ModelProto::decode(right().as_slice()).expect("a model");
    let graph = proto.graph.as_mut().expect("a graph");
    graph.initializer.push(weight("t", &[]));
    graph.node.push(node("Identity", &["t"], "temperature", vec![]));
    let mut output: ValueInfoProto = value_info("temperature", &[]);
    if let Some(type_proto::Value::TensorType(tensor)) = output.r#type.as_mut().and_then(|ty| ty.value.as_mut()) {
        tensor.shape = tensor.shape.take().filter(|_| declared);
    }
    graph.output.push(output);
    proto.encode_to_vec()
}

#[test]
fn a_model_whose_scores_are_not_numbers_fails_whoever_asks() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let images = images(folder.path());
    write(folder.path(), "nan.onnx", &broken());
    let (code, output) = run_in(folder.path(), &["eval", "nan.onnx", "images"]);
    assert_eq!(code, Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("NaN or infinite for 12 of 12 images; it has no accuracy"), "{}", stdout(&output));
    assert!(stdout(&output).contains("images/red/0.png") && !stdout(&output).contains("33.3%"), "{}", stdout(&output));
    let result = parsed(&run_in(folder.path(), &["eval", "nan.onnx", "images", "--json"]).1);
    assert!(result["candidates"][0]["top1"].is_null(), "{result}");
    assert_eq!(result["candidates"][0]["not_finite"].as_array().map(Vec::len), Some(12), "{result}");
    let image = images.join("red/0.png").display().to_string();
    let (code, output) = run_in(folder.path(), &["infer", "nan.onnx", &image, "--json"]);
    assert_eq!(code, Some(1), "{}", stderr(&output));
    let result = parsed(&output);
    assert_eq!(result["images"][0]["top"].as_array().map(Vec::len), Some(0), "{result}");
    assert!(result["images"][0]["error"].to_string().contains("NaN"), "{result}");
    let (code, output) = run_in(folder.path(), &["compare", "nan.onnx", "nan.onnx", "--json"]);
    assert_eq!(code, Some(1), "{}", stderr(&output));
    let classes = &parsed(&output)["rows"][1]["outputs"][0]["classes"];
    assert_eq!((classes["top1"].as_f64(), classes["not_ranked"].as_u64()), (Some(0.0), Some(4)), "{classes}");
}

#[test]
fn two_models_that_number_classes_differently_are_both_right_and_agree() {
    let folder = tempfile::tempdir().expect("temporary folder");
    images(folder.path());
    write(folder.path(), "first.onnx", &right());
    // The channels in another order, and their names with them.
    let mut proto = ModelProto::decode(channel_means(["blue", "red", "green"], &[("Identity", "logits")]).as_slice())
        .expect("a model");
    let graph = proto.graph.as_mut().expect("a graph");
    let last = graph.node.last_mut().expect("a node");
    (last.op_type, last.input) = ("MatMul".into(), vec!["means".into(), "order".into()]);
    let mut order = weight("order", &[3, 3]);
    let numbers = [0f32, 1., 0., 0., 0., 1., 1., 0., 0.];
    order.raw_data = numbers.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into();
    graph.initializer.push(order);
    write(folder.path(), "second.onnx", &proto.encode_to_vec());
    let (code, output) = run_in(folder.path(), &["eval", "first.onnx", "second.onnx", "images", "--json"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let result = parsed(&output);
    for candidate in result["candidates"].as_array().expect("candidates") {
        assert_eq!(candidate["top1"]["proportion"].as_f64(), Some(1.0), "{candidate}");
    }
    assert_eq!(result["pairs"][0]["agreement"].as_f64(), Some(1.0), "{result}");
}

#[test]
fn a_second_output_that_is_a_single_number_is_no_reason_to_crash() {
    let folder = tempfile::tempdir().expect("temporary folder");
    images(folder.path());
    write(folder.path(), "declared.onnx", &with_a_scalar(true));
    let (code, output) = run_in(folder.path(), &["eval", "declared.onnx", "images", "--json"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert_eq!(parsed(&output)["candidates"][0]["top1"]["proportion"].as_f64(), Some(1.0));
    assert_eq!(parsed(&output)["batch"], 64, "images at once, however many copies share them");
    write(folder.path(), "undeclared.onnx", &with_a_scalar(false));
    let (code, output) = run_in(folder.path(), &["eval", "undeclared.onnx", "images", "--json"]);
    assert_eq!(code, Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(parsed(&output)["candidates"][0]["top1"]["proportion"].as_f64(), Some(1.0));
}

#[test]
fn a_set_of_broken_images_alone_is_a_bad_input() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = images(folder.path());
    write(folder.path(), "model.onnx", &right());
    for (name, _) in COLOURS {
        (0..4).for_each(|index| fs::write(root.join(name).join(format!("{index}.png")), b"broken").expect("written"));
    }
    let (code, output) = run_in(folder.path(), &["eval", "model.onnx", "images"]);
    assert_eq!(code, Some(3), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_file_of_labels_is_found_by_its_bare_name_and_refused_where_it_is_ambiguous() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = images(folder.path());
    write(folder.path(), "model.onnx", &right());
    fs::write(root.join("labels.csv"), "red/0.png,red\nblue/1.png,blue\n").expect("written");
    let (code, output) = run_in(&root, &["eval", "../model.onnx", "labels.csv", "--json"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert_eq!(parsed(&output)["images"], 2);
    fs::write(root.join("labels.csv"), "0.png,red\n").expect("written");
    let (code, output) = run_in(&root, &["eval", "../model.onnx", "labels.csv"]);
    assert_eq!(code, Some(3), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("blue/0.png") && said.contains("green/0.png") && said.contains("line 1"), "{said}");
}
