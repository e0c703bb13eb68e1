//! Models that a test builds and reads back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use onnx_file::proto::{ModelProto, NodeProto, TensorProto};
use onnx_file::tensor::to_f32;

use super::program::succeed;

pub(crate) const SMALL: [&str; 8] =
    ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--image-size", "64", "--num-classes", "5"];

pub(crate) fn build(folder: &Path, output: &str, more: &[&str]) -> ModelProto {
    succeed(folder, &[&SMALL[..], &["-q", "-o", output], more].concat());
    read(&folder.join(output))
}

pub(crate) fn read(path: &Path) -> ModelProto {
    let mut model = onnx_file::read::read(path).expect("a model");
    for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        onnx_file::read::load_external(path, tensor).expect("its data");
    }
    model
}

pub(crate) fn export(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports").join(name)
}

/// Nodes with their attributes, and the numbers of every weight where it is used: all but the names of weights.
pub(crate) fn meaning(model: &ModelProto) -> Vec<(NodeProto, Vec<Vec<f32>>)> {
    let graph = model.graph.as_ref().expect("a graph");
    let weights: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let node = |node: &NodeProto| {
        let numbers = node.input.iter().filter_map(|i| weights.get(i.as_str())).map(|t| to_f32(t).expect("floats"));
        let input = node.input.iter().filter(|i| !weights.contains_key(i.as_str())).cloned().collect();
        (NodeProto { input, ..node.clone() }, numbers.collect())
    };
    graph.node.iter().map(node).collect()
}

pub(crate) fn groups(model: &ModelProto) -> Vec<i64> {
    let group = |node: &NodeProto| node.attribute.iter().find(|a| a.name == "group").map(|a| a.i);
    model.graph.iter().flat_map(|g| &g.node).filter_map(group).filter(|&group| group > 1).collect()
}

/// The convolutions whose pixels are taken before them.
pub(crate) fn subsampled(model: &ModelProto) -> Vec<&str> {
    let nodes = &model.graph.as_ref().expect("a graph").node;
    let one = |node: &NodeProto| node.attribute.iter().any(|a| a.name == "kernel_shape" && a.ints == [1, 1]);
    let pixels = nodes.iter().filter(|node| node.op_type == "MaxPool" && one(node));
    let taken_by = |pixels: &NodeProto| nodes.iter().position(|node| node.input.contains(&pixels.output[0]));
    let convolution = |pixels: &NodeProto| {
        let conv = &nodes[taken_by(pixels).expect("a use")];
        let strides = conv.attribute.iter().find(|a| a.name == "strides").expect("strides");
        assert_eq!((conv.op_type.as_str(), &strides.ints[..]), ("Conv", &[1, 1][..]));
        conv.name.as_str()
    };
    pixels.map(convolution).collect()
}

pub(crate) fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}
