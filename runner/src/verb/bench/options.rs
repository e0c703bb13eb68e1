//! What is asked of `bench`.

use std::path::PathBuf;

use super::plan::Plan;
use crate::backend::onnxruntime::options::ProviderOptions;
use crate::model::shaped::InputShape;
use crate::verb::regression::limits::Limits;

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
    /// An earlier measurement to compare with; the first candidate is compared with unless given.
    pub baseline: Option<PathBuf>,
    /// What is allowed, where a verdict is asked for.
    pub limits: Option<Limits>,
}
