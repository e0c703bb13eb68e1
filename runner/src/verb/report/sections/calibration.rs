//! A calibration on the page.

use onnx_file::element::ElementType::F16;

use super::found::Found;
use super::{candidates, drawn};
use crate::record::calibration::Calibration;
use crate::report::document::{Cell, Column, Table, Tone};
use crate::report::number::four_digits;
use crate::report::plot::{self, Series};

/// What the calibration found.
pub(crate) fn found(calibration: &Calibration, name: &str) -> Found {
    let file = &calibration.model.file;
    let verdict = &calibration.verdict;
    let headroom = verdict.headroom.map(|headroom| format!(", {} times over", four_digits(headroom)));
    let verdict = if verdict.f16_safe {
        let text = format!("f16 holds every value and weight of {file}{}.", headroom.unwrap_or_default());
        Cell::toned(text, Tone::Good)
    } else {
        let nodes = verdict.overflowing.len();
        Cell::toned(format!("f16 does not hold {file}: values or weights of {nodes} nodes are too large."), Tone::Bad)
    };
    let mut table = Table::new([
        Column::number("place"),
        Column::text("value"),
        Column::number("min"),
        Column::number("max"),
        Column::number("largest magnitude"),
    ]);
    let mut points = Vec::new();
    for (at, value) in calibration.values.iter().enumerate() {
        let number = |number: Option<f64>| Cell::from(number.map(four_digits).unwrap_or_default());
        table.rows.push(vec![
            (at + 1).to_string().into(),
            value.name.clone().into(),
            number(value.min),
            number(value.max),
            number(value.max_abs),
        ]);
        points.extend(value.max_abs.filter(|most| *most > 0.0).map(|most| ((at + 1) as f64, most)));
    }
    let count = calibration.inputs.count;
    let title = format!("Largest magnitude of each value of {file}, over {count} inputs on {}", calibration.provider);
    let series = [Series { name: "largest magnitude".into(), points }];
    let limit = Some((F16.max_finite(), "largest number of f16"));
    let svg = plot::lines(&series, ["value, in the order of the graph", "magnitude"], limit);
    let plot = drawn(format!("{name}-ranges"), title, svg, table);
    let loaded = calibration.loaded.iter().map(|loaded| (file.as_str(), loaded));
    Found { verdicts: vec![verdict], pieces: vec![plot, candidates(loaded)] }
}
