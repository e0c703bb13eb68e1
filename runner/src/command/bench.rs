//! `bench`: latency and throughput.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use resnext_runner::bench;

use super::candidates::{Providers, read_models};
use super::outcome::exit_code;
use super::progress::Bar;
use crate::cli::{Bench, Global};
use crate::terminal::{Exit, Failure, remark};

pub(super) fn run(global: &Global, arguments: &Bench) -> Result<ExitCode, Failure> {
    let result = measured(global, arguments)?;
    super::publish(global, &result, &arguments.exports)?;
    Ok(exit_code(false, result.errors()))
}

/// The measurement, without printing its result.
pub(super) fn measured(global: &Global, arguments: &Bench) -> Result<bench::Bench, Failure> {
    let files = read_models(&arguments.models)?;
    let providers = Providers::of(global, &arguments.providers)?;
    let plan = arguments.plan();
    let mut candidates = providers.candidates(&files, &plan.batches);
    let stop = stop_on_interrupt(global.quiet)?;
    let mut bar = Bar::new(global.quiet);
    Ok(bench::bench(&mut candidates, &plan, &stop, &mut |progress| bar.show(progress)))
}

/// The first interrupt ends the measurement and keeps what there is; the second ends the program.
fn stop_on_interrupt(quiet: bool) -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let handler = move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        remark(quiet, "stopping after the runs in progress; interrupt again to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    Ok(stop)
}
