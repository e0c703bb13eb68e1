//! `bench`: latency and throughput.

use super::{coverage, csv, document};
use crate::note::Named;
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};
use std::path::Path;
use std::process::ExitCode;

use super::measurement;
use super::measurement as bench;

use super::args::Bench;
use super::options::Options;
use super::verdict::Against;
use crate::backend::onnxruntime::provider::Kind;
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::exit::exit_of;
use crate::input::shapes::demands;
use crate::model::opened::ModelError;
use crate::next::Next;
use crate::terminal::args::Global;
use crate::terminal::interrupt::{KEEPS, stop_on_interrupt};
use crate::terminal::output::note;
use crate::terminal::progress::Bar;
use crate::verb::outputs::Outputs;
use crate::verb::publish::publish;
use crate::verb::regression::Gated;
use crate::verb::shapes;
use onnx_file::exit::Exit;

pub(crate) fn run(global: &Global, arguments: &Bench) -> Result<ExitCode, Failure> {
    let result = measured(global, &arguments.options()?, &arguments.exports.outputs())?;
    publish(global, &result, &arguments.exports)?;
    Ok(result.exit_code())
}

/// The measurement, without printing its result.
pub(crate) fn measured(
    global: &Global,
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<Report<measurement::Bench>, Failure> {
    let mut files = read_models(&options.models)?;
    shapes::shape(&mut files, &options.shapes)?;
    let baseline = options.baseline.as_slice();
    outputs.apart_from(&files, baseline)?;
    let providers = Providers::of(global, &options.providers)?;
    let mut plan = options.plan.for_models(&files);
    let mut candidates = providers.candidates(&files, &demands(&files, &plan.batches));
    let against = Against::read(options.limits.as_ref(), options.baseline.as_deref(), candidates.len())?;
    if let Some(against) = &against {
        plan = Against::plan(plan);
        against.outlook(&plan).into_iter().for_each(|outlook| note(global.quiet, outlook));
    }
    let stop = stop_on_interrupt(global.quiet, KEEPS);
    let mut bar = Bar::with_time_left(global.quiet);
    let mut measured = bench::bench(&mut candidates, &plan, &stop, &mut |progress| bar.show(progress));
    drop(bar);
    if !measured.interrupted {
        coverage::add(&mut candidates, &mut measured);
    }
    measured.notes.extend(providers.notes());
    if let Some(against) = against {
        against.judge(&mut measured)?;
    }
    Ok(measured)
}

impl Outcome for measurement::Bench {
    const KIND: &'static str = "bench";
    const SCHEMA_VERSION: u32 = 2;

    fn document(report: &Report<measurement::Bench>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    fn mismatch(&self) -> bool {
        self.gate.as_ref().is_some_and(Gated::fails)
    }

    /// Tuning is worth its time where one model is measured as it was built.
    fn next(report: &Report<measurement::Bench>, _kept: Option<&Path>) -> Vec<Next> {
        let [only] = &report.candidates[..] else { return Vec::new() };
        let tune = || Next::Tune { model: only.model.clone(), provider: only.provider.clone() };
        let measured = report.errors().next().is_none();
        // A server runs the file that it has; another precision has a name of its own.
        let is_here = only.provider.parse::<Kind>().is_ok();
        (measured && only.grouped && is_here && !report.interrupted).then(tune).into_iter().collect()
    }

    fn failures(&self) -> Vec<(Named, &ModelError)> {
        self.rows.iter().filter_map(|row| Some((Named::of(&row.provider, &row.model), row.error.as_ref()?))).collect()
    }

    fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.latency_ms.is_none())
    }

    fn exits(&self) -> Vec<Exit> {
        let refused = self.gate.as_ref().is_some_and(Gated::is_refused);
        self.errors().map(exit_of).chain(refused.then_some(Exit::Usage)).collect()
    }
}
