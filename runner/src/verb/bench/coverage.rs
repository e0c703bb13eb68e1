//! Which multiplications of the quantized models among the candidates run in integers.

use super::measurement::Bench;
use crate::model::candidate::Candidate;
use crate::note::Note;
use crate::verb::outcome::Report;

/// Asks each candidate, after all was measured: finding out loads the model once more.
pub(crate) fn add(candidates: &mut [Candidate<'_>], report: &mut Report<Bench>) {
    for (index, candidate) in candidates.iter_mut().enumerate() {
        let rows = report.result.rows.iter_mut().filter(|row| row.candidate == index);
        let mut rows = rows.filter(|row| row.latency_ms.is_some()).peekable();
        if rows.peek().is_none() {
            continue;
        }
        match candidate.coverage() {
            Ok(found) => rows.for_each(|row| row.int8_coverage.clone_from(&found)),
            Err(error) => {
                let (candidate, reason) = (candidate.name(), error.to_string());
                report.notes.push(Note::CoverageUnknown { candidate, reason });
            }
        }
    }
}
