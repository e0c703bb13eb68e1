//! Files as other programs write them, and what is read from them.

use onnx_file::element::ElementType;
use onnx_file::metadata::{Key, Weights};
use onnx_file::proto::{
    ModelProto, NodeProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

use prost::Message as _;

use super::*;

/// A value with a shape; an extent of -1 is dynamic.
pub(crate) fn value(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|&n| {
            let value = if n < 0 { dimension::Value::DimParam("n".into()) } else { dimension::Value::DimValue(n) };
            Dimension { value: Some(value), ..Default::default() }
        })
        .collect();
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

/// Writes a model of the given inputs and properties to a temporary file and reads it back.
pub(crate) fn file(inputs: Vec<ValueInfoProto>, properties: &[(Key, &str)]) -> ModelFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let weight = TensorProto { name: "weight".into(), data_type: 1, dims: vec![8], ..Default::default() };
    // As many scores as there are names.
    let labels = properties.iter().find(|(key, _)| *key == Key::Labels);
    let labels = labels.and_then(|(_, labels)| serde_json::from_str::<Vec<String>>(labels).ok());
    let classes = labels.map_or(10, |labels| labels.len() as i64);
    let (input, output) = (vec!["x".into(), "weight".into()], vec!["logits".into()]);
    let graph = GraphProto {
        node: vec![NodeProto { op_type: "Conv".into(), input, output, ..Default::default() }],
        initializer: vec![weight],
        input: inputs,
        output: vec![value("logits", DataType::Float, &[-1, classes])],
        ..Default::default()
    };
    let entry = |&(key, value): &(Key, &str)| StringStringEntryProto { key: key.name().into(), value: value.into() };
    let model = ModelProto {
        ir_version: 8,
        graph: Some(graph),
        metadata_props: properties.iter().map(entry).collect(),
        ..Default::default()
    };
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    ModelFile::read(&path).unwrap()
}

#[test]
fn the_image_input_is_found_beside_weights_listed_as_inputs() {
    let inputs = vec![value("x", DataType::Float16, &[-1, 3, 224, 320]), value("weight", DataType::Float, &[8])];
    let image = file(inputs, &[]).image_input().unwrap();
    assert_eq!((image.name.as_str(), image.element_type), ("x", ElementType::F16));
    assert_eq!((image.batch, image.height, image.width), (None, Some(224), Some(320)));
}

#[test]
fn a_model_that_takes_no_images_is_refused_with_its_inputs_named() {
    for (inputs, said) in [
        (vec![value("ids", DataType::Int64, &[1, 128])], "no input takes images"),
        (vec![value("x", DataType::Float, &[1, 64, 28, 28])], "no input takes images"),
        (vec![], "inputs are: none"),
        (vec![value("x", DataType::Float, &[1, 3, 8, 8]), value("size", DataType::Int64, &[2])], "inputs besides"),
    ] {
        let error = file(inputs, &[]).image_input().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let error = file(vec![value("ids", DataType::Int64, &[1, -1])], &[]).image_input().unwrap_err().to_string();
    assert!(error.contains("ids i64 [1, ?]"), "{error}");
}

#[test]
fn a_batch_divides_where_it_is_open_and_every_output_is_one_row_a_image() {
    let open = || file(vec![value("x", DataType::Float, &[-1, 3, 8, 8])], &[]);
    assert!(open().batch_divides());
    assert!(!file(vec![value("x", DataType::Float, &[4, 3, 8, 8])], &[]).batch_divides());
    let with = |shape: Option<Vec<Option<usize>>>| {
        let mut model = open();
        let port = Port { shape, ..model.outputs[0].clone() };
        model.outputs.push(port);
        model.batch_divides()
    };
    assert!(with(Some(vec![None, Some(7)])));
    assert!(!with(None) && !with(Some(vec![])) && !with(Some(vec![Some(1), Some(7)])));
}

#[test]
fn weights_in_other_files_count_as_they_will_in_memory() {
    let mut model = file(vec![], &[]);
    let bytes = model.bytes;
    assert_eq!(model.weight_bytes(), bytes);
    model.graph.initializer[0].data_location = 1;
    assert_eq!(model.weight_bytes(), bytes + 32);
}

#[test]
fn what_the_file_says_of_itself_is_read_and_what_is_wrong_is_told_with_its_path() {
    let model = file(vec![], &[(Key::Labels, r#"["cat","dog"]"#), (Key::Variant, "50_32x4d"), (Key::Seed, "7")]);
    assert_eq!(model.labels().unwrap().names, ["cat", "dog"]);
    assert_eq!(model.origin().unwrap().weights, Some(Weights::Random { seed: 7 }));
    assert!(model.preprocess().unwrap().is_none());
    let model = file(vec![], &[(Key::Labels, "cat, dog"), (Key::Seed, "-1"), (Key::Preprocess, "{}")]);
    let errors = [model.labels().map(drop), model.origin().map(drop), model.preprocess().map(drop)];
    for (error, key) in errors.into_iter().zip([Key::Labels, Key::Seed, Key::Preprocess]) {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("model.onnx: property ") && error.contains(key.name()), "{error}");
    }
}

#[test]
fn what_is_no_model_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.onnx");
    std::fs::write(&path, "some text, no model").unwrap();
    let error = ModelFile::read(&path).unwrap_err().to_string();
    assert!(error.contains("odd.onnx") && error.contains("not an ONNX model"), "{error}");
    assert!(ModelFile::read(folder.path()).is_err(), "a folder");
    assert!(matches!(
        ModelFile::read(&folder.path().join("none")),
        Err(MetadataError::Outline(OutlineError::Io { .. }))
    ));
}

#[test]
fn precision_is_the_coarsest_in_the_file() {
    let half = TensorProto { data_type: DataType::Float16 as i32, ..Default::default() };
    let single = TensorProto { data_type: DataType::Float as i32, ..Default::default() };
    let graph = GraphProto { initializer: vec![half, single], ..Default::default() };
    assert_eq!(Precision::of(&graph), Precision::F16);
    let node = NodeProto { op_type: "QLinearConv".into(), ..Default::default() };
    assert_eq!(Precision::of(&GraphProto { node: vec![node], ..graph }), Precision::Int8);
}
