//! Results of `quantize` as comma-separated values.

use super::result::Quantized;
use crate::report::csv::{number, render, strings};

/// One line: the accuracy of both files.
pub fn csv(quantized: &Quantized) -> String {
    let heading = strings(&[
        "model",
        "output",
        "images",
        "labelled",
        "right_f32",
        "right_int8",
        "lost",
        "gained",
        "loss_points",
        "loss_bound_points",
        "int8_coverage",
    ]);
    let found = &quantized.accuracy;
    let mut line = vec![quantized.model.clone(), quantized.output.clone()];
    line.extend([found.images.to_string(), found.labelled.to_string()]);
    line.extend([found.right_f32, found.right_int8, found.lost, found.gained].map(|count| count.to_string()));
    line.extend([found.loss_points, found.loss_bound_points].map(|points| points.to_string()));
    line.push(number(quantized.int8_coverage.as_ref().map(|coverage| coverage.share)));
    render([heading, line].into_iter())
}
