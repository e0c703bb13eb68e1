//! What of a file decides whether a stack takes it.

use std::collections::{BTreeMap, BTreeSet};

use onnx_file::element::ElementType;
use onnx_file::outline::{self, Outline};
use onnx_file::port::Port;
use onnx_file::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor_proto::DataLocation};
use onnx_file::within::Contents;

/// What is known of a file without its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Version of the format.
    pub ir: i64,
    /// Version of the default operator set.
    pub opset: i64,
    /// Operator sets other than the default one that nodes are of.
    pub domains: BTreeSet<String>,
    /// Operators of the default set, how often each.
    pub operators: BTreeMap<String, usize>,
    /// Inputs that are not weights.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Whether arithmetic is in f16.
    pub has_f16: bool,
    /// The first Gemm that computes in f16.
    pub f16_gemm: Option<String>,
    /// Whether the first extent is open, of any input.
    pub has_open_batch: bool,
    /// Whether another extent of an input is open.
    pub has_open_plane: bool,
    /// Tensors in other files.
    pub external: Option<String>,
    /// The first pooling with padding.
    pub padded_pool: Option<String>,
    /// The first convolution of more than one group.
    pub grouped: Option<String>,
    /// Bytes of the weights and the rest.
    pub bytes: u64,
    /// The first output that nodes read as well.
    pub read_output: Option<String>,
}

impl Facts {
    /// Of a file.
    pub fn of(outline: &Outline) -> Self {
        let graph = &outline.graph;
        let model = &outline.model;
        let default = |domain: &str| matches!(domain, "" | "ai.onnx");
        let Contents { nodes, tensors } = Contents::of(model, Some(graph));
        let mut operators = BTreeMap::new();
        for node in nodes.iter().filter(|node| default(&node.domain)) {
            *operators.entry(node.op_type.clone()).or_insert(0) += 1;
        }
        let inputs = Port::inputs(graph);
        let open = |axes: fn(usize) -> bool| {
            let shapes = inputs.iter().filter_map(|port| port.shape.as_deref());
            shapes.flat_map(|shape| shape.iter().enumerate()).any(|(axis, extent)| extent.is_none() && axes(axis))
        };
        let first = |suits: &dyn Fn(&NodeProto) -> bool| nodes.iter().find(|node| suits(node)).map(|node| label(node));
        let is_half = |tensor: &TensorProto| tensor.data_type == ElementType::F16.to_proto();
        // Nodes know a constant by what its node puts out.
        let constants = nodes.iter().filter(|node| node.attribute.iter().filter_map(|a| a.t.as_ref()).any(is_half));
        let halves: BTreeSet<&str> = tensors
            .iter()
            .filter(|tensor| is_half(tensor))
            .map(|tensor| tensor.name.as_str())
            .chain(
                constants.filter(|node| node.op_type == "Constant").flat_map(|node| &node.output).map(String::as_str),
            )
            .collect();
        let takes_half = |node: &NodeProto| node.input.iter().any(|input| halves.contains(input.as_str()));
        let is_padded = |node: &NodeProto| {
            let pads = attribute(node, "pads").is_some_and(|pads| pads.ints.iter().any(|pad| *pad != 0));
            let same = attribute(node, "auto_pad").is_some_and(|pad| pad.s.starts_with(b"SAME"));
            node.op_type == "MaxPool" && (pads || same)
        };
        let group = |node: &NodeProto| attribute(node, "group").map_or(1, |group| group.i);
        let read = graph.output.iter().find(|output| graph.node.iter().any(|node| node.input.contains(&output.name)));
        let external = DataLocation::External as i32;
        Self {
            ir: model.ir_version,
            opset: outline.opset().unwrap_or(0),
            domains: nodes.iter().map(|node| &node.domain).filter(|domain| !default(domain)).cloned().collect(),
            has_f16: !halves.is_empty(),
            f16_gemm: first(&|node| node.op_type == "Gemm" && takes_half(node)),
            operators,
            has_open_batch: open(|axis| axis == 0),
            has_open_plane: open(|axis| axis > 0),
            external: tensors.iter().find(|tensor| tensor.data_location == external).map(|t| t.name.clone()),
            padded_pool: first(&is_padded),
            grouped: first(&|node| node.op_type == "Conv" && group(node) > 1),
            bytes: outline.bytes.saturating_add(outline::external_bytes(graph)),
            read_output: read.map(|output| output.name.clone()),
            outputs: outputs(graph),
            inputs,
        }
    }
}

fn outputs(graph: &GraphProto) -> Vec<Port> {
    graph.output.iter().map(Port::of).collect()
}

fn label(node: &NodeProto) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}
