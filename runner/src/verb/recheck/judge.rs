//! What is said of a kept result by given limits.
//!
//! A result holds summaries of what was compared, and not every number. By the limits that it was judged by, its verdict
//! is the one it had; by others it is what the summaries prove, and where they prove neither it cannot be told.

use onnx_file::exit::Exit;

use super::outputs;
use super::result::{Asked, Item, Judged, Verdict};
use crate::record::bench::Bench;
use crate::record::calibration::Calibration;
use crate::record::eval::Evaluation;
use crate::record::quantization::Quantization;
use crate::record::{Kind, Record, RecordError};
use crate::stats::proportion::loss_bound;
use crate::verb::regression::limits::Limits;
use crate::verb::regression::{self, Gated, RowVerdict, Verdict as OfRows};

/// Judges a result.
///
/// # Errors
/// [`RecordError`] where it has not the fields of its kind.
pub fn judge(record: &Record, asked: &Asked) -> Result<Judged, RecordError> {
    let kept = worst(&found(record, &Asked::default())?.items);
    let Found { items, gate } = found(record, asked)?;
    let verdict = worst(&items);
    let strict = asked.strict || gate.as_ref().is_some_and(|gated| gated.limits.strict);
    Ok(Judged {
        file: record.path.display().to_string(),
        kind: record.kind,
        verdict,
        kept_verdict: kept,
        fails: verdict == Verdict::Fails || (strict && items.iter().any(|item| item.verdict == Verdict::CannotTell)),
        items,
        gate,
    })
}

fn worst(items: &[Item]) -> Verdict {
    items.iter().map(|item| item.verdict).max().unwrap_or(Verdict::None)
}

/// What a result gives to be judged.
struct Found {
    items: Vec<Item>,
    gate: Option<Gated>,
}

fn found(record: &Record, asked: &Asked) -> Result<Found, RecordError> {
    let mut gate = None;
    let items = match record.kind {
        Kind::Compare => outputs::compared(&record.typed(Kind::Compare, "compare")?, asked),
        Kind::Eval => evaluated(&record.typed(Kind::Eval, "eval")?, asked),
        Kind::Quantize => quantized(&record.typed(Kind::Quantize, "quantize")?, asked),
        Kind::Calibrate => calibrated(&record.typed(Kind::Calibrate, "calibrate")?),
        Kind::Gate => of_rows(gate.insert(by_limits(record.typed(Kind::Gate, "gate")?, asked))),
        Kind::Bench => {
            let bench: Bench = record.typed(Kind::Bench, "bench")?;
            gate = of_bench(record, &bench, asked)?;
            let mut items = without_result(&bench);
            match &gate {
                Some(_) if lacks_samples(record, &bench) => {
                    items.push(Item::new("the times of single runs are not in this file", Verdict::CannotTell));
                    gate = None;
                }
                Some(gated) => items.extend(of_rows(gated)),
                None => {}
            }
            items
        }
        Kind::Infer | Kind::Tune | Kind::Doctor | Kind::Recheck => Vec::new(),
    };
    Ok(Found { items, gate })
}

fn evaluated(evaluation: &Evaluation, asked: &Asked) -> Vec<Item> {
    let mut items = Vec::new();
    for candidate in &evaluation.candidates {
        let name = format!("{} {}", candidate.provider, candidate.model);
        if let Some(error) = &candidate.error {
            items.push(Item::no_result(name, error));
        } else if candidate.images == 0 && candidate.not_finite.is_empty() && evaluation.images > 0 {
            items.push(Item { exit: Some(Exit::BadInput), ..Item::new(name, Verdict::NoResult) });
        } else {
            let verdict = if candidate.not_finite.is_empty() { Verdict::Passes } else { Verdict::Fails };
            items.push(Item::new(format!("{name}: scores are finite"), verdict));
        }
    }
    let Some(points) = asked.max_loss else { return items };
    if evaluation.pairs.is_empty() {
        items.push(Item::new("points lost: no two candidates are compared in it", Verdict::CannotTell));
    }
    for pair in &evaluation.pairs {
        let who = evaluation.candidates.get(pair.candidate);
        let who = who.map(|candidate| format!("{} {}", candidate.provider, candidate.model)).unwrap_or_default();
        let bound = 100.0 * loss_bound(pair.mcnemar.only_first, pair.mcnemar.only_second, pair.images);
        items.push(of_loss(&who, bound, Some(points), bound > points));
    }
    items
}

/// A loss in points of accuracy that is below `bound` with 95% confidence.
fn of_loss(who: &str, bound: f64, limit: Option<f64>, exceeded: bool) -> Item {
    let fails = exceeded || !bound.is_finite();
    let verdict = match limit {
        None => Verdict::None,
        Some(_) if fails => Verdict::Fails,
        Some(_) => Verdict::Passes,
    };
    Item { measured: Some(bound), limit, ..Item::new(format!("{who}: points lost, 95% bound"), verdict) }
}

fn quantized(kept: &Quantization, asked: &Asked) -> Vec<Item> {
    let covered = if kept.not_covered { Verdict::Fails } else { Verdict::Passes };
    let bound = kept.accuracy.loss_bound_points;
    let limit = asked.max_loss.or(kept.max_loss_points);
    let exceeded = asked.max_loss.map_or(kept.exceeded, |points| bound > points);
    vec![Item::new("int8 coverage", covered), of_loss("int8", bound, limit, exceeded)]
}

fn calibrated(calibration: &Calibration) -> Vec<Item> {
    let verdict = if calibration.verdict.f16_safe { Verdict::Passes } else { Verdict::Fails };
    let name = format!("{}: f16 holds every value and weight", calibration.model.file);
    vec![Item { measured: calibration.verdict.headroom, ..Item::new(name, verdict) }]
}

/// The verdict that was asked for with a measurement, or that of its candidates against the first where a limit of times
/// is given now.
fn of_bench(record: &Record, bench: &Bench, asked: &Asked) -> Result<Option<Gated>, RecordError> {
    match record.value.get("gate").filter(|gate| !gate.is_null()) {
        Some(_) => Ok(Some(by_limits(record.field("gate", "bench")?, asked))),
        None => Ok(asked.max_regress.map(|max_regress| {
            let limits = Limits { max_regress, strict: asked.strict, allowed: Vec::new() };
            regression::gate_in_turns(bench, &limits)
        })),
    }
}

/// A page too large for its samples leaves them out.
fn lacks_samples(record: &Record, bench: &Bench) -> bool {
    let kept = record.value.get("gate").is_some_and(|gate| !gate.is_null());
    !kept && bench.rows.iter().any(|row| row.latency_ms.is_some() && row.medians_ms().is_empty())
}

fn without_result(bench: &Bench) -> Vec<Item> {
    let item = |row: &crate::record::bench::Row| {
        let name = format!("{} {} batch {}", row.provider, row.model, row.batch);
        row.error.as_ref().map(|error| Item::no_result(name, error))
    };
    bench.rows.iter().filter_map(item).collect()
}

/// The same two measurements by the limits given; by those it was judged by where none is.
fn by_limits(kept: Gated, asked: &Asked) -> Gated {
    let mut limits = kept.limits.clone();
    limits.max_regress = asked.max_regress.unwrap_or(limits.max_regress);
    limits.strict |= asked.strict;
    for aspect in &asked.allow_different {
        if !limits.allowed.contains(aspect) {
            limits.allowed.push(*aspect);
            limits.allowed.sort_unstable();
        }
    }
    kept.judged_by(&limits)
}

fn of_rows(gated: &Gated) -> Vec<Item> {
    let refusal = match gated.verdict {
        OfRows::Refused => "the measurements differ in what must be the same",
        OfRows::NothingCompared => "no row is in both measurements",
        _ => "",
    };
    if !refusal.is_empty() {
        return vec![Item { exit: Some(Exit::Usage), ..Item::new(refusal, Verdict::Refused) }];
    }
    let item = |row: &regression::Row| {
        let verdict = match row.verdict {
            RowVerdict::Regression | RowVerdict::Lost => Verdict::Fails,
            RowVerdict::WithinLimit | RowVerdict::Faster => Verdict::Passes,
            RowVerdict::CannotTell | RowVerdict::NotMeasured => Verdict::CannotTell,
            RowVerdict::NotInBaseline => Verdict::None,
        };
        Item {
            measured: row.change.as_ref().map(|change| change.ratio),
            limit: Some(1.0 + gated.limits.max_regress),
            ..Item::new(format!("{} {} batch {}", row.provider, row.model, row.batch), verdict)
        }
    };
    gated.rows.iter().map(item).collect()
}
