//! What each verb does with its plan: calls the library, prints what comes back, gives the exit code.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use resnext_runner::worker::{self, Launcher};

use crate::cli::{Cli, Global, LibraryArgs, Verb};
use crate::terminal::Failure;
use onnx_file::exit::Exit;

mod bench;
mod bundled;
mod calibrate;
mod candidates;
mod compare;
mod doctor;
mod eval;
mod infer;
mod interrupt;
mod outcome;
mod progress;
mod publish;
mod quickstart;
mod setup;
mod tune;

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match cli.verb {
        Verb::Setup(setup) => setup::run(global, &setup),
        Verb::Doctor(doctor) => doctor::run(global, &doctor),
        Verb::Quickstart(quickstart) => quickstart::run(global, &quickstart),
        Verb::Infer(infer) => infer::run(global, &infer),
        Verb::Compare(compare) => compare::run(global, &compare),
        Verb::Bench(bench) => bench::run(global, &bench),
        Verb::Eval(eval) => eval::run(global, &eval),
        Verb::Tune(tune) => tune::run(global, &tune),
        Verb::Calibrate(calibrate) => calibrate::run(global, &calibrate),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "resnext-run", &mut script);
            crate::terminal::print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Serves the parent that started this process.
pub(crate) fn worker() -> Result<ExitCode, Failure> {
    worker::serve().map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(Exit::Usage, error))
}

/// How long a library or a provider may take to show that it works.
const CHECK_UP_LIMIT: Duration = Duration::from_secs(60);

/// As [`launcher`], for a check-up: nothing is built or measured, so a hang shows sooner.
fn check_up_launcher(global: &Global, library: &LibraryArgs) -> Result<Launcher, Failure> {
    let timeout = Some(library.timeout.unwrap_or(CHECK_UP_LIMIT));
    launcher(global, &LibraryArgs { timeout, ..library.clone() })
}

/// How workers are started under these flags.
fn launcher(global: &Global, library: &LibraryArgs) -> Result<Launcher, Failure> {
    let unknown = |error: io::Error| Failure::new(Exit::Internal, format!("this program cannot find itself: {error}"));
    let mut launcher = Launcher::this_program().map_err(unknown)?;
    launcher.show_output = global.verbose;
    if let Some(limit) = library.timeout {
        launcher.load_limit = limit;
        launcher.run_limit = limit;
    }
    Ok(launcher)
}
