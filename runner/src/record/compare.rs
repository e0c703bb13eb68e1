//! A comparison that was kept: what of it is needed to look at it again.

use serde::Deserialize;

use crate::model::opened::Loaded;

/// A comparison.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Comparison {
    /// Where the inputs came from.
    pub inputs: String,
    /// What the rows are compared against.
    pub reference: Option<String>,
    /// One for each candidate.
    pub rows: Vec<Row>,
    /// Where two candidates begin to differ.
    pub layers: Option<Layers>,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The others are compared against it.
    Reference,
    /// All outputs within tolerance.
    Agrees,
    /// An output is not.
    Differs,
    /// Two runs on the same input differ.
    NotRepeatable,
    /// It gave no result.
    NoResult,
    /// There was nothing to compare it with.
    NotCompared,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Row {
    /// Model file.
    pub model: String,
    /// Provider.
    pub provider: String,
    /// What became of it.
    pub status: Status,
    /// Absent where loading failed.
    pub loaded: Option<Loaded>,
    /// Every output against the reference.
    pub outputs: Vec<Metrics>,
    /// What is wrong.
    pub failures: Vec<serde_json::Value>,
    /// Why there is no result.
    pub error: Option<serde_json::Value>,
}

/// How far an output may be from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Tolerance {
    /// Absolute.
    pub atol: f64,
    /// Relative.
    pub rtol: f64,
}

/// How an output compares with its reference.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Metrics {
    /// Name of the output.
    pub name: String,
    /// Its shape.
    #[serde(default)]
    pub shape: Option<Vec<usize>>,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// Largest absolute difference; absent where it was not finite.
    pub max_abs: Option<f64>,
    /// Largest relative difference.
    pub max_rel: Option<f64>,
    /// Root mean square of the difference.
    pub rms: Option<f64>,
    /// Root mean square of the reference.
    pub reference_rms: Option<f64>,
    /// What outputs differ by from themselves, allowed besides the tolerance.
    #[serde(default)]
    pub noise_floor: f64,
    /// Elements that are NaN, in the output and in the reference.
    #[serde(default)]
    pub nan: [usize; 2],
    /// Elements that are infinite, likewise.
    #[serde(default)]
    pub infinite: [usize; 2],
    /// Elements that differ by more than is allowed.
    pub beyond_tolerance: usize,
}

impl Metrics {
    /// Of how many kinds there are elements that are not finite, each a failure of its own: NaN or infinite, on either
    /// side.
    pub fn kinds_not_finite(&self) -> usize {
        self.nan.iter().chain(&self.infinite).filter(|&&elements| elements > 0).count()
    }
}

/// Outputs of blocks that were compared.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Layers {
    /// The two candidates.
    pub candidates: [String; 2],
    /// Each block looked at, in the order of the graph.
    pub looked_at: Vec<Looked>,
    /// The first that differs.
    pub first_diverging: Option<String>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Looked {
    /// Its last node.
    pub node: String,
    /// Whether both agree there.
    pub agrees: bool,
    /// By how much they differ.
    pub metrics: Metrics,
}
