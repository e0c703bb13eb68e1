//! Results of `bench` as comma-separated values.

use super::document::scope;
use super::measurement::Bench;
use crate::report::csv::{number, render, strings};
use crate::report::document::one_line;

/// A line for each row of a benchmark.
pub fn csv(bench: &Bench) -> String {
    let mut heading = strings(&[
        "provider",
        "model",
        "batch",
        "scope",
        "runs",
        "min_ms",
        "mean_ms",
        "sd_ms",
        "median_ms",
        "median_low_ms",
        "median_high_ms",
        "max_ms",
        "cv",
    ]);
    for percent in &bench.plan.percentiles {
        heading.extend([format!("p{percent}_ms"), format!("p{percent}_low_ms"), format!("p{percent}_high_ms")]);
    }
    let rest = [
        "images_per_second",
        "speed_up",
        "speed_up_low",
        "speed_up_high",
        "difference_shown",
        "drift",
        "outliers",
        "int8_coverage",
        "error",
    ];
    heading.extend(strings(&rest));
    let lines = bench.rows.iter().map(|row| {
        let mut line =
            vec![row.provider.clone(), row.model.clone(), row.batch.to_string(), scope(row.scope).to_owned()];
        let summary = row.latency_ms.as_ref();
        let of = |value: fn(&crate::stats::Summary) -> f64| number(summary.map(value));
        line.push(summary.map_or(0, |summary| summary.n).to_string());
        line.extend([of(|s| s.min), of(|s| s.mean), of(|s| s.sd), of(|s| s.median)]);
        let bounds = |interval: Option<[f64; 2]>| [number(interval.map(|i| i[0])), number(interval.map(|i| i[1]))];
        line.extend(bounds(summary.and_then(|summary| summary.median_interval)));
        line.extend([of(|s| s.max), of(|s| s.cv)]);
        for at in 0..bench.plan.percentiles.len() {
            let percentile = summary.and_then(|summary| summary.percentiles.get(at));
            line.push(number(percentile.and_then(|percentile| percentile.value)));
            line.extend(bounds(percentile.and_then(|percentile| percentile.interval)));
        }
        line.push(number(row.images_per_second));
        let ratio = row.speed_up.as_ref().map(|speed_up| &speed_up.ratio);
        line.push(number(ratio.map(|ratio| ratio.ratio)));
        line.extend(bounds(ratio.and_then(|ratio| ratio.interval)));
        line.push(ratio.map(|ratio| ratio.difference_shown.to_string()).unwrap_or_default());
        line.push(number(row.drift));
        line.push(summary.map(|summary| summary.outliers.len().to_string()).unwrap_or_default());
        line.push(number(row.int8_coverage.as_ref().map(|coverage| coverage.share)));
        line.push(row.error.as_ref().map(|error| one_line(&error.to_string())).unwrap_or_default());
        line
    });
    render(std::iter::once(heading).chain(lines))
}
