//! Errors of runs in this program's terms.

use ort::ErrorCode;

use crate::backend::onnxruntime::runtime::said;
use crate::model::opened::ModelError;

pub(crate) fn run_failed(error: &ort::Error) -> ModelError {
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
