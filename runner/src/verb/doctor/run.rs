//! `doctor`: prints what was found.

use std::process::ExitCode;

use super::{csv, document};
use crate::backend::onnxruntime::examination::{self, Findings};
use crate::backend::onnxruntime::launch::check_up_launcher;
use crate::backend::onnxruntime::options::LibraryOptions;
use crate::backend::onnxruntime::runtime::find::Search;
use crate::host::environment::Environment;
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};

use super::args::Doctor;
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::verb::publish::publish;
use onnx_file::exit::Exit;

pub(crate) fn run(global: &Global, arguments: &Doctor) -> Result<ExitCode, Failure> {
    arguments.exports.outputs().apart_from(&[], &[])?;
    let findings = measured(global, &arguments.library.options(), arguments.no_cache)?;
    publish(global, &findings, &arguments.exports)?;
    Ok(findings.exit_code())
}

/// The check-up, without printing it.
pub(crate) fn measured(global: &Global, options: &LibraryOptions, again: bool) -> Result<Report<Findings>, Failure> {
    let launcher = check_up_launcher(global, options)?;
    let findings = examination::examine(&launcher, &Search::new(options.ort_lib.clone()), again);
    Ok(Report::of(Environment::read(), findings))
}

impl Outcome for Findings {
    const KIND: &'static str = "doctor";
    const SCHEMA_VERSION: u32 = 2;

    fn document(report: &Report<Self>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    /// A check-up that finds nothing to run with is no success: scripts ask for this.
    fn exits(&self) -> Vec<Exit> {
        if self.working().is_empty() { vec![Exit::Unavailable] } else { Vec::new() }
    }
}
