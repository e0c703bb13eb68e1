//! What is asked of `bench`.

use std::path::PathBuf;

use super::plan::Plan;
use crate::backend::onnxruntime::options::ProviderOptions;
use crate::model::shaped::InputShape;

/// What to measure, on what, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Models; the first on the first provider is what speed-ups are relative to.
    pub models: Vec<PathBuf>,
    /// Shapes of inputs, where the models leave them open.
    pub shapes: Vec<InputShape>,
    /// Where they run.
    pub providers: ProviderOptions,
    /// How they are measured.
    pub plan: Plan,
}
