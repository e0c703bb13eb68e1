//! What onnxruntime calls the nodes of a file once it has optimised them: it has no other link back.

use std::collections::{HashMap, HashSet};

use onnx_file::proto::{GraphProto, NodeProto};

use crate::model::values;

/// The names of a file's nodes, and who makes its values.
pub(super) struct Names<'f> {
    nodes: HashSet<&'f str>,
    makers: HashMap<&'f str, &'f NodeProto>,
}

impl<'f> Names<'f> {
    pub(super) fn of(file: &'f GraphProto) -> Self {
        let makers = file.node.iter().flat_map(|node| node.output.iter().map(move |value| (value.as_str(), node)));
        Names { nodes: file.node.iter().map(|node| node.name.as_str()).collect(), makers: makers.collect() }
    }

    /// A node's name in the file. onnxruntime keeps the name of what it fuses and makes it unique with `_token_N`; a
    /// convolution in blocks of channels it calls after the value that it makes, with `_nchwc`.
    pub(super) fn original<'n>(&'n self, name: &'n str) -> &'n str {
        if self.nodes.contains(name) {
            return name;
        }
        let before = name.rsplit_once("_token_").map_or(name, |(before, _)| before);
        let blocked = name.strip_suffix("_nchwc").or(before.strip_suffix("_nchwc"));
        match blocked.and_then(|value| self.convolution(value)) {
            Some(convolution) => values::name(convolution),
            None if self.nodes.contains(before) => before,
            None => name,
        }
    }

    /// The convolution that makes a value, by itself or with the activation that follows it.
    fn convolution(&self, value: &str) -> Option<&'f NodeProto> {
        let maker = self.makers.get(value)?;
        match maker.op_type.as_str() {
            "Conv" => Some(maker),
            "Relu" | "Clip" | "LeakyRelu" | "Sigmoid" | "HardSigmoid" | "Tanh" | "Add" | "Sum" => {
                let made = |input: &&String| self.makers.get(input.as_str()).is_some_and(|node| node.op_type == "Conv");
                let inner = maker.input.iter().find(made).or(maker.input.first())?;
                self.makers.get(inner.as_str()).copied().filter(|node| node.op_type == "Conv")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::compare::boundary::tests::node;

    #[test]
    fn a_name_loses_what_onnxruntime_added_and_nothing_else() {
        let nodes = vec![
            node("Conv", "conv", &["x"], "y"),
            node("Relu", "relu", &["y"], "z"),
            node("Conv", "a_token_1", &["z"], "u"),
            node("MaxPool", "pool", &["u"], "v"),
        ];
        let file = GraphProto { node: nodes, ..Default::default() };
        let names = Names::of(&file);
        for (name, original) in [
            ("conv_token_12", "conv"),
            ("a_token_1", "a_token_1"),
            ("other_token_1", "other_token_1"),
            ("y_nchwc", "conv"),
            ("z_nchwc", "conv"),
            ("z_nchwc_token_3", "conv"),
            ("v_nchwc", "v_nchwc"),
            ("w_nchwc", "w_nchwc"),
        ] {
            assert_eq!(names.original(name), original);
        }
    }
}
