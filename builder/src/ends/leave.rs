//! Behind a network: probabilities instead of logits.

use onnx_file::element::ElementType;
use onnx_file::meaning::{Meaning, Meanings};
use onnx_file::port::Port;
use onnx_file::proto::GraphProto;

use super::error::EndsError;
use super::names::{Names, rename};
use super::nodes::{dims, int, is_float, node, value};

/// What an output of probabilities is called.
const PROBABILITIES: &str = "probabilities";

/// Puts a softmax over the classes behind every output of logits.
pub(super) fn softmax(graph: &mut GraphProto, names: &mut Names, opset: i64) -> Result<(), EndsError> {
    let meanings = Meanings::of(graph, opset);
    let all: Vec<(Port, Meaning)> =
        graph.output.iter().map(|output| (Port::of(output), meanings.meaning(&output.name))).collect();
    let is_of_classes = |port: &Port| {
        let classes = port.shape.as_deref().and_then(|shape| shape.get(1).copied());
        let flat = port.shape.as_deref().is_some_and(|shape| shape.len() == 2);
        // One logit is for a sigmoid.
        flat && classes != Some(Some(1)) && port.element_type.is_some_and(is_float)
    };
    let wanted = |(port, meaning): &(Port, Meaning)| *meaning == Meaning::Logits && is_of_classes(port);
    let places: Vec<usize> = (0..all.len()).filter(|&at| wanted(&all[at])).collect();
    if places.is_empty() {
        let has = |of: Meaning| all.iter().any(|(_, meaning)| *meaning == of);
        let reason =
            if has(Meaning::Probabilities) { "the model gives probabilities already" } else { "the model has none" };
        return Err(EndsError::NoLogits(reason.into()));
    }
    for at in places {
        let output = &mut graph.output[at];
        let logits = output.name.clone();
        let name = names.fresh(PROBABILITIES);
        let described = output.clone();
        output.name.clone_from(&name);
        if !graph.value_info.iter().any(|value| value.name == logits) {
            graph.value_info.push(described);
        }
        graph.node.push(node("Softmax", &[&logits], &name, vec![int("axis", 1)]));
    }
    Ok(())
}

/// Puts a cast to f32 behind every output of f16, which keeps its name.
pub(super) fn widen(graph: &mut GraphProto, names: &mut Names) {
    for at in 0..graph.output.len() {
        let port = Port::of(&graph.output[at]);
        if port.element_type != Some(ElementType::F16) {
            continue;
        }
        let described = graph.output[at].clone();
        let inner = names.fresh(&format!("{}.{}", port.name, ElementType::F16.name()));
        rename(graph, names, &port.name, &inner);
        let dim = dims(&described).unwrap_or_default().to_vec();
        graph.value_info.push(value(&inner, ElementType::F16, dim.clone()));
        graph.output[at] = value(&port.name, ElementType::F32, dim);
        let to = vec![int("to", i64::from(ElementType::F32.to_proto()))];
        graph.node.push(node("Cast", &[&inner], &port.name, to));
    }
}
