//! Results as comma-separated values, for spreadsheets: one line a row, units in the headings.

use super::bench::scope;
use super::document::one_line;
use crate::bench::Bench;
use crate::calibrate::Calibration;
use crate::compare::Comparison;
use crate::eval::Evaluation;
use crate::eval::tally::ClassRow;
use crate::infer::Inference;
use crate::stats::range::f16_headroom;
use crate::tune::{Timing, Tuned};

/// Writes lines of fields, quoted where they must be.
fn render(lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for line in lines {
        // Writing to memory fails for no line.
        let _ = writer.write_record(&line);
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn strings(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|&field| field.to_owned()).collect()
}

/// A number, or nothing.
fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn kebab(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A line for each row of a benchmark.
pub fn bench(bench: &Bench) -> String {
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
        line.push(row.error.as_ref().map(|error| one_line(&error.to_string())).unwrap_or_default());
        line
    });
    render(std::iter::once(heading).chain(lines))
}

/// A line for each output of each candidate of a comparison; one without numbers for a candidate without outputs.
pub fn compare(comparison: &Comparison) -> String {
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
        let error = row.error.as_ref().map_or_else(|| row.failures.join("; "), |error| one_line(&error.to_string()));
        let line = |metrics: &crate::compare::Metrics| {
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

/// A line for each class of each image, best first; one without a class for an image that could not be read or
/// classified, and one without an image for what ended it early.
pub fn infer(inference: &Inference) -> String {
    let heading = strings(&["image", "rank", "class", "label", "probability", "score", "error"]);
    let lines = inference.images.iter().flat_map(|image| {
        if let Some(error) = &image.error {
            let mut line = vec![image.path.clone()];
            line.resize(6, String::new());
            line.push(error.clone());
            return vec![line];
        }
        let line = |(rank, class): (usize, &crate::classify::Class)| {
            vec![
                image.path.clone(),
                (rank + 1).to_string(),
                class.index.to_string(),
                class.label.clone().unwrap_or_default(),
                class.probability.to_string(),
                class.score.to_string(),
                String::new(),
            ]
        };
        image.top.iter().enumerate().map(line).collect()
    });
    let ended = inference.error.iter().map(|error| {
        let mut line = vec![String::new(); 6];
        line.push(one_line(&error.to_string()));
        line
    });
    render(std::iter::once(heading).chain(lines).chain(ended))
}

/// A line for each candidate of each round at each batch size of a search for the fastest widths; one without numbers
/// for a candidate that was not measured.
pub fn tune(tuned: &Tuned) -> String {
    let heading = strings(&[
        "round",
        "widths",
        "subsample",
        "batch",
        "runs",
        "median_ms",
        "speed_up",
        "speed_up_low",
        "speed_up_high",
        "out",
    ]);
    let trials = tuned.rounds.iter().flat_map(|round| round.trials.iter().map(move |trial| (round, trial)));
    let lines = trials.flat_map(|(round, trial)| {
        let widths: Vec<String> = trial.choice.widths.iter().map(ToString::to_string).collect();
        let out = trial.out.as_deref().map(one_line).unwrap_or_default();
        if trial.rows.is_empty() {
            let mut line = vec![round.name.clone(), widths.join(" "), trial.choice.subsample.to_string()];
            line.resize(9, String::new());
            line.push(out);
            return vec![line];
        }
        let line = |timing: &Timing| {
            let ratio = timing.speed_up.as_ref();
            vec![
                round.name.clone(),
                widths.join(" "),
                trial.choice.subsample.to_string(),
                timing.batch.to_string(),
                timing.runs.to_string(),
                timing.median_ms.to_string(),
                number(ratio.map(|ratio| ratio.ratio)),
                number(ratio.and_then(|ratio| ratio.interval).map(|interval| interval[0])),
                number(ratio.and_then(|ratio| ratio.interval).map(|interval| interval[1])),
                out.clone(),
            ]
        };
        trial.rows.iter().map(line).collect()
    });
    render(std::iter::once(heading).chain(lines))
}

/// A line for each value inside a calibrated network.
pub fn calibrate(calibration: &Calibration) -> String {
    let heading = strings(&["stage", "node", "op", "value", "min", "max", "max_abs", "f16_headroom", "non_finite"]);
    let lines = calibration.values.iter().map(|value| {
        let mut line = vec![value.stage.clone(), value.node.clone(), value.op.clone(), value.name.clone()];
        line.extend([value.min, value.max, value.max_abs, value.max_abs.and_then(f16_headroom)].map(number));
        line.push(value.non_finite.to_string());
        line
    });
    render(std::iter::once(heading).chain(lines))
}

/// A line for each class of each candidate of an evaluation; one without a class for a candidate that has none, and for
/// each image that could not be read.
pub fn eval(evaluation: &Evaluation) -> String {
    let heading = strings(&[
        "provider",
        "model",
        "class",
        "label",
        "images",
        "right",
        "recall",
        "recall_low",
        "recall_high",
        "predicted",
        "precision",
        "error",
    ]);
    let without_class = |provider: &str, model: &str, error: String| {
        let mut line = strings(&[provider, model]);
        line.resize(11, String::new());
        line.push(error);
        line
    };
    let lines = evaluation.candidates.iter().flat_map(|candidate| {
        let error = candidate.error.as_ref().map(|error| one_line(&error.to_string())).unwrap_or_default();
        let failed = candidate.not_finite.iter().map(|path| format!("{path}: {}", crate::classify::NOT_FINITE));
        let failed: Vec<String> = failed.collect();
        if candidate.classes.is_empty() {
            let errors = if failed.is_empty() { vec![error] } else { failed };
            return errors.into_iter().map(|e| without_class(&candidate.provider, &candidate.model, e)).collect();
        }
        let line = |row: &ClassRow| {
            vec![
                candidate.provider.clone(),
                candidate.model.clone(),
                row.index.to_string(),
                row.label.clone().unwrap_or_default(),
                row.images.to_string(),
                row.right.to_string(),
                number(row.recall.map(|recall| recall.proportion)),
                number(row.recall.map(|recall| recall.interval[0])),
                number(row.recall.map(|recall| recall.interval[1])),
                row.predicted.to_string(),
                number(row.precision),
                error.clone(),
            ]
        };
        candidate.classes.iter().map(line).collect::<Vec<_>>()
    });
    let broken = evaluation.broken.iter().map(|one| without_class("", "", format!("{}: {}", one.path, one.reason)));
    render(std::iter::once(heading).chain(lines).chain(broken))
}
