//! The verdict on a measurement, where one was asked for: what is checked before it, and what is said after.

use std::path::{Path, PathBuf};

use onnx_file::exit::Exit;

use super::measurement;
use super::plan::Plan;
use crate::exit::Failure;
use crate::host::environment::Environment;
use crate::record;
use crate::record::bench::Bench;
use crate::verb::outcome::Report;
use crate::verb::regression::{self, differences, document, limits::Limits};

/// Processes a row where a verdict is asked for and no number is: fewer may show nothing.
const PROCESSES: usize = 8;

/// What a measurement is compared with.
pub(crate) struct Against {
    limits: Limits,
    /// An earlier measurement; the first candidate where there is none.
    baseline: Option<(PathBuf, Bench)>,
}

impl Against {
    /// What was asked for; `None` where no verdict was. The earlier measurement is read, and refused where it is of
    /// other hardware, before anything is measured.
    pub(crate) fn read(
        limits: Option<&Limits>,
        baseline: Option<&Path>,
        candidates: usize,
    ) -> Result<Option<Against>, Failure> {
        let Some(limits) = limits.cloned() else { return Ok(None) };
        let Some(path) = baseline else {
            if candidates < 2 {
                let text = "nothing to compare with: give --baseline FILE, or another model or provider";
                return Err(Failure::new(Exit::Usage, text));
            }
            return Ok(Some(Against { limits, baseline: None }));
        };
        let bench = Bench::read(path)?;
        let here = Bench {
            environment: Environment::read(),
            plan: None,
            candidates: Vec::new(),
            rows: Vec::new(),
            interrupted: false,
        };
        let found = differences::between(&bench, &here, &[], &limits);
        let refused: Vec<String> = found.iter().filter(|one| !one.allowed).map(document::difference).collect();
        if !refused.is_empty() {
            let text = format!("{} is of another machine ({})", path.display(), refused.join("; "));
            let hint = "measure it again here, or give --allow-different hardware";
            return Err(Failure::new(Exit::Usage, format!("{text}; {hint}")));
        }
        Ok(Some(Against { limits, baseline: Some((path.to_path_buf(), bench)) }))
    }

    /// The plan with enough processes for a verdict, unless a number was asked for.
    pub(crate) fn plan(plan: Plan) -> Plan {
        Plan { processes: plan.processes.or(Some(PROCESSES)), ..plan }
    }

    /// What the measurement to come can show.
    pub(crate) fn outlook(&self, plan: &Plan) -> Option<String> {
        let (_, bench) = self.baseline.as_ref()?;
        document::outlook(bench, plan.processes.unwrap_or(PROCESSES), self.limits.max_regress)
    }

    /// Adds the verdict to a measurement.
    pub(crate) fn judge(&self, report: &mut Report<measurement::Bench>) -> Result<(), Failure> {
        // What is judged is what would be kept: both sides go the same way.
        let kept = serde_json::to_value(&*report)?;
        let now: Bench = record::typed_value(&kept)?;
        report.gate = Some(match &self.baseline {
            Some((path, before)) => regression::gate((before, path), (&now, None), &self.limits),
            None => regression::gate_in_turns(&now, &self.limits),
        });
        Ok(())
    }
}
