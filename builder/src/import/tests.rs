use onnx_file::proto::tensor_shape_proto::{Dimension, dimension};
use onnx_file::proto::{NodeProto, TypeProto, type_proto};

use super::*;
use crate::reference::{Activation, evaluate};
use crate::validate::validate;

fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
    let (data_type, dims, float_data) = (ElementType::F32.to_proto(), dims.to_vec(), numbers.to_vec());
    TensorProto { name: name.into(), data_type, dims, float_data, ..Default::default() }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let input = inputs.iter().map(|&name| name.into()).collect();
    NodeProto { op_type: op.into(), input, output: vec![output.into()], ..Default::default() }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&n| Dimension { value: Some(dimension::Value::DimValue(n)), ..Default::default() });
    let shape = Some(onnx_file::proto::TensorShapeProto { dim: dim.collect() });
    let tensor = type_proto::Tensor { elem_type: ElementType::F32.to_proto(), shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: name.into(), r#type, ..Default::default() }
}

/// What a model computes of [1, 2] that has the linear layer y = x W with W = [[1, 2], [3, 4]], and then `nodes`.
fn outputs(nodes: &[NodeProto], outputs: &[&str]) -> Result<Vec<Vec<f64>>, ImportError> {
    let linear = [node("Flatten", &["x"], "flat"), node("MatMul", &["flat", "w"], "y")];
    let graph = GraphProto {
        node: [&linear, nodes].concat(),
        initializer: vec![
            floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            floats("tens", &[2], &[10.0, 20.0]),
            floats("hundreds", &[2], &[100.0, 200.0]),
        ],
        input: vec![value("x", &[1, 2, 1, 1])],
        output: outputs.iter().map(|name| value(name, &[1, 2])).collect(),
        ..Default::default()
    };
    let Imported { graph, mut weights } = import(ModelProto { graph: Some(graph), ..Default::default() }, None)?;
    let x = ndarray::Array4::from_shape_vec((1, 2, 1, 1), vec![1.0, 2.0]).unwrap();
    let computed = evaluate(validate(&graph).unwrap(), &mut weights, &x, Activation::Relu).unwrap();
    Ok(computed.iter().map(|output| output.iter().copied().collect()).collect())
}

#[test]
fn a_bias_is_added_to_the_layer_before_it_through_any_number_of_names() {
    let plain = outputs(&[node("Add", &["y", "tens"], "out")], &["out"]).unwrap();
    assert_eq!(plain, [[17.0, 30.0]]);
    let renamed = [
        node("Identity", &["y"], "a"),
        node("Dropout", &["a"], "b"),
        node("Add", &["tens", "b"], "c"),
        node("Identity", &["c"], "d"),
        node("Add", &["d", "hundreds"], "out"),
    ];
    assert_eq!(outputs(&renamed, &["out"]).unwrap(), [[117.0, 230.0]]);
}

#[test]
fn the_bias_of_one_use_of_a_layer_is_not_that_of_another() {
    let (a, b) = (node("Identity", &["y"], "a"), node("Identity", &["y"], "b"));
    let (tens, hundreds) = (node("Add", &["a", "tens"], "p"), node("Add", &["b", "hundreds"], "q"));
    for (nodes, names) in [
        (vec![a.clone(), b.clone(), tens.clone(), hundreds.clone()], &["p", "q"][..]),
        (vec![a.clone(), tens.clone(), b.clone(), hundreds], &["p", "q"]),
        (vec![a.clone(), tens.clone(), b.clone()], &["p", "b"]),
        (vec![a.clone(), tens.clone()], &["p", "y"]),
        (vec![a.clone(), tens.clone()], &["p", "a"]),
        (vec![b, a, tens], &["b", "p"]),
    ] {
        let error = outputs(&nodes, names).unwrap_err().to_string();
        assert!(error.contains("linear layer whose bias it could be"), "{names:?}: {error}");
    }
}
