//! One model of all operators that are tried, each with an input and an output of its own.

use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};
use prost::Message as _;

use super::case::{CASES, Case, MIDDLE, Op, WEIGHT};

/// The model, encoded.
pub(crate) fn model() -> Vec<u8> {
    let mut graph = GraphProto { name: "known".into(), ..GraphProto::default() };
    CASES.iter().for_each(|case| add(case, &mut graph));
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    let (producer_name, graph) = ("resnext-run".into(), Some(graph));
    ModelProto { ir_version: 8, opset_import, producer_name, graph, ..ModelProto::default() }.encode_to_vec()
}

fn add(case: &Case, graph: &mut GraphProto) {
    let known = case.known();
    let (input, output) = (case.input(), case.output());
    let named = |part: &str| format!("{}: {part}", case.name);
    let (weight, zero, one, scale, middle, sum) =
        (named("weight"), named("zero"), named("one"), named("scale"), named("middle"), named("sum"));
    let dims: Vec<i64> = if case.is_product() {
        vec![case.channels as i64, case.out as i64]
    } else {
        vec![case.out as i64, (case.channels / case.group) as i64, case.kernel as i64, case.kernel as i64]
    };
    let signed = case.op != Op::MatMul { is_signed: false };
    let integers = if signed { DataType::Int8 } else { DataType::Uint8 };
    graph.initializer.push(match case.op {
        Op::Float | Op::Gemm => {
            let values = known.weights.iter().flat_map(|&weight| (weight as f32 * WEIGHT).to_le_bytes());
            tensor(&weight, DataType::Float, dims, values.collect())
        }
        _ => tensor(&weight, integers, dims, known.weights.iter().map(|&weight| weight as u8).collect()),
    });
    let float = |name: &str, value: f32| tensor(name, DataType::Float, vec![], value.to_le_bytes().to_vec());
    if matches!(case.op, Op::Linear | Op::Dequantized) {
        // The scale of the result is the inverse of what sums are multiplied with.
        graph.initializer.push(float(&one, 1.0));
        graph.initializer.push(float(&scale, (1.0 / case.scale()) as f32));
        graph.initializer.push(tensor(&middle, DataType::Uint8, vec![], vec![MIDDLE as u8]));
        graph.initializer.push(tensor(&zero, DataType::Uint8, vec![], vec![0]));
        graph.initializer.push(tensor(&named("weight zero"), DataType::Int8, vec![], vec![0]));
    }
    let weight_zero = named("weight zero");
    let (levels, weights) = (named("levels"), named("weights"));
    let mut node = |op: &str, inputs: &[&String], output: &String, attribute| {
        graph.node.push(self::node(op, inputs, output, attribute));
    };
    match case.op {
        Op::MatMul { .. } => node("MatMulInteger", &[&input, &weight], &sum, vec![]),
        Op::Integer => node("ConvInteger", &[&input, &weight], &sum, attributes(case)),
        Op::Linear => {
            let inputs = [&input, &one, &zero, &weight, &one, &weight_zero, &scale, &middle];
            node("QLinearConv", &inputs, &output, attributes(case));
        }
        Op::Dequantized => {
            node("DequantizeLinear", &[&input, &one, &zero], &levels, vec![]);
            node("DequantizeLinear", &[&weight, &one, &weight_zero], &weights, vec![]);
            node("Conv", &[&levels, &weights], &sum, attributes(case));
            node("QuantizeLinear", &[&sum, &scale, &middle], &output, vec![]);
        }
        Op::Float => node("Conv", &[&input, &weight], &output, attributes(case)),
        Op::Gemm => node("Gemm", &[&input, &weight], &output, vec![]),
    }
    if matches!(case.op, Op::MatMul { .. } | Op::Integer) {
        node("Cast", &[&sum], &output, vec![int("to", i64::from(DataType::Float as i32))]);
    }
    let element = |is_level: bool| if is_level { DataType::Uint8 } else { DataType::Float };
    let shape = case.shape().iter().map(|&extent| extent as i64).collect::<Vec<_>>();
    graph.input.push(value(&input, element(case.is_integer()), &shape));
    let side = case.side_out() as i64;
    let shape =
        if case.is_product() { vec![case.side as i64, case.out as i64] } else { vec![1, case.out as i64, side, side] };
    graph.output.push(value(&output, element(case.gives_levels()), &shape));
}

fn attributes(case: &Case) -> Vec<AttributeProto> {
    let ints = |name: &str, value: usize, count: usize| AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: vec![value as i64; count],
        ..AttributeProto::default()
    };
    vec![
        ints("kernel_shape", case.kernel, 2),
        ints("strides", case.stride, 2),
        ints("pads", case.kernel / 2, 4),
        int("group", case.group as i64),
    ]
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

fn node(op: &str, inputs: &[&String], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let (input, output_names) = (inputs.iter().map(|name| (*name).clone()).collect(), vec![output.to_owned()]);
    let name = format!("{op} {output}");
    NodeProto { op_type: op.into(), name, input, output: output_names, attribute, ..NodeProto::default() }
}

fn tensor(name: &str, element: DataType, dims: Vec<i64>, raw: Vec<u8>) -> TensorProto {
    TensorProto { name: name.into(), dims, data_type: element as i32, raw_data: raw.into(), ..TensorProto::default() }
}

fn value(name: &str, element: DataType, shape: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = shape.iter().map(|&extent| Dimension { value: Some(Value::DimValue(extent)), ..Dimension::default() });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor = type_proto::Tensor { elem_type: element as i32, shape };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..ValueInfoProto::default() }
}
