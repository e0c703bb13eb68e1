//! Results of `compare` as comma-separated values.

use super::comparison::Comparison;
use super::difference::joined;
use crate::report::csv::{kebab, number, render, strings};
use crate::report::document::one_line;

/// A line for each output of each candidate of a comparison; one without numbers for a candidate without outputs.
pub fn csv(comparison: &Comparison) -> String {
    let heading = strings(&[
        "provider",
        "model",
        "status",
        "precision",
        "output",
        "max_abs",
        "max_rel",
        "rms",
        "reference_rms",
        "cosine",
        "beyond_tolerance",
        "atol",
        "rtol",
        "noise_floor",
        "top1_agreement",
        "top5_agreement",
        "margin_flips",
        "error",
    ]);
    let lines = comparison.rows.iter().flat_map(|row| {
        let head = vec![row.provider.clone(), row.model.clone(), kebab(&row.status), row.precision.to_string()];
        let error =
            row.error.as_ref().map_or_else(|| joined(&row.failures, "; "), |error| one_line(&error.to_string()));
        let line = |metrics: &crate::verb::compare::metrics::Metrics| {
            let classes = metrics.classes.as_ref();
            let mut line = head.clone();
            line.push(metrics.name.clone());
            line.extend([metrics.max_abs, metrics.max_rel, metrics.rms, metrics.reference_rms].map(|n| n.to_string()));
            line.extend([number(metrics.cosine), metrics.beyond_tolerance.to_string()]);
            line.extend([metrics.tolerance.atol, metrics.tolerance.rtol, metrics.noise_floor].map(|n| n.to_string()));
            line.push(number(classes.map(|classes| classes.top1)));
            line.push(number(classes.and_then(|classes| classes.top5)));
            line.push(classes.map(|classes| classes.margin_flips.to_string()).unwrap_or_default());
            line.push(error.clone());
            line
        };
        if row.outputs.is_empty() {
            let mut line = head.clone();
            line.resize(17, String::new());
            line.push(error.clone());
            return vec![line];
        }
        row.outputs.iter().map(line).collect()
    });
    render(std::iter::once(heading).chain(lines))
}
