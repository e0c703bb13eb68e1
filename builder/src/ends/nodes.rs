//! Nodes, constants and descriptions of values, as the ends of a model need them.

use onnx_file::element::ElementType;
use onnx_file::proto::{
    AttributeProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_shape_proto::Dimension, type_proto,
};

/// A node of one output, both of the same name.
pub(super) fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: output.to_owned(),
        op_type: op.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..Default::default()
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i, ..Default::default() }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Ints as i32, ints: ints.to_vec(), ..Default::default() }
}

/// A constant of f32.
pub(super) fn constant(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    TensorProto {
        name: name.to_owned(),
        data_type: ElementType::F32.to_proto(),
        dims: dims.to_vec(),
        raw_data: bytes.into(),
        ..Default::default()
    }
}

/// The extents of a tensor, where `value` is one that has a shape.
pub(super) fn dims(value: &ValueInfoProto) -> Option<&[Dimension]> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(&tensor.shape.as_ref()?.dim),
        _ => None,
    }
}

/// The value `name` of this type and these extents.
pub(super) fn value(name: &str, element: ElementType, dim: Vec<Dimension>) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: element.to_proto(), shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..Default::default() }
}

/// Whether the numbers are floating-point ones that normalised pixels come in.
pub(super) fn is_float(of: ElementType) -> bool {
    matches!(of, ElementType::F32 | ElementType::F16 | ElementType::F64)
}
