//! What is asked of `tune`.

use std::path::PathBuf;

use crate::backend::onnxruntime::options::ProviderOptions;
use crate::model::shaped::InputShape;
use crate::verb::bench::plan::Plan;

/// What to tune, on what, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The model.
    pub model: PathBuf,
    /// Shapes of inputs, where the model leaves them open.
    pub shapes: Vec<InputShape>,
    /// Where the fastest form goes; what was found goes beside it.
    pub output: PathBuf,
    /// The one provider.
    pub providers: ProviderOptions,
    /// Channels a group to try, in each stage.
    pub widths: Vec<usize>,
    /// How a round is measured.
    pub plan: Plan,
    /// Whether existing outputs are replaced.
    pub force: bool,
}

impl Options {
    /// Where what was found goes: `model.tuning.json` for `model.onnx`.
    pub(crate) fn tuning_file(&self) -> PathBuf {
        self.output.with_extension("tuning.json")
    }
}
