//! A calibration that was kept: what of it is needed to look at it again.

use serde::Deserialize;

use crate::model::opened::Loaded;

/// A calibration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Calibration {
    /// The model.
    pub model: Model,
    /// What went in.
    pub inputs: Inputs,
    /// Provider.
    pub provider: String,
    /// Library, options, placement.
    pub loaded: Option<Loaded>,
    /// Every value, in the order of the graph.
    pub values: Vec<Value>,
    /// Whether f16 holds them.
    pub verdict: Verdict,
}

/// The model measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Model {
    /// Its file.
    pub file: String,
}

/// What the ranges hold for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Inputs {
    /// How many.
    pub count: u64,
}

/// A value inside the network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// The smallest number; absent where none is finite.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The largest magnitude.
    pub max_abs: Option<f64>,
}

/// Whether f16 holds what was measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Verdict {
    /// Whether it does.
    pub f16_safe: bool,
    /// How many times larger the largest value could be.
    pub headroom: Option<f64>,
    /// Nodes whose values or weights it cannot hold.
    pub overflowing: Vec<String>,
}
