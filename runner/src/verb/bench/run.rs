//! `bench`: latency and throughput.

use std::process::ExitCode;

use super::measurement as bench;

use super::args::Bench;
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::exit::{exit_code, exit_of};
use crate::terminal::args::Global;
use crate::terminal::interrupt::{KEEPS, stop_on_interrupt};
use crate::terminal::progress::Bar;
use crate::verb::publish::publish;

pub(crate) fn run(global: &Global, arguments: &Bench) -> Result<ExitCode, Failure> {
    let result = measured(global, arguments)?;
    publish(global, &result, &arguments.exports)?;
    Ok(exit_code(false, result.errors().map(exit_of)))
}

/// The measurement, without printing its result.
pub(crate) fn measured(global: &Global, arguments: &Bench) -> Result<bench::Bench, Failure> {
    let files = read_models(&arguments.models)?;
    let providers = Providers::of(global, &arguments.providers)?;
    let plan = arguments.plan();
    let mut candidates = providers.candidates(&files, &plan.batches);
    let stop = stop_on_interrupt(global.quiet, KEEPS);
    let mut bar = Bar::new(global.quiet);
    Ok(bench::bench(&mut candidates, &plan, &stop, &mut |progress| bar.show(progress)))
}
