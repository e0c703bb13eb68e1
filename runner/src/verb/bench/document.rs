//! A benchmark to be read.

use std::collections::BTreeMap;

use super::measurement::{Bench, Process};
use super::plan::WarmUp;
use super::rows::{Row, SpeedUp, Warning};
use crate::model::opened::{Loaded, Scope};
use crate::report::document::Column;
use crate::report::document::{Cell, Document, Table, Tone};
use crate::report::note::sentences;
use crate::report::number::{bytes, four_digits, percent, three_digits};
use crate::report::ratio::ratio_cells;
use crate::report::{machine, placement, short_names};
use crate::stats::median;
use crate::stats::percentile::Percentile;
use crate::verb::outcome::Report;
use crate::verb::regression;

/// Multiplications in floating point that are shown of a quantized model; all are in the JSON.
const FLOATS_SHOWN: usize = 5;

/// Describes a benchmark: latencies, cold start, what makes them doubtful.
pub fn document(bench: &Report<Bench>) -> Document {
    let names = short_names(bench.rows.iter().map(|row| row.model.as_str()));
    let name = |row: &Row| names.get(row.model.as_str()).cloned().unwrap_or_else(|| row.model.clone());
    let mut document = Document::default();
    document.aside(|document| document.paragraph(machine(&bench.environment)));
    document.aside(|document| document.paragraph(how(bench)));
    document.table(latencies(bench, &name));
    if let Some(footnote) = lacking(bench) {
        document.paragraph(footnote);
    }
    document.aside(|document| {
        document.heading("Cold start and memory (medians; the most memory of any start)");
        document.table(cold_start(bench, &names));
    });
    floats(&mut document, bench, &name);
    document.aside(|document| document.list("Warnings", warnings(bench, &name)));
    document.aside(|document| document.list("Notes", sentences(&bench.notes)));
    if let Some(gated) = &bench.gate {
        document.heading("Regression");
        regression::document::describe(&mut document, gated);
    }
    if bench.interrupted {
        document.verdict("stopped early: these are the runs made until then", Tone::Bad);
    }
    document
}

/// What was done, in one line.
fn how(bench: &Bench) -> String {
    let plan = &bench.plan;
    let warmup = match plan.warmup {
        WarmUp::UntilSteady => "until steady".to_owned(),
        WarmUp::Runs(1) => "1 run".to_owned(),
        WarmUp::Runs(runs) => format!("{runs} runs"),
        WarmUp::Seconds(seconds) => format!("{seconds} s"),
    };
    let processes = match bench.candidates.iter().map(|candidate| candidate.processes.len()).max() {
        None | Some(0 | 1) => ", in one process".to_owned(),
        Some(several) => format!(", spread over {several} processes"),
    };
    let length = match (plan.min_runs, plan.min_seconds) {
        (runs, seconds) if seconds <= 0.0 => format!("{runs} runs"),
        (0, seconds) => format!("{seconds} s"),
        (runs, seconds) => format!("at least {runs} runs and {seconds} s"),
    };
    format!("{length} a row{processes}, in rounds of random order; warm-up {warmup}, left out; intervals 95%")
}

/// The scope as the command line says it.
pub(crate) fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::EndToEnd => "end-to-end",
        Scope::Device => "device",
    }
}

fn latencies(bench: &Bench, name: &impl Fn(&Row) -> String) -> Table {
    let percents: Vec<f64> = bench.plan.percentiles.iter().copied().filter(|&percent| percent != 50.0).collect();
    let mut columns = vec![
        Column::text("provider"),
        Column::text("model"),
        Column::number("batch"),
        Column::text("scope"),
        Column::number("runs"),
        Column::number("min ms"),
        Column::number("mean ms"),
        Column::number("median ms"),
        Column::text("interval"),
    ];
    columns.extend(percents.iter().map(|percent| Column::number(format!("p{percent} ms"))));
    columns.extend([
        Column::number("max ms"),
        Column::number("CV"),
        Column::number("images/s"),
        Column::number("in integers"),
        Column::number("speed-up"),
        Column::text("interval"),
    ]);
    let mut table = Table::new(columns).with_keys(4);
    for row in &bench.rows {
        let mut cells: Vec<Cell> =
            vec![row.provider.clone().into(), name(row).into(), row.batch.to_string().into(), scope(row.scope).into()];
        let Some(summary) = &row.latency_ms else {
            let reason = row.error.as_ref().map_or_else(|| "not measured".to_owned(), ToString::to_string);
            cells.push(Cell::toned(reason, Tone::Bad));
            table.rows.push(cells);
            continue;
        };
        cells.push(summary.n.to_string().into());
        cells.extend([summary.min, summary.mean, summary.median].map(|value| four_digits(value).into()));
        cells.push(Cell::toned(interval(summary.median_interval), Tone::Faint));
        let percentiles = summary.percentiles.iter().filter(|percentile| percentile.percent != 50.0);
        cells.extend(percentiles.map(percentile));
        cells.push(four_digits(summary.max).into());
        cells.push(percent(summary.cv).into());
        cells.push(row.images_per_second.map(four_digits).unwrap_or_default().into());
        cells.push(row.int8_coverage.as_ref().map(|found| percent(found.share)).unwrap_or_default().into());
        cells.extend(speed_up(row.speed_up.as_ref()));
        table.rows.push(cells);
    }
    table.without_empty_columns()
}

fn interval(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(String::new, |[low, high]| format!("{} to {}", four_digits(low), four_digits(high)))
}

fn percentile(percentile: &Percentile) -> Cell {
    match percentile.value {
        Some(value) => four_digits(value).into(),
        None => Cell::toned("–", Tone::Faint),
    }
}

fn speed_up(speed_up: Option<&SpeedUp>) -> [Cell; 2] {
    speed_up.map_or_else(Default::default, |speed_up| ratio_cells(&speed_up.ratio))
}

/// How many runs the percentiles need that have too few.
fn lacking(bench: &Bench) -> Option<String> {
    let summaries = bench.rows.iter().filter_map(|row| row.latency_ms.as_ref());
    let lacking = summaries.flat_map(|summary| &summary.percentiles).filter(|percentile| percentile.value.is_none());
    let needed: BTreeMap<usize, f64> = lacking.map(|percentile| (percentile.needed, percentile.percent)).collect();
    let needed: Vec<String> = needed.iter().map(|(needed, percent)| format!("p{percent} {needed}")).collect();
    (!needed.is_empty()).then(|| format!("–: too few runs; needed: {}", needed.join(", ")))
}

fn cold_start(bench: &Bench, names: &BTreeMap<&str, String>) -> Table {
    let columns = [
        Column::text("provider"),
        Column::text("model"),
        Column::number("starts"),
        Column::number("load s"),
        Column::number("first run ms"),
        Column::number("peak memory"),
        Column::number("device memory"),
        Column::text("library"),
        Column::text("nodes placed on"),
    ];
    let mut table = Table::new(columns).with_keys(2);
    for candidate in &bench.candidates {
        let name = names.get(candidate.model.as_str()).cloned().unwrap_or_else(|| candidate.model.clone());
        let mut cells: Vec<Cell> = vec![candidate.provider.clone().into(), name.into()];
        let loaded: Vec<&Loaded> = candidate.processes.iter().filter_map(|process| process.loaded.as_ref()).collect();
        let Some(first) = loaded.first() else {
            let error = candidate.processes.iter().find_map(|process| process.error.as_ref());
            cells.push(Cell::toned(error.map_or_else(String::new, ToString::to_string), Tone::Bad));
            table.rows.push(cells);
            continue;
        };
        let seconds = |of: fn(&Loaded) -> f64| median(&loaded.iter().map(|loaded| of(loaded)).collect::<Vec<_>>());
        let most = |of: fn(&Process) -> Option<u64>| candidate.processes.iter().filter_map(of).max();
        cells.push(loaded.len().to_string().into());
        cells.push(seconds(|loaded| loaded.load_seconds).map(three_digits).unwrap_or_default().into());
        cells.push(seconds(|loaded| loaded.first_run_seconds * 1e3).map(four_digits).unwrap_or_default().into());
        cells.push(most(|process| process.peak_resident_bytes).map(bytes).unwrap_or_default().into());
        cells.push(most(|process| process.device_bytes).map(bytes).unwrap_or_default().into());
        cells.push(first.library_version.clone().into());
        cells.push(placement(first).into());
        table.rows.push(cells);
    }
    table.without_empty_columns()
}

/// Multiplications that a quantized model leaves to floating point, and why; once for each candidate.
fn floats(document: &mut Document, bench: &Bench, name: &impl Fn(&Row) -> String) {
    let mut last = None;
    for row in &bench.rows {
        let Some(found) = &row.int8_coverage else { continue };
        if last.replace(row.candidate) != Some(row.candidate) && found.integer_nodes < found.nodes.len() {
            document.paragraph(format!("{} {}: {found}", row.provider, name(row)));
            document.list("Multiplies in f32", found.sentences(FLOATS_SHOWN));
        }
    }
}

fn warnings(bench: &Bench, name: &impl Fn(&Row) -> String) -> Vec<String> {
    let mut warnings = Vec::new();
    for row in &bench.rows {
        let who = format!("{} {} batch {} {}", row.provider, name(row), row.batch, scope(row.scope));
        // Where there are no numbers, the table says why; where there are, they are incomplete.
        if let (Some(error), Some(_)) = (&row.error, &row.latency_ms) {
            warnings.push(format!("{who}: ended early: {}", Cell::from(error.to_string()).text));
        }
        if !row.warnings.is_empty() {
            warnings.push(format!("{who}: {}", sentences(&row.warnings).join(", ")));
        }
    }
    warnings
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::NotSteady => f.write_str("not steady after the warm-up"),
            Warning::Scatter { cv } => write!(f, "runs scatter by {:.1}% (coefficient of variation)", cv * 100.0),
            Warning::Drift { drift } => write!(f, "the median moved by {:+.1}% while it was measured", drift * 100.0),
            Warning::Outliers { count: 1 } => f.write_str("1 outlier, kept"),
            Warning::Outliers { count } => write!(f, "{count} outliers, kept"),
        }
    }
}
