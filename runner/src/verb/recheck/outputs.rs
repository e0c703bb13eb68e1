//! Outputs that were compared, by other tolerances.

use serde::Deserialize;

use super::result::{Asked, Item, Verdict};
use crate::record::compare::{Comparison, Metrics, Row, Status, Tolerance};
use crate::record::typed_value;

/// Relative error that the arithmetic of a proof may have.
const ROUNDING: f64 = 1e-9;

/// What was wrong, as far as a tolerance matters to it.
#[derive(Debug, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
enum Failure {
    NotFinite {},
    BeyondTolerance {},
    NotRepeatable {
        output: String,
        max_abs: Option<f64>,
    },
    /// No tolerance allows it: an output is missing, or of another shape.
    #[serde(other)]
    Other,
}

/// What is said of every output.
pub(crate) fn compared(comparison: &Comparison, asked: &Asked) -> Vec<Item> {
    let mut items = Vec::new();
    for row in &comparison.rows {
        let who = format!("{} {}", row.provider, row.model);
        if let Some(error) = &row.error {
            items.push(Item::no_result(who, error));
        } else if !matches!(row.status, Status::NoResult | Status::NotCompared) {
            items.extend(of_row(row, &who, asked));
        }
    }
    items
}

fn of_row(row: &Row, who: &str, asked: &Asked) -> Vec<Item> {
    let failures: Vec<Option<Failure>> = row.failures.iter().map(|failure| typed_value(failure).ok()).collect();
    let mut items: Vec<Item> = row
        .outputs
        .iter()
        .map(|metrics| {
            let noise = failures.iter().flatten().find_map(|failure| match failure {
                Failure::NotRepeatable { output, max_abs } if *output == metrics.name => Some(*max_abs),
                _ => None,
            });
            let tolerance = Limits::of(metrics, asked);
            Item {
                measured: metrics.max_abs,
                limit: Some(tolerance.asked.atol),
                relative_limit: Some(tolerance.asked.rtol),
                ..Item::new(
                    format!("{who} {}", metrics.name),
                    tolerance.agrees().max(tolerance.repeats(noise, row.status == Status::Reference)),
                )
            }
        })
        .collect();
    let looser = row.outputs.iter().any(|metrics| !Limits::of(metrics, asked).stricter());
    // What sentences alone say, as version 1 does, may be of any kind where the outputs do not explain them.
    let unknown = failures.iter().filter(|failure| failure.is_none()).count() > explained(row);
    if failures.iter().flatten().any(|failure| matches!(failure, Failure::Other)) {
        items.push(Item::new(format!("{who}: its outputs are those of the reference"), Verdict::Fails));
    } else if unknown {
        items.push(Item::new(who, if looser { Verdict::CannotTell } else { Verdict::Fails }));
    }
    items
}

/// Failures that the numbers of the outputs give.
fn explained(row: &Row) -> usize {
    if row.status == Status::NotRepeatable {
        return 0;
    }
    let of = |metrics: &Metrics| usize::from(metrics.beyond_tolerance > 0) + metrics.kinds_not_finite();
    row.outputs.iter().map(of).sum()
}

/// The tolerance of an output, then and now.
struct Limits<'a> {
    metrics: &'a Metrics,
    asked: Tolerance,
}

impl<'a> Limits<'a> {
    fn of(metrics: &'a Metrics, asked: &Asked) -> Limits<'a> {
        let kept = metrics.tolerance;
        let (atol, rtol) = (asked.atol.unwrap_or(kept.atol), asked.rtol.unwrap_or(kept.rtol));
        Limits { metrics, asked: Tolerance { atol, rtol } }
    }

    fn looser(&self) -> bool {
        self.asked.atol >= self.metrics.tolerance.atol && self.asked.rtol >= self.metrics.tolerance.rtol
    }

    fn stricter(&self) -> bool {
        self.asked.atol <= self.metrics.tolerance.atol && self.asked.rtol <= self.metrics.tolerance.rtol
    }

    /// Whether every element is within tolerance.
    fn agrees(&self) -> Verdict {
        let Limits { metrics, asked } = self;
        let Some(max_abs) = metrics.max_abs.filter(|_| metrics.kinds_not_finite() == 0) else { return Verdict::Fails };
        match metrics.beyond_tolerance > 0 {
            false if self.looser() => Verdict::Passes,
            true if self.stricter() => Verdict::Fails,
            _ if max_abs <= asked.atol + metrics.noise_floor => Verdict::Passes,
            _ if self.relative().is_some_and(|most| most <= asked.rtol) => Verdict::Passes,
            _ if asked.rtol == 0.0 => Verdict::Fails,
            _ if self.most_allowed().is_some_and(|most| max_abs > most) => Verdict::Fails,
            _ => Verdict::CannotTell,
        }
    }

    /// What no element's difference from its reference exceeds, relative to the reference: where it is `max_rel` of the
    /// larger of the two, the reference is at least that larger one less the difference.
    fn relative(&self) -> Option<f64> {
        let max_rel = self.metrics.max_rel.filter(|max_rel| (0.0..1.0).contains(max_rel))?;
        Some(max_rel / (1.0 - max_rel) * (1.0 + ROUNDING))
    }

    /// What the largest element that the reference can hold may differ by: one that is all of its root mean square.
    fn most_allowed(&self) -> Option<f64> {
        let elements = self.metrics.shape.as_ref()?.iter().map(|&extent| extent as f64).product::<f64>();
        let largest = self.metrics.reference_rms? * elements.sqrt();
        Some((self.asked.atol + self.asked.rtol * largest + self.metrics.noise_floor) * (1.0 + ROUNDING))
    }

    /// Whether two runs on the same input are within tolerance; `found` is by how much they differ where that was too
    /// much.
    fn repeats(&self, found: Option<Option<f64>>, is_reference: bool) -> Verdict {
        let Limits { metrics, asked } = self;
        let Some(rms) = metrics.reference_rms else { return Verdict::Passes };
        let allows = asked.atol + asked.rtol * rms.abs();
        let holds = |noise: f64| if noise <= allows { Verdict::Passes } else { Verdict::Fails };
        match found {
            Some(noise) => noise.map_or(Verdict::Fails, holds),
            None if self.looser() => Verdict::Passes,
            // The reference is compared with its second run.
            None if is_reference => metrics.max_abs.map_or(Verdict::Fails, holds),
            // The noise floor is the reference's where that is more.
            None if metrics.noise_floor <= allows => Verdict::Passes,
            None => Verdict::CannotTell,
        }
    }
}
