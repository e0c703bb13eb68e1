//! From a valid graph to ONNX. The importer is its counterpart; apart from the two, only inspection looks into a file.

use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto, type_proto,
};

use crate::graph::{Dim, Graph, Op, ValueId};
use crate::validate::Valid;

/// Opsets that the exporter writes. The operators it uses keep their meaning from 13 to 25.
pub const OPSETS: std::ops::RangeInclusive<i64> = 13..=25;

/// Versions that a file declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Operator set of the default domain.
    pub opset: i64,
    /// Version of the file format.
    pub ir: i64,
}

impl Versions {
    /// An opset with the IR version of the ONNX release that introduced it, which every reader of that opset knows.
    pub const fn of_opset(opset: i64) -> Self {
        let ir = match opset {
            ..=14 => 7,
            15..=18 => 8,
            19..=20 => 9,
            21..=22 => 10,
            23 => 11,
            24 => 12,
            _ => 13,
        };
        Self { opset, ir }
    }
}

impl Default for Versions {
    /// Opset 17 with IR 8: loads in every onnxruntime since 1.13 and in the other common runtimes.
    fn default() -> Self {
        Self::of_opset(17)
    }
}

/// A model without its weights: each initializer carries name, type and dimensions.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The model.
    pub model: ModelProto,
    /// The graph's values behind the initializers, in the same order.
    pub weights: Vec<ValueId>,
}

/// Writes `valid` as an ONNX model called `name`.
pub fn export(valid: Valid<'_>, name: &str, versions: Versions) -> Exported {
    let graph = valid.graph();
    let weights = graph.weights();
    let info = |&id: &ValueId| value_info(graph, id);
    let intermediate = graph.nodes.iter().map(|n| n.output).filter(|id| !graph.outputs.contains(id));
    let proto = GraphProto {
        name: name.into(),
        node: graph.nodes.iter().map(|node| node_proto(graph, node)).collect(),
        initializer: weights.iter().map(|&id| declaration(graph, id)).collect(),
        input: graph.inputs.iter().map(info).collect(),
        output: graph.outputs.iter().map(info).collect(),
        value_info: intermediate.map(|id| info(&id)).collect(),
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: versions.ir,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: versions.opset }],
        producer_name: "resnext-build".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(proto),
        ..Default::default()
    };
    Exported { model, weights }
}

fn node_proto(graph: &Graph, node: &crate::graph::Node) -> NodeProto {
    NodeProto {
        name: node.name.clone(),
        op_type: node.op.name().into(),
        input: node.inputs.iter().map(|&id| graph.value(id).name.clone()).collect(),
        output: vec![graph.value(node.output).name.clone()],
        attribute: attributes(graph, node),
        ..Default::default()
    }
}

/// The attributes of a node, every one written out.
pub(crate) fn attributes(graph: &Graph, node: &crate::graph::Node) -> Vec<AttributeProto> {
    match node.op {
        Op::Conv(conv) => vec![
            ints("dilations", &conv.dilation),
            int("group", conv.group as i64),
            ints("kernel_shape", &conv.kernel),
            ints("pads", &conv.padding),
            ints("strides", &conv.stride),
        ],
        Op::BatchNorm { epsilon } => vec![float("epsilon", epsilon as f32)],
        Op::MaxPool(pool) => {
            vec![ints("kernel_shape", &pool.kernel), ints("pads", &pool.padding), ints("strides", &pool.stride)]
        }
        Op::Concat => vec![int("axis", 1)],
        Op::Flatten => vec![int("axis", 1)],
        Op::Gemm => vec![int("transB", 1)],
        Op::Cast => vec![int("to", i64::from(graph.value(node.output).element.to_proto()))],
        Op::QuantizeLinear { axis } | Op::DequantizeLinear { axis } => {
            // The axis of one scale means nothing.
            let scales = node.inputs.get(1).map_or(0, |&id| graph.value(id).shape.len());
            if scales == 1 { vec![int("axis", axis as i64)] } else { Vec::new() }
        }
        Op::Pad { .. } => vec![string("mode", "constant")],
        Op::Relu | Op::Add | Op::Sum | Op::GlobalAveragePool | Op::Slice { .. } | Op::Clip => Vec::new(),
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

fn string(name: &str, s: &'static str) -> AttributeProto {
    AttributeProto { s: s.into(), ..attribute(name, AttributeType::String) }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&v| v as i64).collect();
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

fn declaration(graph: &Graph, id: ValueId) -> TensorProto {
    let value = graph.value(id);
    TensorProto {
        name: value.name.clone(),
        data_type: value.element.to_proto(),
        dims: value.shape.iter().filter_map(Dim::fixed).map(|n| n as i64).collect(),
        ..Default::default()
    }
}

fn value_info(graph: &Graph, id: ValueId) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension};
    let value = graph.value(id);
    let dimension = |dim: &Dim| {
        let value = match dim {
            Dim::Fixed(n) => Some(dimension::Value::DimValue(*n as i64)),
            Dim::Named(name) => Some(dimension::Value::DimParam(name.clone())),
            Dim::Unknown => None,
        };
        Dimension { value, ..Default::default() }
    };
    let shape = TensorShapeProto { dim: value.shape.iter().map(dimension).collect() };
    let tensor = type_proto::Tensor { elem_type: value.element.to_proto(), shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: value.name.clone(), r#type: Some(r#type), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Options, build};
    use crate::passes::fold_bn;
    use crate::validate::validate;
    use crate::variant::Variant;

    #[test]
    fn every_intermediate_value_carries_its_shape() {
        let variant = Variant::parse("50_32x4d").unwrap();
        let mut graph = build(&variant, &Options::classifier(&variant)).unwrap();
        fold_bn(&mut graph);
        let exported = export(validate(&graph).unwrap(), "50_32x4d", Versions::default());
        let proto = exported.model.graph.unwrap();
        assert_eq!(proto.value_info.len(), proto.node.len() - 1);
        assert_eq!(proto.initializer.len(), exported.weights.len());
        assert_eq!(proto.initializer.len(), 2 * 54);
        let group = |n: &NodeProto| n.attribute.iter().find(|a| a.name == "group").map(|a| a.i);
        let conv2 = proto.node.iter().find(|n| n.name == "layer1.0.conv2").unwrap();
        assert_eq!(group(conv2), Some(32));
        assert!(proto.node.iter().flat_map(|n| &n.attribute).all(|a| a.r#type != 0));
    }
}
