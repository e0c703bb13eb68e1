//! `bench`: latency and throughput.

use std::process::ExitCode;

use resnext_runner::bench;

use super::candidates::{Providers, read_models};
use super::interrupt::{KEEPS, stop_on_interrupt};
use super::outcome::{exit_code, exit_of};
use super::progress::Bar;
use super::publish::publish;
use crate::cli::{Bench, Global};
use crate::terminal::Failure;

pub(super) fn run(global: &Global, arguments: &Bench) -> Result<ExitCode, Failure> {
    let result = measured(global, arguments)?;
    publish(global, &result, &arguments.exports)?;
    Ok(exit_code(false, result.errors().map(exit_of)))
}

/// The measurement, without printing its result.
pub(super) fn measured(global: &Global, arguments: &Bench) -> Result<bench::Bench, Failure> {
    let files = read_models(&arguments.models)?;
    let providers = Providers::of(global, &arguments.providers)?;
    let plan = arguments.plan();
    let mut candidates = providers.candidates(&files, &plan.batches);
    let stop = stop_on_interrupt(global.quiet, KEEPS)?;
    let mut bar = Bar::new(global.quiet);
    Ok(bench::bench(&mut candidates, &plan, &stop, &mut |progress| bar.show(progress)))
}
