//! f16: what stays f32, and what is known of its safety.

use serde::Serialize;

use crate::calibration::Activations;
use crate::weight::Rounding;

/// What stays f32 in a graph of f16.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// The graph's inputs and outputs.
    pub keep_io_types: bool,
    /// Nodes, by name.
    pub keep_f32: Vec<String>,
}

/// What is known of the safety of f16.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Safety {
    /// Nodes kept in f32.
    pub kept: Vec<String>,
    /// What rounding did to the weights.
    pub weights: Rounding,
    /// Ranges of values, where they were measured.
    pub activations: Option<Activations>,
}

/// What stands where the ranges of values were not measured.
pub const UNCHECKED: &str = "activation ranges unchecked; run resnext-run calibrate";
