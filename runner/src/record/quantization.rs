//! A quantization that was kept: what of it is needed to judge it again.

use serde::Deserialize;

/// What an int8 file loses.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Quantization {
    /// Whether less runs in int8 than was asked for.
    pub not_covered: bool,
    /// Accuracy against the file that it was made of.
    pub accuracy: Accuracy,
    /// The largest loss, in points, that passes.
    pub max_loss_points: Option<f64>,
    /// Whether the loss may be larger than that.
    pub exceeded: bool,
}

/// Accuracy against the file that it was made of.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Accuracy {
    /// Points that the loss is below, with 95% confidence.
    pub loss_bound_points: f64,
}
