//! What is asked of `compare`.

use std::path::PathBuf;

use super::tolerance::ToleranceOverride;
use crate::backend::onnxruntime::options::ProviderOptions;
use crate::input::decode::Exif;
use crate::model::shaped::InputShape;

/// Synthetic images where nothing else is said.
pub(crate) const USUAL_BATCH: usize = 4;

/// Where inputs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputsFrom {
    /// Seeded noise.
    Noise {
        /// Its seed.
        seed: u64,
    },
    /// A file of arrays.
    File(PathBuf),
    /// Images, or folders of them, prepared as the first model says, and what becomes of those that lie on a side.
    Images(Vec<PathBuf>, Exif),
}

/// What to compare, by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Models; the first on the first provider is what the others are compared with.
    pub models: Vec<PathBuf>,
    /// Shapes of inputs, where the models leave them open.
    pub shapes: Vec<InputShape>,
    /// Where they run.
    pub providers: ProviderOptions,
    /// What goes in.
    pub inputs: InputsFrom,
    /// Where the inputs used are kept.
    pub save_inputs: Option<PathBuf>,
    /// Where the first candidate's outputs are kept.
    pub save_outputs: Option<PathBuf>,
    /// Batch size, and number of synthetic images; the first model's own where it is fixed, and [`USUAL_BATCH`] otherwise,
    /// unless given.
    pub batch: Option<usize>,
    /// A file of outputs to compare with instead of the first candidate's.
    pub reference: Option<PathBuf>,
    /// Tolerances, where they do not follow from the precision.
    pub tolerance: ToleranceOverride,
    /// Whether to find the first block that differs.
    pub layers: bool,
}

impl Options {
    /// These models on these providers, four seeded inputs, nothing kept.
    pub fn of(models: Vec<PathBuf>, providers: ProviderOptions) -> Options {
        Options {
            models,
            shapes: Vec::new(),
            providers,
            inputs: InputsFrom::Noise { seed: 0 },
            save_inputs: None,
            save_outputs: None,
            batch: None,
            reference: None,
            tolerance: ToleranceOverride::default(),
            layers: false,
        }
    }

    /// The files that are read besides the models.
    pub(crate) fn read(&self) -> Vec<PathBuf> {
        let inputs = match &self.inputs {
            InputsFrom::Noise { .. } => &[],
            InputsFrom::File(path) => std::slice::from_ref(path),
            InputsFrom::Images(paths, _) => paths.as_slice(),
        };
        inputs.iter().chain(&self.reference).cloned().collect()
    }
}
