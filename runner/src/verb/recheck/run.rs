//! `recheck`: judges kept results again.

use std::process::ExitCode;

use onnx_file::exit::Exit;

use super::args::Recheck;
use super::document;
use super::judge::judge;
use super::result::{Asked, Rechecked};
use crate::exit::Failure;
use crate::host::environment::Environment;
use crate::record::{self, Kind, Record};
use crate::report::document::Document;
use crate::terminal::args::Global;
use crate::verb::outcome::{Outcome, Report};
use crate::verb::publish::publish;

pub(crate) fn run(global: &Global, arguments: &Recheck) -> Result<ExitCode, Failure> {
    arguments.exports.outputs().apart_from(&[], &arguments.results)?;
    let mut records = Vec::new();
    for path in &arguments.results {
        records.extend(record::read_all(path)?);
    }
    let limits = arguments.asked();
    each_is_for_something(&limits, &records)?;
    let results = records.iter().map(|record| judge(record, &limits)).collect::<Result<Vec<_>, _>>()?;
    // What is judged was measured there and then: the same results and limits give the same bytes anywhere.
    let kept = records.iter().find_map(|record| record::typed_value(record.value.get("environment")?).ok());
    let environment = kept.unwrap_or_else(Environment::read);
    let report = Report::of(environment, Rechecked { limits, results });
    publish(global, &report, &arguments.exports)?;
    Ok(report.exit_code())
}

/// Refuses a limit that none of the results is judged by: "passes" would seem to be said of it.
fn each_is_for_something(limits: &Asked, records: &[Record]) -> Result<(), Failure> {
    let given: [(&str, bool, &[Kind], &str); 5] = [
        ("--atol", limits.atol.is_some(), &[Kind::Compare], "`compare`"),
        ("--rtol", limits.rtol.is_some(), &[Kind::Compare], "`compare`"),
        ("--max-loss", limits.max_loss.is_some(), &[Kind::Eval, Kind::Quantize], "`eval` or `quantize`"),
        ("--max-regress", limits.max_regress.is_some(), &[Kind::Bench, Kind::Gate], "`bench` or `gate`"),
        ("--allow-different", !limits.allow_different.is_empty(), &[Kind::Bench, Kind::Gate], "`bench` or `gate`"),
    ];
    for (flag, is_given, kinds, verbs) in given {
        if is_given && !records.iter().any(|record| kinds.contains(&record.kind)) {
            let text = format!("{flag}: for results of {verbs}, of which there is none here");
            return Err(Failure::new(Exit::Usage, text));
        }
    }
    Ok(())
}

impl Outcome for Rechecked {
    const KIND: &'static str = "recheck";
    const SCHEMA_VERSION: u32 = 1;

    fn document(report: &Report<Rechecked>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        document::csv(self)
    }

    fn mismatch(&self) -> bool {
        self.results.iter().any(|judged| judged.fails)
    }

    fn exits(&self) -> Vec<Exit> {
        self.results.iter().flat_map(|judged| &judged.items).filter_map(|item| item.exit).collect()
    }
}
