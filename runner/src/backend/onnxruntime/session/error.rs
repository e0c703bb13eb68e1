//! Errors of runs in this program's terms.

use onnx_file::budget::{self, Amount};
use ort::ErrorCode;

use crate::backend::onnxruntime::runtime::said;
use crate::model::opened::ModelError;

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

/// The probe's inputs are this program's choice, so their misfit is no fault of the caller's input.
pub(crate) fn probe_failed(error: &ModelError) -> ModelError {
    match error {
        ModelError::BadInput(reason) | ModelError::Failed(reason) => {
            ModelError::Failed(format!("the model loaded, but its first run failed: {reason}"))
        }
        other => other.clone(),
    }
}
