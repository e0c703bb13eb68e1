//! What a calibration finds.

use resnext_builder::calibration::{InputSource, Inputs as Fed, Measured, Range};
use serde::Serialize;

use super::weights::Weights;
use crate::input::broken::Broken;
use crate::model::opened::Loaded;

/// Headroom from which on other inputs are not expected to overflow.
pub const COMFORTABLE: f64 = 8.0;

/// What went in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inputs {
    /// What the ranges hold for; broken images do not count.
    #[serde(flatten)]
    pub fed: Fed,
    /// Images that could not be read.
    pub broken: Vec<Broken>,
    /// Images whose files say that they lie on a side.
    #[serde(skip)]
    pub oriented: Vec<String>,
}

impl Inputs {
    /// Before the first.
    pub(crate) fn none(source: InputSource, seed: Option<u64>) -> Inputs {
        Inputs { fed: Fed { source, count: 0, seed }, broken: Vec::new(), oriented: Vec::new() }
    }

    /// How many the ranges hold for.
    pub fn count(&self) -> usize {
        usize::try_from(self.fed.count).unwrap_or(usize::MAX)
    }
}

/// A value inside the network, over all inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Its name, the node that makes it (none for the input), its ends and magnitude: what a build reads.
    #[serde(flatten)]
    pub range: Range,
    /// Part of the network: `stem`, `layer1`, ..., `head`.
    #[serde(skip)]
    pub stage: String,
}

/// All values together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Elements {
    /// Elements of all values over all inputs.
    pub count: u64,
    /// Those not zero and below the smallest normal number of f16, where it has fewer digits.
    pub below_f16_normal: u64,
}

/// The whole calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The model.
    pub model: Measured,
    /// What went in.
    pub inputs: Inputs,
    /// Provider.
    pub provider: String,
    /// Library, options, placement, of the copy with all values as outputs.
    pub loaded: Loaded,
    /// The input, and every floating-point value that a node makes, in the order of the graph.
    pub values: Vec<Value>,
    /// All of them together.
    pub elements: Elements,
    /// The weights.
    pub weights: Weights,
    /// Whether f16 holds all that.
    pub verdict: Verdict,
    /// Whether an int8 model can be made of it: a file that lies here, in f32.
    #[serde(skip)]
    pub may_be_int8: bool,
}

/// Whether f16 holds what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether every value and weight is finite and within f16's range.
    pub f16_safe: bool,
    /// Largest magnitude of a value; `None` where no element of any is finite.
    pub largest: Option<f64>,
    /// f16's largest number divided by that; `None` where all values are 0.
    pub headroom: Option<f64>,
    /// Nodes whose values or weights f16 cannot hold, in the order of the graph.
    pub overflowing: Vec<String>,
    /// Nodes that must stay f32 for that: those and the ones that take their values; instead of a node that was
    /// added to subsample the input of a strided convolution, that convolution and who makes its input. What is not finite in f32
    /// already is not among them, because it stays so.
    pub keep_f32: Vec<String>,
    /// Whether something is NaN or infinite that no node in f32 fixes: a weight, or a value of the model's own f32
    /// arithmetic.
    #[serde(skip)]
    pub unfixable: bool,
    /// Whether an output of the model is too large for f16, so that outputs must stay f32, too.
    pub keep_io_types: bool,
}

impl Verdict {
    /// Whether f16 holds what was measured, but hardly more.
    pub fn is_tight(&self) -> bool {
        self.f16_safe && self.headroom.is_some_and(|headroom| headroom < COMFORTABLE)
    }
}
