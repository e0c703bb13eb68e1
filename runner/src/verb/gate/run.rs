//! `gate`: two kept measurements, and a verdict.

use std::process::ExitCode;

use onnx_file::exit::Exit;

use super::args::Gate;
use super::csv;
use crate::exit::Failure;
use crate::host::environment::Environment;
use crate::record::bench::Bench;
use crate::report::document::Document;
use crate::terminal::args::Global;
use crate::verb::outcome::{Outcome, Report};
use crate::verb::publish::publish;
use crate::verb::regression::{Gated, document, gate};

pub(crate) fn run(global: &Global, arguments: &Gate) -> Result<ExitCode, Failure> {
    let inputs = [arguments.before.clone(), arguments.now.clone()];
    arguments.exports.outputs().apart_from(&[], &inputs)?;
    let (before, now) = (Bench::read(&arguments.before)?, Bench::read(&arguments.now)?);
    let gated = gate((&before, &arguments.before), (&now, Some(&arguments.now)), &arguments.limits.limits());
    let report = Report::of(Environment::read(), gated);
    publish(global, &report, &arguments.exports)?;
    Ok(report.exit_code())
}

impl Outcome for Gated {
    const KIND: &'static str = "gate";
    const SCHEMA_VERSION: u32 = 1;

    fn document(report: &Report<Gated>) -> Document {
        let mut document = Document::default();
        document::describe(&mut document, report);
        document
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    fn mismatch(&self) -> bool {
        self.fails()
    }

    fn exits(&self) -> Vec<Exit> {
        self.is_refused().then_some(Exit::Usage).into_iter().collect()
    }
}
