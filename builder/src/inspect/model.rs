//! What an ONNX file declares. Its weights are not read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use onnx_file::element::ElementType;
use onnx_file::metadata::Key;
use onnx_file::outline::{Outline, OutlineError};
use onnx_file::proto::{ModelProto, ValueInfoProto, tensor_shape_proto, tensor_shape_proto::dimension, type_proto};
use onnx_file::tensor::extent;

use super::describe::describe;
use super::result::{Architecture, Content, Declared, Extent, InspectError, Onnx, Tensor, Unknown, elements};
use super::structure;
use crate::ends::without_ends;
use crate::variant::Variant;

/// Looks into the model at `path`.
pub(super) fn inspect(path: &Path) -> Result<(Content, Vec<Tensor>, Architecture), InspectError> {
    let outline = Outline::read(path)?;
    let Outline { model, graph, .. } = &outline;
    if model.opset_import.is_empty() {
        let reason = "it names no opset".into();
        return Err(OutlineError::NotOnnx { path: path.to_owned(), reason }.into());
    }
    let tensors = graph.initializer.iter().map(|tensor| {
        let element = ElementType::from_proto(tensor.data_type);
        Tensor {
            name: tensor.name.clone(),
            shape: extent(tensor).map_or(Vec::new(), |_| tensor.dims.iter().map(|&d| d as usize).collect()),
            element_type: element.map_or(format!("type {}", tensor.data_type), |e| e.to_string()),
            is_float: element.is_some_and(ElementType::is_float),
        }
    });
    let tensors: Vec<Tensor> = tensors.collect();
    let mut operators = BTreeMap::new();
    let mut grouped_convolutions = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
        let group = node.attribute.iter().find(|a| a.name == "group").map_or(1, |a| a.i);
        if node.op_type == "Conv" && group > 1 {
            *grouped_convolutions.entry(group).or_insert(0) += 1;
        }
    }
    let integer = ["QuantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul"];
    let is_quantized = integer.iter().any(|op| operators.contains_key(*op));
    let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let is_fed = |value: &&ValueInfoProto| !weights.contains(value.name.as_str());
    let onnx = Onnx {
        ir_version: model.ir_version,
        opsets: opsets(model),
        producer: outline.producer(),
        dtype: if is_quantized { Some(ElementType::I8.to_string()) } else { dtype(&tensors) },
        inputs: graph.input.iter().filter(is_fed).map(declared).collect(),
        outputs: graph.output.iter().map(declared).collect(),
        operators,
        grouped_convolutions,
        metadata: model.metadata_props.iter().map(|e| (e.key.clone(), e.value.clone())).collect(),
    };
    let image = onnx.inputs.first().and_then(Declared::image);
    let variant = onnx.metadata.get(Key::Variant.name()).and_then(|name| Variant::parse_described(name));
    let architecture = match structure::of(&without_ends(graph), variant.as_ref()) {
        Ok(found) => describe(&found.network, image, found.form),
        Err(reason) => Architecture::Unknown(Unknown::Graph { reason }),
    };
    Ok((Content::Onnx(Box::new(onnx)), tensors, architecture))
}

/// The floating-point type of most elements.
fn dtype(tensors: &[Tensor]) -> Option<String> {
    let float = || tensors.iter().filter(|tensor| tensor.is_float);
    let types: BTreeSet<&str> = float().map(|tensor| tensor.element_type.as_str()).collect();
    let most =
        types.into_iter().max_by_key(|&element| elements(float().filter(|tensor| tensor.element_type == element)));
    most.map(str::to_string)
}

fn opsets(model: &ModelProto) -> BTreeMap<String, i64> {
    let domain = |d: &str| if d.is_empty() { "ai.onnx".to_string() } else { d.to_string() };
    model.opset_import.iter().map(|opset| (domain(&opset.domain), opset.version)).collect()
}

fn declared(value: &ValueInfoProto) -> Declared {
    let tensor = match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let extent = |dim: &tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(n)) => Extent::Fixed(*n),
        Some(dimension::Value::DimParam(name)) => Extent::Named(name.clone()),
        None => Extent::Open,
    };
    Declared {
        name: value.name.clone(),
        element_type: tensor.and_then(|t| ElementType::from_proto(t.elem_type)).map(|e| e.to_string()),
        shape: tensor.and_then(|t| t.shape.as_ref()).map(|shape| shape.dim.iter().map(extent).collect()),
    }
}
