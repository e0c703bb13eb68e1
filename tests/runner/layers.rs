//! `compare --layers` on graphs of integers and on graphs with several inputs, and tensors of every type.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;

use onnx_file::proto::tensor_proto::DataType;
use onnx_file::proto::{AttributeProto, GraphProto, ModelProto, TensorProto, attribute_proto::AttributeType};
use prost::Message as _;
use serde_json::Value;

use crate::common::runner::{model, node, parsed, run_in, stderr, stdout, value_info, value_info_of, weight, write};

fn scalar(name: &str, element: DataType, value: &[u8]) -> TensorProto {
    TensorProto { name: name.into(), data_type: element as i32, raw_data: value.to_vec().into(), ..Default::default() }
}

fn bytes(name: &str, dims: &[i64], values: &[i8]) -> TensorProto {
    let raw_data = values.iter().map(|&value| value as u8).collect::<Vec<u8>>().into();
    let data_type = DataType::Int8 as i32;
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type, raw_data, ..Default::default() }
}

/// Two blocks, each a 1x1 convolution and what it is added to.
fn blocks() -> (Vec<onnx_file::proto::NodeProto>, Vec<TensorProto>) {
    let nodes = vec![
        node("Conv", &["x", "w0"], "stem", vec![]),
        node("Relu", &["stem"], "b0", vec![]),
        node("Conv", &["b0", "w1"], "c1", vec![]),
        node("Add", &["c1", "b0"], "a1", vec![]),
        node("Relu", &["a1"], "b1", vec![]),
        node("Conv", &["b1", "w2"], "c2", vec![]),
        node("Add", &["c2", "b1"], "a2", vec![]),
        node("Relu", &["a2"], "b2", vec![]),
        node("GlobalAveragePool", &["b2"], "p", vec![]),
        node("Flatten", &["p"], "logits", vec![]),
    ];
    (nodes, vec![weight("w0", &[4, 3, 1, 1]), weight("w1", &[4, 4, 1, 1]), weight("w2", &[4, 4, 1, 1])])
}

/// The blocks with the end of each quantized, dequantized for each consumer anew as onnxruntime's tool does it.
fn quantized(scale: f32) -> Vec<u8> {
    let (plain, mut weights) = blocks();
    let mut nodes = Vec::new();
    for mut one in plain {
        for input in one.input.iter_mut().filter(|input| ["b0", "b1"].contains(&input.as_str())) {
            let own = format!("{input}_for_{}", one.output[0]);
            let scale = if input == "b1" { "s1" } else { "s" };
            nodes.push(node("DequantizeLinear", &[&format!("{input}_q"), scale, "z"], &own, vec![]));
            *input = own;
        }
        let output = one.output[0].clone();
        nodes.push(one);
        if ["b0", "b1"].contains(&output.as_str()) {
            nodes.push(node("QuantizeLinear", &[&output, "s", "z"], &format!("{output}_q"), vec![]));
        }
    }
    weights.push(scalar("s", DataType::Float, &0.01f32.to_le_bytes()));
    weights.push(scalar("s1", DataType::Float, &scale.to_le_bytes()));
    weights.push(scalar("z", DataType::Uint8, &[0]));
    model(nodes, weights, value_info("x", &[-1, 3, 8, 8]), value_info("logits", &[-1, 4]))
}

fn layers(folder: &Path, arguments: &[&str]) -> Value {
    let (_, output) = run_in(folder, &[&["compare"], arguments, &["--layers", "--json"]].concat());
    assert!(!output.stdout.is_empty(), "{}", stderr(&output));
    let found = parsed(&output);
    assert!(found["layers"].is_object(), "{}", stderr(&output));
    found["layers"].clone()
}

#[test]
fn a_quantized_graph_is_compared_block_by_block_with_the_one_it_was_made_of() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (nodes, weights) = blocks();
    let plain = model(nodes, weights, value_info("x", &[-1, 3, 8, 8]), value_info("logits", &[-1, 4]));
    write(folder.path(), "plain.onnx", &plain);
    write(folder.path(), "right.onnx", &quantized(0.01));
    // The end of the second block is read with another scale than it was written with.
    write(folder.path(), "wrong.onnx", &quantized(0.02));
    let right = layers(folder.path(), &["plain.onnx", "right.onnx"]);
    assert!(right["first_diverging"].is_null() && right["boundaries"] == 4, "{right}");
    for first in ["plain.onnx", "right.onnx"] {
        let wrong = layers(folder.path(), &[first, "wrong.onnx"]);
        let node = wrong["first_diverging"].as_str().unwrap_or_default();
        assert_eq!(node, if first == "plain.onnx" { "node_b1" } else { "node_b1_for_c2" }, "{wrong}");
    }
}

/// Convolutions of integers, one after the other.
fn integers(second: i8) -> Vec<u8> {
    let conv = |x: &str, w: &str, y: &str| node("QLinearConv", &[x, "s", "z", w, "sw", "zw", "s", "z"], y, vec![]);
    let nodes = vec![
        node("QuantizeLinear", &["x", "s", "z"], "x_q", vec![]),
        conv("x_q", "w1", "y1"),
        node("MaxPool", &["y1"], "m1", vec![ints("kernel_shape", &[1, 1])]),
        conv("m1", "w2", "y2"),
        node("MaxPool", &["y2"], "levels", vec![ints("kernel_shape", &[1, 1])]),
    ];
    let weights = vec![
        scalar("s", DataType::Float, &0.05f32.to_le_bytes()),
        scalar("z", DataType::Uint8, &[128]),
        scalar("sw", DataType::Float, &0.02f32.to_le_bytes()),
        scalar("zw", DataType::Int8, &[0]),
        bytes("w1", &[3, 3, 1, 1], &[50, 1, 2, 3, 40, 5, 6, 7, 30]),
        bytes("w2", &[3, 3, 1, 1], &[50, 1, second, 3, 40, 5, 6, 7, 30]),
    ];
    model(nodes, weights, value_info("x", &[-1, 3, 8, 8]), value_info_of("levels", &[-1, 3, 8, 8], DataType::Uint8))
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.into(), r#type, ints: values.to_vec(), ..Default::default() }
}

#[test]
fn graphs_of_integers_are_compared_level_by_level() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), "a.onnx", &integers(2));
    write(folder.path(), "b.onnx", &integers(40));
    let found = layers(folder.path(), &["a.onnx", "b.onnx"]);
    assert_eq!(
        (found["last_agreeing"].as_str(), found["first_diverging"].as_str()),
        (Some("node_m1"), Some("node_y2")),
        "{found}"
    );
    let look = &found["looked_at"][0];
    assert_eq!(
        (&look["metrics"]["tolerance"]["atol"], &look["metrics"]["tolerance"]["rtol"]),
        (&1.0.into(), &0.0.into())
    );
    let same = layers(folder.path(), &["a.onnx", "a.onnx"]);
    assert!(same["first_diverging"].is_null(), "{same}");
}

/// Inputs of all types that are fed, each of which counts.
fn several(last: &str) -> Vec<u8> {
    let cast = |of: &str| {
        let to = AttributeProto { name: "to".into(), r#type: AttributeType::Int as i32, i: 1, ..Default::default() };
        node("Cast", &[of], &format!("{of}_f"), vec![to])
    };
    let names = ["i8", "i32", "i64", "u8", "bool", "f16", "f64"];
    let mut nodes: Vec<_> = names.iter().map(|name| cast(name)).collect();
    let all: Vec<String> = names.iter().map(|name| format!("{name}_f")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    nodes.push(node("Sum", &all, "sum", vec![]));
    nodes.push(node("Tanh", &["sum"], "squashed", vec![]));
    nodes.push(node(last, &["squashed"], "y", vec![]));
    let mut built = ModelProto::decode(
        model(nodes, vec![], value_info_of("i8", &[-1, 5], DataType::Int8), value_info("y", &[-1, 5])).as_slice(),
    )
    .expect("a model");
    let types =
        [DataType::Int32, DataType::Int64, DataType::Uint8, DataType::Bool, DataType::Float16, DataType::Double];
    let graph: &mut GraphProto = built.graph.as_mut().expect("a graph");
    graph.input.extend(names[1..].iter().zip(types).map(|(name, ty)| value_info_of(name, &[-1, 5], ty)));
    built.encode_to_vec()
}

#[test]
fn inputs_of_every_type_are_made_kept_loaded_and_searched_by_layer() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), "a.onnx", &several("Sin"));
    write(folder.path(), "b.onnx", &several("Cos"));
    let found = layers(folder.path(), &["a.onnx", "b.onnx"]);
    assert_eq!(
        (found["last_agreeing"].as_str(), found["first_diverging"].as_str()),
        (Some("node_squashed"), Some("outputs"))
    );
    let bench = ["bench", "a.onnx", "-b", "3", "--iterations", "2", "--warmup", "1", "--processes", "1"];
    let (code, output) = run_in(folder.path(), &bench);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    for kept in ["in.npz", "in.safetensors"] {
        let (code, output) =
            run_in(folder.path(), &["compare", "a.onnx", "--save-inputs", kept, "--save-outputs", "y.npy", "--force"]);
        assert_eq!(code, Some(0), "{}", stderr(&output));
        let again = ["compare", "a.onnx", "--load-inputs", kept, "--reference", "y.npy"];
        let (code, output) = run_in(folder.path(), &again);
        assert_eq!(code, Some(0), "{kept}: {}{}", stdout(&output), stderr(&output));
    }
}
