//! Is a measurement a regression against an earlier one, or one model against another measured beside it?
//!
//! Shared by `gate`, which is given two kept measurements, and `bench`, which makes the later one.

pub mod differences;
pub mod document;
pub mod flags;
pub mod limits;
pub mod pairs;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::opened::Scope;
use crate::record::bench::{Bench, Row as Measured};
use crate::stats::change::{self, Change, Judgement};
use differences::Difference;
use limits::Limits;
use pairs::Pair;

/// One of the two measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The file that holds it; `None` for the one that was just made.
    pub file: Option<String>,
    /// Version of the program that made it.
    pub program_version: String,
    /// When, in seconds since 1970.
    pub unix_time_s: u64,
    /// On which processor.
    pub processor: Option<String>,
    /// Runnable processes before it, averaged over 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowVerdict {
    /// Slower by more than is allowed.
    Regression,
    /// Not slower by more than is allowed.
    WithinLimit,
    /// Faster.
    Faster,
    /// Too few processes, or an interval on both sides of the limit.
    CannotTell,
    /// It had a result, and has none now or an incomplete one.
    Lost,
    /// It had no result before.
    NotInBaseline,
    /// It was not measured now.
    NotMeasured,
}

impl From<Judgement> for RowVerdict {
    fn from(judgement: Judgement) -> RowVerdict {
        match judgement {
            Judgement::Regression => RowVerdict::Regression,
            Judgement::WithinLimit => RowVerdict::WithinLimit,
            Judgement::Faster => RowVerdict::Faster,
            Judgement::CannotTell => RowVerdict::CannotTell,
        }
    }
}

/// A row of both measurements, or of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Provider.
    pub provider: String,
    /// Model file, now; before, where it was not measured now.
    pub model: String,
    /// Model file before, where it has another name.
    pub model_before: Option<String>,
    /// Batch size.
    pub batch: usize,
    /// What the clock encloses.
    pub scope: Scope,
    /// Time of a run before, in milliseconds: the geometric mean over the processes of their medians.
    pub before_ms: Option<f64>,
    /// And now.
    pub now_ms: Option<f64>,
    /// How it changed.
    pub change: Option<Change>,
    /// What became of it.
    pub verdict: RowVerdict,
    /// Why there is no result now.
    pub error: Option<String>,
}

/// What is said of all rows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A row is slower by more than is allowed, or lost its result.
    Regression,
    /// No row is slower by more than is allowed.
    WithinLimit,
    /// No regression is shown, and of some rows none is excluded.
    CannotTell,
    /// The measurements differ in what must be the same.
    Refused,
    /// No row is in both.
    NothingCompared,
}

/// Two measurements compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gated {
    /// What is said of all rows together.
    pub verdict: Verdict,
    /// What is allowed.
    pub limits: Limits,
    /// The earlier one.
    pub before: Measurement,
    /// The later one.
    pub now: Measurement,
    /// Where the two differ in how and where they were made.
    pub differences: Vec<Difference>,
    /// The rows, in the order measured now.
    pub rows: Vec<Row>,
}

/// Compares a measurement with an earlier one.
pub fn gate(before: (&Bench, &Path), now: (&Bench, Option<&Path>), limits: &Limits) -> Gated {
    let ((before, before_file), (now, now_file)) = (before, now);
    let (pairs, gone) = pairs::of_two_measurements(before, now);
    let compared = pairs.iter().filter(|pair| pair.before.is_some()).count();
    let change = |pair: &Pair<'_>| {
        let medians = |row: &Measured| row.medians_ms().into_values().collect::<Vec<f64>>();
        change::of_two_measurements(&medians(pair.before?), &medians(pair.now), compared)
    };
    let mut rows: Vec<Row> = pairs.iter().map(|pair| row(pair, change(pair), limits)).collect();
    rows.extend(gone.into_iter().map(not_measured));
    let differences = differences::between(before, now, &pairs, limits);
    let (before, now) = (Measurement::of(before, Some(before_file)), Measurement::of(now, now_file));
    Gated { verdict: verdict(&rows, &differences), limits: limits.clone(), before, now, differences, rows }
}

/// Compares every further candidate of one measurement with the first.
pub fn gate_in_turns(bench: &Bench, limits: &Limits) -> Gated {
    let pairs = pairs::of_one_measurement(bench);
    let compared = pairs.iter().filter(|pair| pair.before.is_some()).count();
    let change = |pair: &Pair<'_>| {
        let (before, now) = (pair.before?.medians_ms(), pair.now.medians_ms());
        let turn = |(process, before): (&usize, &f64)| Some([*before, *now.get(process)?]);
        change::in_turns(&before.iter().filter_map(turn).collect::<Vec<_>>(), compared)
    };
    let rows: Vec<Row> = pairs.iter().map(|pair| row(pair, change(pair), limits)).collect();
    let made = Measurement::of(bench, None);
    Gated {
        verdict: verdict(&rows, &[]),
        limits: limits.clone(),
        before: made.clone(),
        now: made,
        differences: Vec::new(),
        rows,
    }
}

fn row(pair: &Pair<'_>, change: Option<Change>, limits: &Limits) -> Row {
    let before = pair.before.filter(|before| time_ms(before).is_some());
    let verdict = match (before, &change) {
        (None, _) => RowVerdict::NotInBaseline,
        (Some(before), _) if pair.now.error.is_some() && before.error.is_none() => RowVerdict::Lost,
        (Some(_), None) => RowVerdict::Lost,
        (Some(_), Some(change)) => change.judge(limits.max_regress).into(),
    };
    let detail = |error: &serde_json::Value| {
        let text = error.get("detail").or_else(|| error.get("text")).unwrap_or(error);
        text.as_str().map_or_else(|| text.to_string(), str::to_owned)
    };
    Row {
        provider: pair.now.provider.clone(),
        model: pair.now.model.clone(),
        model_before: before.map(|before| before.model.clone()).filter(|model| *model != pair.now.model),
        batch: pair.now.batch,
        scope: pair.now.scope,
        before_ms: before.and_then(time_ms),
        now_ms: time_ms(pair.now),
        change,
        verdict,
        error: pair.now.error.as_ref().map(detail),
    }
}

/// Geometric mean over the processes of their medians: what the change is of.
fn time_ms(row: &Measured) -> Option<f64> {
    let medians = row.medians_ms();
    let logs: f64 = medians.values().map(|median| median.ln()).sum();
    (!medians.is_empty()).then(|| (logs / medians.len() as f64).exp())
}

/// A row of the earlier measurement that the later one lacks.
fn not_measured(before: &Measured) -> Row {
    Row {
        provider: before.provider.clone(),
        model: before.model.clone(),
        model_before: None,
        batch: before.batch,
        scope: before.scope,
        before_ms: time_ms(before),
        now_ms: None,
        change: None,
        verdict: RowVerdict::NotMeasured,
        error: None,
    }
}

fn verdict(rows: &[Row], differences: &[Difference]) -> Verdict {
    let any = |of: &[RowVerdict]| rows.iter().any(|row| of.contains(&row.verdict));
    if differences.iter().any(|difference| !difference.allowed) {
        Verdict::Refused
    } else if rows.iter().all(|row| matches!(row.verdict, RowVerdict::NotInBaseline | RowVerdict::NotMeasured)) {
        Verdict::NothingCompared
    } else if any(&[RowVerdict::Regression, RowVerdict::Lost]) {
        Verdict::Regression
    } else if any(&[RowVerdict::CannotTell, RowVerdict::NotMeasured]) {
        Verdict::CannotTell
    } else {
        Verdict::WithinLimit
    }
}

impl Gated {
    /// The same two measurements by other limits.
    pub fn judged_by(mut self, limits: &Limits) -> Gated {
        self.limits = limits.clone();
        for difference in &mut self.differences {
            difference.allowed = limits.allowed.contains(&difference.aspect);
        }
        for row in &mut self.rows {
            let is_judged =
                !matches!(row.verdict, RowVerdict::Lost | RowVerdict::NotInBaseline | RowVerdict::NotMeasured);
            if let Some(change) = row.change.as_ref().filter(|_| is_judged) {
                row.verdict = change.judge(limits.max_regress).into();
            }
        }
        self.verdict = verdict(&self.rows, &self.differences);
        self
    }

    /// Whether the gate is shut.
    pub fn fails(&self) -> bool {
        self.verdict == Verdict::Regression || (self.verdict == Verdict::CannotTell && self.limits.strict)
    }

    /// Whether there is no verdict because of what was asked.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused | Verdict::NothingCompared)
    }
}

impl Measurement {
    fn of(bench: &Bench, file: Option<&Path>) -> Measurement {
        let environment = &bench.environment;
        Measurement {
            file: file.map(|file| file.display().to_string()),
            program_version: environment.program_version.clone(),
            unix_time_s: environment.unix_time_s,
            processor: environment.host.processor.clone(),
            load_average: environment.load_average,
            interrupted: bench.interrupted,
        }
    }
}
