//! A measurement on the page.

use std::collections::BTreeMap;

use super::found::{Found, reason};
use super::{called, candidates, drawn};
use crate::model::opened::Scope;
use crate::record::bench::{Bench, Row};
use crate::report::document::{Cell, Column, Document, Table, Tone};
use crate::report::html::Piece;
use crate::report::number::four_digits;
use crate::report::plot::{self, Interval, Series, Strip};
use crate::report::ratio::ratio_text;
use crate::report::short_names;

/// What the measurement found.
pub(crate) fn found(bench: &Bench, name: &str, lanes: usize) -> Found {
    let names = short_names(bench.rows.iter().map(|row| row.model.as_str()));
    let measured: Vec<&Row> = bench.rows.iter().filter(|row| row.latency_ms.is_some()).collect();
    let mut pieces = Vec::new();
    if !measured.is_empty() {
        pieces.push(distributions(&measured, &names, name, lanes));
        pieces.push(throughput(&measured, &names, name));
    }
    let speed_ups: Vec<&Row> = measured.iter().copied().filter(|row| row.speed_up.is_some()).collect();
    if !speed_ups.is_empty() {
        pieces.push(speed_up(bench, &speed_ups, &names, name));
    }
    let mut lost = Document::default();
    let errors = bench.rows.iter().filter_map(|row| Some((row, row.error.as_ref()?)));
    let lines = errors.map(|(row, error)| format!("{}: {}", row_name(row, &names), reason(error))).collect();
    lost.list("No result, or an incomplete one", lines);
    pieces.push(Piece::Document(lost));
    let mut loaded: BTreeMap<usize, (&str, &_)> = BTreeMap::new();
    for row in &bench.rows {
        if let Some(found) = bench.loaded(row) {
            loaded.entry(row.candidate).or_insert((row.model.as_str(), found));
        }
    }
    pieces.push(candidates(loaded.into_values()));
    if let Some(command) = command(bench) {
        let mut document = Document::default();
        document.heading("To measure it again");
        pieces.extend([Piece::Document(document), Piece::Commands(vec![command])]);
    }
    Found { verdicts: verdicts(bench, &names), pieces }
}

fn row_name(row: &Row, names: &BTreeMap<&str, String>) -> String {
    let scope = if row.scope == Scope::Device { " device" } else { "" };
    format!("{} {} batch {}{scope}", row.provider, called(names, &row.model), row.batch)
}

/// One sentence for each comparison, or for each row where nothing is compared.
fn verdicts(bench: &Bench, names: &BTreeMap<&str, String>) -> Vec<Cell> {
    let mut verdicts = Vec::new();
    for row in &bench.rows {
        let who = row_name(row, names);
        let Some(latency) = &row.latency_ms else {
            verdicts.push(Cell::toned(format!("{who} gave no result."), Tone::Bad));
            continue;
        };
        let against = row.speed_up.as_ref().and_then(|speed_up| Some((speed_up, bench.rows.get(speed_up.against)?)));
        let Some((speed_up, against)) = against else {
            let rate = row.images_per_second.map(|rate| format!(", {} images a second", four_digits(rate)));
            let text = format!("{who}: {} ms a run{}.", four_digits(latency.median), rate.unwrap_or_default());
            verdicts.push(text.into());
            continue;
        };
        let ratio = ratio_text(speed_up.ratio);
        let interval = speed_up.interval.map(|[low, high]| format!(" ({} to {})", ratio_text(low), ratio_text(high)));
        let interval = interval.unwrap_or_default();
        let (than, tone) = match (speed_up.difference_shown, speed_up.ratio > 1.0) {
            (false, _) => (": no difference shown", Tone::Plain),
            (true, true) => (", shown to be faster", Tone::Good),
            (true, false) => (", shown to be slower", Tone::Bad),
        };
        let against = row_name(against, names);
        verdicts.push(Cell::toned(format!("{who} is {ratio} times as fast as {against}{interval}{than}."), tone));
    }
    verdicts
}

fn distributions(rows: &[&Row], names: &BTreeMap<&str, String>, name: &str, lanes: usize) -> Piece {
    let percents: Vec<f64> =
        rows[0].latency_ms.iter().flat_map(|latency| latency.percentiles.iter().map(|one| one.percent)).collect();
    let mut columns =
        vec![Column::text("row"), Column::number("samples"), Column::number("median ms"), Column::text("95% interval")];
    for percent in percents.iter().filter(|percent| **percent != 50.0) {
        columns.extend([Column::number(format!("p{percent} ms")), Column::text("95% interval")]);
    }
    let mut table = Table::new(columns);
    let mut strips = Vec::new();
    for row in rows {
        let Some(latency) = &row.latency_ms else { continue };
        let samples: Vec<f64> = row.blocks.iter().flat_map(|block| block.samples_ms.iter().copied()).collect();
        // A result from a page may hold none of those that were made.
        let count = if samples.is_empty() { String::new() } else { samples.len().to_string() };
        let mut cells = vec![Cell::from(row_name(row, names)), count.into()];
        cells.extend([four_digits(latency.median).into(), interval(latency.median_interval)]);
        for one in latency.percentiles.iter().filter(|one| one.percent != 50.0) {
            cells.extend([one.value.map(four_digits).unwrap_or_default().into(), interval(one.interval)]);
        }
        table.rows.push(cells);
        if !samples.is_empty() {
            strips.push(Strip { name: row_name(row, names), samples, middle: latency.median });
        }
    }
    let title = "Time of a run: a dot for every sample, a line at the median";
    let svg = plot::strips(&strips, "milliseconds", lanes);
    drawn(format!("{name}-latency"), title.into(), svg, table.without_empty_columns())
}

fn interval(interval: Option<[f64; 2]>) -> Cell {
    interval.map(|[low, high]| format!("{} to {}", four_digits(low), four_digits(high))).unwrap_or_default().into()
}

fn throughput(rows: &[&Row], names: &BTreeMap<&str, String>, name: &str) -> Piece {
    let mut table = Table::new([
        Column::text("provider"),
        Column::text("model"),
        Column::text("scope"),
        Column::number("batch"),
        Column::number("images/s"),
    ]);
    let mut series: Vec<Series> = Vec::new();
    for row in rows {
        let Some(rate) = row.images_per_second else { continue };
        let scope = if row.scope == Scope::Device { "device" } else { "end-to-end" };
        let model = called(names, &row.model);
        let who = format!("{} {model} {scope}", row.provider);
        let cells = [row.provider.clone(), model, scope.to_owned(), row.batch.to_string(), four_digits(rate)];
        table.rows.push(cells.into_iter().map(Cell::from).collect());
        let point = (row.batch as f64, rate);
        match series.iter_mut().find(|series| series.name == who) {
            Some(series) => series.points.push(point),
            None => series.push(Series { name: who, points: vec![point] }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let svg = plot::lines(&series, ["batch size", "images a second"], Some((0.0, "")));
    drawn(format!("{name}-throughput"), "Throughput by batch size".into(), svg, table)
}

fn speed_up(bench: &Bench, rows: &[&Row], names: &BTreeMap<&str, String>, name: &str) -> Piece {
    let mut table = Table::new([
        Column::text("row"),
        Column::text("against"),
        Column::number("times as fast"),
        Column::text("95% interval"),
        Column::text(""),
    ]);
    let mut numbers = Vec::new();
    for row in rows {
        let Some(speed_up) = &row.speed_up else { continue };
        let against = bench.rows.get(speed_up.against).map(|against| row_name(against, names)).unwrap_or_default();
        let shown = match (speed_up.difference_shown, speed_up.ratio > 1.0) {
            (false, _) => "no difference shown".into(),
            (true, true) => Cell::toned("faster", Tone::Good),
            (true, false) => Cell::toned("slower", Tone::Bad),
        };
        let interval = speed_up.interval.map(|[low, high]| format!("{} to {}", ratio_text(low), ratio_text(high)));
        table.rows.push(vec![
            row_name(row, names).into(),
            against.into(),
            ratio_text(speed_up.ratio).into(),
            interval.unwrap_or_default().into(),
            shown,
        ]);
        numbers.push(Interval { name: row_name(row, names), value: speed_up.ratio, interval: speed_up.interval });
    }
    let svg = plot::intervals(&numbers, "times as fast as the first candidate", Some(1.0));
    drawn(format!("{name}-speed-up"), "Speed-ups with 95% intervals".into(), svg, table)
}

/// The command that measures the same, as far as the result tells; file names are quoted for a shell.
fn command(bench: &Bench) -> Option<String> {
    let plan = bench.plan.as_ref()?;
    let once = |values: Vec<&str>| {
        let mut once: Vec<String> = Vec::new();
        for value in values {
            if !once.iter().any(|known| known == value) {
                once.push(value.to_owned());
            }
        }
        once
    };
    let models = once(bench.rows.iter().map(|row| row.model.as_str()).collect());
    let providers = once(bench.rows.iter().map(|row| row.provider.as_str()).collect());
    let batches: Vec<String> = plan.batches.iter().map(ToString::to_string).collect();
    let models: Vec<String> = models.iter().map(|model| quoted(model)).collect();
    let mut words = vec!["resnext-run bench".to_owned(), models.join(" ")];
    words.push(format!("--ep {}", quoted(&providers.join(","))));
    words.push(format!("-b {}", batches.join(",")));
    if plan.min_seconds > 0.0 {
        words.push(format!("--duration {}", plan.min_seconds));
    }
    words.push(format!("--iterations {} --seed {}", plan.min_runs, plan.seed));
    if let Some(processes) = bench.candidates.iter().map(|candidate| candidate.processes.len()).max() {
        words.push(format!("--processes {processes}"));
    }
    let threads = bench.rows.iter().find_map(|row| bench.loaded(row)?.options.get("intra_op_num_threads"));
    words.extend(threads.map(|threads| format!("--intra-op-threads {}", quoted(threads))));
    Some(words.join(" "))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-,=:+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
