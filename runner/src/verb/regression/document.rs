//! The judgement of two measurements to be read.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::differences::Difference;
use super::limits::Aspect;
use super::{Gated, Measurement, Row, RowVerdict, Verdict};
use crate::model::opened::Scope;
use crate::record::bench::Bench;
use crate::report::document::{Cell, Column, Document, Table, Tone};
use crate::report::number::four_digits;
use crate::report::short_names;
use crate::stats::change::{self, Change, Outlook};

/// Adds what was compared, every row, and the verdict.
pub fn describe(document: &mut Document, gated: &Gated) {
    if gated.before.file.is_some() {
        document.aside(|document| document.table(measurements(gated)));
    }
    if !gated.differences.is_empty() {
        document.heading("What differs besides the times");
        document.table(differences(gated));
    }
    if gated.verdict != Verdict::Refused {
        document.table(rows(gated));
    }
    let (text, tone) = verdict(gated);
    document.verdict(text, tone);
}

fn measurements(gated: &Gated) -> Table {
    let mut table = Table::new([
        Column::text(""),
        Column::text("file"),
        Column::text("made"),
        Column::text("program"),
        Column::text("processor"),
        Column::number("load before"),
        Column::text("whole"),
    ]);
    for (name, one) in [("before", &gated.before), ("now", &gated.now)] {
        table.rows.push(vec![
            name.into(),
            one.file.clone().unwrap_or_else(|| "this run".to_owned()).into(),
            time(one).into(),
            one.program_version.clone().into(),
            one.processor.clone().unwrap_or_default().into(),
            one.load_average.map(|load| format!("{:.2}", load[0])).unwrap_or_default().into(),
            if one.interrupted { Cell::toned("stopped early", Tone::Bad) } else { "yes".into() },
        ]);
    }
    table.without_empty_columns()
}

fn time(measurement: &Measurement) -> String {
    // The largest time that the calendar of the formatter knows is the end of year 9999.
    let seconds = measurement.unix_time_s.min(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

fn differences(gated: &Gated) -> Table {
    let columns = [Column::text("what"), Column::text("before"), Column::text("now"), Column::text("")];
    let mut table = Table::new(columns);
    for difference in &gated.differences {
        let allowed = if difference.allowed { Cell::from("allowed") } else { Cell::toned("refused", Tone::Bad) };
        let cells = [&difference.what, &difference.before, &difference.now].map(|text| Cell::from(text.clone()));
        table.rows.push(cells.into_iter().chain([allowed]).collect());
    }
    table
}

/// A difference in a line.
pub(crate) fn difference(difference: &Difference) -> String {
    format!("{}: {} before, {} now", difference.what, difference.before, difference.now)
}

/// What `processes` processes a row can show against an earlier measurement, if they scatter as its own do; said before
/// they are measured. `None` where its rows have no two processes.
pub(crate) fn outlook(before: &Bench, processes: usize, max_regress: f64) -> Option<String> {
    let rows: Vec<Vec<f64>> = before.rows.iter().map(|row| row.medians_ms().into_values().collect()).collect();
    let of = |row: &Vec<f64>| change::outlook(row, processes, max_regress, rows.len());
    let outlooks: Vec<Outlook> = rows.iter().filter_map(of).collect();
    let fewest = rows.iter().map(Vec::len).min()?;
    let (asked, seconds) = (limit(max_regress), before.rows.iter().filter_map(|row| before.process_seconds(row)));
    let a_process: f64 = seconds.sum();
    let takes = |processes: usize| format!("about {}", duration(a_process * processes as f64));
    let Some(smallest) = outlooks.iter().map(|one| one.smallest_shown).collect::<Option<Vec<f64>>>() else {
        let needed = change::PROCESSES_NEEDED;
        return Some(format!(
            "no regression can be shown: a verdict needs {needed} processes a row, and there are {fewest} in the \
             baseline and {processes} now; give --processes {needed} or more to both"
        ));
    };
    let smallest = smallest.into_iter().reduce(f64::max)?;
    let can = format!(
        "{processes} processes a row, {}: a slow-down from {} on would be shown to be more than {asked}",
        takes(processes),
        limit(change::beyond(max_regress, smallest))
    );
    if smallest <= max_regress {
        return Some(format!("{can}, and an unchanged time to be within it"));
    }
    Some(match outlooks.iter().map(|one| one.processes).collect::<Option<Vec<usize>>>() {
        Some(needed) => {
            let needed = needed.into_iter().max()?;
            let unchanged = format!("an unchanged time is shown to be within it from --processes {needed} on");
            format!("{can}; {unchanged}, {}", takes(needed))
        }
        None => format!(
            "{can}; an unchanged time cannot be shown to be within it against a baseline of {fewest} processes: measure \
             it again with more, or both files together, `bench OLD NEW --max-regress {asked}`"
        ),
    })
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn rows(gated: &Gated) -> Table {
    let names = gated.rows.iter().flat_map(|row| [Some(&row.model), row.model_before.as_ref()]).flatten();
    let names = short_names(names.map(String::as_str));
    let mut table = Table::new([
        Column::text("provider"),
        Column::text("model"),
        Column::number("batch"),
        Column::text("scope"),
        Column::number("before ms"),
        Column::number("now ms"),
        Column::number("change"),
        Column::text("99% interval"),
        Column::number("processes"),
        Column::text("verdict"),
    ])
    .with_keys(4);
    for row in &gated.rows {
        let change = row.change.as_ref();
        let scope = match row.scope {
            Scope::EndToEnd => "end-to-end",
            Scope::Device => "device",
        };
        table.rows.push(vec![
            row.provider.clone().into(),
            model(row, &names).into(),
            row.batch.to_string().into(),
            scope.into(),
            row.before_ms.map(four_digits).unwrap_or_default().into(),
            row.now_ms.map(four_digits).unwrap_or_default().into(),
            change.map(|change| signed(change.ratio)).unwrap_or_default().into(),
            change.and_then(|change| change.interval).map(interval).unwrap_or_default().into(),
            change.map(processes).unwrap_or_default().into(),
            row_verdict(row, gated.limits.max_regress),
        ]);
    }
    table.without_empty_columns()
}

fn model(row: &Row, names: &BTreeMap<&str, String>) -> String {
    let name = |model: &str| names.get(model).cloned().unwrap_or_else(|| model.to_owned());
    match &row.model_before {
        Some(before) if name(before) != name(&row.model) => format!("{} (before: {})", name(&row.model), name(before)),
        _ => name(&row.model),
    }
}

fn processes(change: &Change) -> String {
    match change.processes {
        [before, now] if before == now => now.to_string(),
        [before, now] => format!("{before}, {now}"),
    }
}

/// A change of a time, `+` where it is slower.
pub(crate) fn signed(ratio: f64) -> String {
    format!("{:+.1}%", (ratio - 1.0) * 100.0)
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("{} to {}", signed(low), signed(high))
}

/// A limit as people write it.
pub(crate) fn limit(fraction: f64) -> String {
    // As many decimals as its size deserves, and none that says nothing.
    let steps = if fraction < 0.1 { 1e4 } else { 1e3 };
    format!("{}%", (fraction * steps).round() / (steps / 100.0))
}

fn row_verdict(row: &Row, max_regress: f64) -> Cell {
    match row.verdict {
        RowVerdict::Regression => Cell::toned(format!("slower by more than {}", limit(max_regress)), Tone::Bad),
        RowVerdict::WithinLimit => Cell::toned(format!("within {}", limit(max_regress)), Tone::Good),
        RowVerdict::Faster => Cell::toned("faster", Tone::Good),
        RowVerdict::CannotTell => format!("cannot tell: {}", why(row)).into(),
        RowVerdict::Lost => {
            let error = row.error.as_deref().unwrap_or("no result");
            Cell::toned(format!("no whole result now: {error}"), Tone::Bad)
        }
        RowVerdict::NotInBaseline => Cell::toned("not in the baseline", Tone::Faint),
        RowVerdict::NotMeasured => "not measured now".into(),
    }
}

fn why(row: &Row) -> String {
    let Some(change) = &row.change else { return "no times".to_owned() };
    if change.interval.is_some() {
        return "the interval reaches across the limit".to_owned();
    }
    let fewest = change.processes.iter().min().copied().unwrap_or(0);
    format!("{fewest} of {} processes needed on each side", change.processes_needed)
}

/// The verdict in a sentence.
pub(crate) fn verdict(gated: &Gated) -> (String, Tone) {
    let count = |of: &[RowVerdict]| gated.rows.iter().filter(|row| of.contains(&row.verdict)).count();
    let all = gated.rows.iter().filter(|row| row.verdict != RowVerdict::NotInBaseline).count();
    let limit = limit(gated.limits.max_regress);
    match gated.verdict {
        Verdict::Regression => {
            let (slower, lost) = (count(&[RowVerdict::Regression]), count(&[RowVerdict::Lost]));
            let slower = (slower > 0).then(|| format!("{slower} of {all} rows slower by more than {limit}"));
            let lost = (lost > 0).then(|| format!("{lost} of {all} rows without a whole result now"));
            let found: Vec<String> = slower.into_iter().chain(lost).collect();
            (format!("regression: {}", found.join(", ")), Tone::Bad)
        }
        Verdict::WithinLimit => (format!("no regression: no row is slower by more than {limit}"), Tone::Good),
        Verdict::CannotTell => {
            let unknown = count(&[RowVerdict::CannotTell, RowVerdict::NotMeasured]);
            let strict = if gated.limits.strict { ", which --strict takes for a failure" } else { "" };
            let text = format!("cannot tell: no regression is shown, and of {unknown} of {all} rows none is excluded");
            (format!("{text}{strict}{}", more(gated)), Tone::Plain)
        }
        Verdict::Refused => {
            let refused = gated.differences.iter().filter(|difference| !difference.allowed);
            let mut aspects: Vec<String> = refused.map(|refused| kebab(refused.aspect)).collect();
            aspects.dedup();
            let text = "refused: the two measurements differ in what must be the same";
            (format!("{text}; measure the baseline here, or give --allow-different {}", aspects.join(",")), Tone::Bad)
        }
        Verdict::NothingCompared => {
            let text = "nothing to compare: no row has the same provider, batch size and model in both";
            (text.to_owned(), Tone::Bad)
        }
    }
}

fn kebab(aspect: Aspect) -> String {
    crate::report::csv::kebab(&aspect)
}

/// What these processes could show, where that is the reason.
fn more(gated: &Gated) -> String {
    let unknown = gated.rows.iter().filter(|row| row.verdict == RowVerdict::CannotTell);
    let smallest = unknown.filter_map(|row| row.change.as_ref()?.smallest_shown).reduce(f64::max);
    smallest.map_or_else(String::new, |smallest| {
        let from = limit(change::beyond(gated.limits.max_regress, smallest));
        format!(" (these processes show a regression from {from} on; more show smaller ones)")
    })
}
