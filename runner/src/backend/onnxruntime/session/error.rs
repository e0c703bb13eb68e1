//! Errors of runs in this program's terms.

use onnx_file::budget::{self, Amount};
use ort::ErrorCode;

use crate::backend::onnxruntime::provider::Kind;
use crate::backend::onnxruntime::runtime::said;
use crate::model::opened::{ModelError, Ports};
use onnx_file::port::Port;

/// Whether onnxruntime says that it got no memory. It has no code for that: its own arena words it in one way, the C++
/// library in another.
pub(crate) fn out_of_memory(error: &ort::Error) -> Option<ModelError> {
    let words = ["Failed to allocate memory", "bad_alloc", "bad allocation"];
    if !words.iter().any(|words| error.message().contains(words)) {
        return None;
    }
    let (limit, said) = (Amount(budget::limit()), said(error));
    Some(ModelError::OutOfMemory(format!(
        "it got no more memory, where a worker may take {limit}: {said}\nhint: --max-memory sets another limit; smaller \
         batches need less"
    )))
}

pub(crate) fn run_failed(error: &ort::Error) -> ModelError {
    if let Some(out) = out_of_memory(error) {
        return out;
    }
    match error.code() {
        ErrorCode::InvalidArgument => ModelError::BadInput(said(error)),
        _ => ModelError::Failed(said(error)),
    }
}

/// The probe's inputs are this program's choice, so their misfit is no fault of the caller's input. The CPU provider lacks
/// nothing: what fails there is the model, or what was chosen for extents that it leaves open.
pub(crate) fn probe_failed(error: &ModelError, kind: Kind, ports: &Ports) -> ModelError {
    let (ModelError::BadInput(reason) | ModelError::Failed(reason)) = error else { return error.clone() };
    let open = |port: &&Port| port.shape.as_deref().is_some_and(|shape| shape.contains(&None));
    let inputs: Vec<String> = ports.inputs.iter().filter(open).map(Port::to_string).collect();
    let hint = match inputs.as_slice() {
        [] => String::new(),
        inputs => format!(
            "\nhint: extents that the model leaves open were chosen for it; --shape NAME:1x3x224x224 gives others for {}",
            inputs.join("; ")
        ),
    };
    let told = format!("the model loaded, but its first run failed: {reason}{hint}");
    if kind == Kind::Cpu { ModelError::BadModel(told) } else { ModelError::Failed(told) }
}
