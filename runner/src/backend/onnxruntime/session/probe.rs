//! What a model is tried with: inputs made up from what it declares, and, for `doctor`, a model made in memory.

use std::collections::BTreeMap;

use ort::session::Session;
use ort::value::{TensorElementType, ValueType};

use half::f16;
use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto, tensor_proto, tensor_shape_proto, type_proto,
};
use prost::Message;

use crate::model::opened::ModelError;
use crate::model::tensor::{Data, Tensor};

/// Inputs of the smallest shape that an image classifier takes: a batch of one, 224 pixels high and wide where the
/// model and `asked`, the shapes asked for by name, leave that open, 1 for any other open extent.
///
/// # Errors
/// [`ModelError::BadModel`] for an input that is no tensor or of an element type the harness does not move.
pub(crate) fn inputs(
    session: &Session,
    asked: &BTreeMap<String, Vec<Option<usize>>>,
) -> Result<Vec<Tensor>, ModelError> {
    let shape = |name: &str| asked.get(name).map(Vec::as_slice).unwrap_or_default();
    session.inputs().iter().map(|outlet| input(outlet.name(), outlet.dtype(), shape(outlet.name()))).collect()
}

fn input(name: &str, dtype: &ValueType, asked: &[Option<usize>]) -> Result<Tensor, ModelError> {
    let ValueType::Tensor { ty, shape, .. } = dtype else {
        return Err(ModelError::BadModel(format!("input `{name}` is {dtype}; only tensors can be given")));
    };
    let image = shape.len() == 4;
    let extent = |(axis, &extent): (usize, &i64)| match usize::try_from(extent) {
        Ok(fixed) => fixed,
        Err(_) => asked.get(axis).copied().flatten().unwrap_or(if image && axis >= 2 { 224 } else { 1 }),
    };
    let shape: Vec<usize> = shape.iter().enumerate().map(extent).collect();
    let count = shape
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent))
        .filter(|&count| count <= 1 << 30)
        .ok_or_else(|| ModelError::BadModel(format!("input `{name}` declares the impossible shape {shape:?}")))?;
    // Zeros would let a provider that multiplies by garbage pass.
    let ramp = |index: usize| (index % 17) as f32 / 16.0 - 0.5;
    let data = match ty {
        TensorElementType::Float32 => Data::F32((0..count).map(ramp).collect()),
        TensorElementType::Float16 => Data::F16((0..count).map(|index| f16::from_f32(ramp(index))).collect()),
        TensorElementType::Float64 => Data::F64((0..count).map(|index| f64::from(ramp(index))).collect()),
        // Zero is an index of whatever is asked for.
        TensorElementType::Int64 => Data::I64(vec![0; count]),
        TensorElementType::Int32 => Data::I32(vec![0; count]),
        TensorElementType::Int8 => Data::I8((0..count).map(|index| (index % 256) as i8).collect()),
        TensorElementType::Bool => Data::Bool((0..count).map(|index| index % 2 == 0).collect()),
        TensorElementType::Uint8 => Data::U8((0..count).map(|index| (index % 256) as u8).collect()),
        other => {
            return Err(ModelError::BadModel(format!(
                "input `{name}` holds {other}; float32, float16, float64, int64, int32, int8, uint8 and bool can be given"
            )));
        }
    };
    Ok(Tensor { name: name.to_owned(), shape, data })
}

/// A grouped convolution, a ReLU, a global pooling and a flattening: a convolution because that is where cuDNN is first
/// needed, grouped because that is what this family of networks is made of.
pub(crate) fn model() -> Vec<u8> {
    let node = |op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>| NodeProto {
        op_type: op.to_owned(),
        name: op.to_lowercase(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    };
    let group = AttributeProto {
        name: "group".to_owned(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: 2,
        ..AttributeProto::default()
    };
    // [out_channels, in_channels / group, kH, kW]
    let weight = TensorProto {
        name: "weight".to_owned(),
        dims: vec![4, 2, 3, 3],
        data_type: tensor_proto::DataType::Float as i32,
        float_data: (0..4 * 2 * 3 * 3).map(|index| (index % 5) as f32 * 0.25 - 0.5).collect(),
        ..TensorProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        producer_name: "resnext-run".to_owned(),
        graph: Some(GraphProto {
            name: "probe".to_owned(),
            node: vec![
                node("Conv", &["input", "weight"], "convolved", vec![group]),
                node("Relu", &["convolved"], "rectified", Vec::new()),
                node("GlobalAveragePool", &["rectified"], "pooled", Vec::new()),
                node("Flatten", &["pooled"], "output", Vec::new()),
            ],
            initializer: vec![weight],
            input: vec![value_info("input", &[1, 4, 8, 8])],
            output: vec![value_info("output", &[1, 4])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

fn value_info(name: &str, shape: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = shape.iter().map(|&extent| Dimension { value: Some(Value::DimValue(extent)), ..Dimension::default() });
    let tensor = type_proto::Tensor {
        elem_type: tensor_proto::DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..ValueInfoProto::default() }
}
