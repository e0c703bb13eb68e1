use onnx_file::proto::tensor_proto::DataType;
use onnx_file::proto::{NodeProto, ValueInfoProto};

use super::*;
use crate::model::file::tests::{file, value};

/// A model of these outputs, each made by a layer of its own.
fn with(outputs: Vec<ValueInfoProto>, batch: i64) -> ModelFile {
    let mut model = file(vec![value("x", DataType::Float, &[batch, 3, 8, 8])], &[]);
    let layer = |output: &ValueInfoProto| NodeProto {
        op_type: "Gemm".into(),
        input: vec!["x".into()],
        output: vec![output.name.clone()],
        ..Default::default()
    };
    model.graph.node = outputs.iter().map(layer).collect();
    model.outputs = outputs.iter().map(Port::of).collect();
    model.graph.output = outputs;
    model
}

fn chosen(outputs: &[(&str, &[i64])]) -> Result<String, String> {
    let outputs = outputs.iter().map(|(name, shape)| value(name, DataType::Float, shape)).collect();
    ClassOutput::of(&with(outputs, -1)).map(|output| output.name).map_err(|error| error.to_string())
}

#[test]
fn feature_maps_and_single_numbers_are_no_scores_and_usual_names_tell_the_rest_apart() {
    for (outputs, expected) in [
        (vec![("c3", &[-1, 512, 28, 28][..]), ("logits", &[-1, 10])], "logits"),
        (vec![("c3", &[-1, 512, -1, -1]), ("strange", &[-1, 10])], "strange"),
        (vec![("temperature", &[]), ("strange", &[-1, 10])], "strange"),
        (vec![("embedding", &[-1, 64]), ("Scores:0", &[-1, 10])], "Scores:0"),
        (vec![("out", &[-1, 10]), ("logits", &[-1, 20])], "logits"),
        (vec![("boxes", &[-1, 100, 4]), ("y", &[-1, 10, 1, 1])], "y"),
    ] {
        assert_eq!(chosen(&outputs).as_deref(), Ok(expected), "{outputs:?}");
    }
}

#[test]
fn of_two_that_nothing_tells_apart_none_is_taken_and_both_are_listed() {
    for outputs in [
        [("a", &[-1, 10][..]), ("b", &[-1, 20])],
        [("logits", &[-1, 10]), ("scores", &[-1, 20])],
        [("aux", &[-1, 10]), ("main", &[-1, 10])],
    ] {
        let error = chosen(&outputs).unwrap_err();
        assert!(outputs.iter().all(|(name, _)| error.contains(&format!("{name} f32"))), "{error}");
        assert!(error.contains("--use-output"), "{error}");
    }
    assert!(chosen(&[("c3", &[-1, 512, 28, 28])]).unwrap_err().contains("no output holds a number for each class"));
}

#[test]
fn an_output_without_a_dimension_for_images_is_told_from_one_number_for_each() {
    let shape = |shape: &[i64], batch: i64| {
        let output = ClassOutput::of(&with(vec![value("y", DataType::Float, shape)], batch));
        output.ok().map(|output| (output.numbers, output.one_by_one, output.classes()))
    };
    assert_eq!(shape(&[10], -1), Some((Some(10), true, Some(10))));
    assert_eq!(shape(&[10], 1), Some((Some(10), true, Some(10))));
    assert_eq!(shape(&[10], 10), Some((Some(1), false, Some(2))));
    assert_eq!(shape(&[10], 4), None);
    assert_eq!(shape(&[-1], -1), Some((Some(1), false, Some(2))));
    assert_eq!(shape(&[2, 10], 4), None, "not one row for each image");
    assert_eq!(shape(&[-1, -1], -1), Some((None, false, None)));
}

#[test]
fn what_a_topk_picked_is_never_taken_for_a_number_for_each_class() {
    let ports = vec![value("v", DataType::Float, &[-1, 3]), value("i", DataType::Int64, &[-1, 3])];
    let mut model = with(ports, -1);
    let node = |op: &str, inputs: &[&str], outputs: &[&str]| NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: outputs.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    model.graph.node = vec![node("Gemm", &["x"], &["z"]), node("TopK", &["z", "k"], &["v", "i"])];
    let output = ClassOutput::of(&model).unwrap();
    assert_eq!((output.name.as_str(), output.meaning), ("i", Meaning::Classes));
    assert_eq!(output.values.map(|values| (values.name, values.meaning)), Some(("v".to_owned(), Meaning::Logits)));
    model.asked.output = Some("v".into());
    assert!(ClassOutput::of(&model).unwrap_err().to_string().contains("no number for each class"));
}

#[test]
fn one_logit_is_made_a_probability_by_a_sigmoid_and_several_by_a_softmax() {
    let said = |numbers| {
        let (name, meaning) = ("y".into(), Meaning::Logits);
        ClassOutput { name, meaning, values: None, numbers, one_by_one: false }.to_string()
    };
    assert!(said(Some(1)).contains("sigmoid") && said(Some(2)).contains("softmax") && said(None).contains("softmax"));
}
