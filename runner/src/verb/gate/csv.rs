//! Judged rows as comma-separated values.

use crate::report::csv::{kebab, number, render, strings};
use crate::report::document::one_line;
use crate::verb::regression::Gated;

/// A line for each row.
pub fn csv(gated: &Gated) -> String {
    let heading = [
        "provider",
        "model",
        "batch",
        "scope",
        "before_ms",
        "now_ms",
        "ratio",
        "ratio_low",
        "ratio_high",
        "processes_before",
        "processes_now",
        "smallest_shown",
        "verdict",
        "error",
    ];
    let lines = gated.rows.iter().map(|row| {
        let change = row.change.as_ref();
        let interval = change.and_then(|change| change.interval);
        let processes = |at: usize| change.map(|change| change.processes[at].to_string()).unwrap_or_default();
        vec![
            row.provider.clone(),
            row.model.clone(),
            row.batch.to_string(),
            kebab(&row.scope),
            number(row.before_ms),
            number(row.now_ms),
            number(change.map(|change| change.ratio)),
            number(interval.map(|interval| interval[0])),
            number(interval.map(|interval| interval[1])),
            processes(0),
            processes(1),
            number(change.and_then(|change| change.smallest_shown)),
            kebab(&row.verdict),
            row.error.as_deref().map(one_line).unwrap_or_default(),
        ]
    });
    render(std::iter::once(strings(&heading)).chain(lines))
}
