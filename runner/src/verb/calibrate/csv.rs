//! Results of `calibrate` as comma-separated values.

use super::result::Calibration;
use crate::report::csv::{number, render, strings};
use crate::stats::range::f16_headroom;

/// A line for each value inside a calibrated network.
pub fn csv(calibration: &Calibration) -> String {
    let heading = strings(&["stage", "node", "op", "value", "min", "max", "max_abs", "f16_headroom", "non_finite"]);
    let lines = calibration.values.iter().map(|value| {
        let range = &value.range;
        let [node, op] = [&range.node, &range.op].map(|name| name.clone().unwrap_or_default());
        let mut line = vec![value.stage.clone(), node, op, range.name.clone()];
        line.extend(
            [value.range.min, value.range.max, range.max_abs, range.max_abs.and_then(f16_headroom)].map(number),
        );
        line.push(range.non_finite.to_string());
        line
    });
    render(std::iter::once(heading).chain(lines))
}
