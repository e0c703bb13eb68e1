//! Results of `calibrate` as comma-separated values.

use super::calibration::Calibration;
use crate::report::csv::{number, render, strings};
use crate::stats::range::f16_headroom;

/// A line for each value inside a calibrated network.
pub fn csv(calibration: &Calibration) -> String {
    let heading = strings(&["stage", "node", "op", "value", "min", "max", "max_abs", "f16_headroom", "non_finite"]);
    let lines = calibration.values.iter().map(|value| {
        let mut line = vec![value.stage.clone(), value.node.clone(), value.op.clone(), value.name.clone()];
        line.extend([value.min, value.max, value.max_abs, value.max_abs.and_then(f16_headroom)].map(number));
        line.push(value.non_finite.to_string());
        line
    });
    render(std::iter::once(heading).chain(lines))
}
