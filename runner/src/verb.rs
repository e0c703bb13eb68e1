//! What each verb does with its plan: calls the library, prints what comes back, gives the exit code.

pub mod about;
pub mod bench;
pub mod calibrate;
pub mod cli;
pub mod compare;
pub mod doctor;
pub mod eval;
pub mod files;
pub mod flags;
pub mod gate;
pub mod infer;
pub mod outcome;
pub mod outputs;
pub mod publish;
pub mod quantize;
pub mod quickstart;
pub mod recheck;
pub mod regression;
pub mod report;
pub mod setup;
pub mod shapes;
#[cfg(test)]
mod tests;
pub mod tips;
pub mod tune;

use std::process::ExitCode;

use clap::CommandFactory;
use onnx_file::budget;
use onnx_file::exit::Exit;

use crate::exit::Failure;
use crate::verb::cli::{Cli, Verb};

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    if let Some(bytes) = global.max_memory {
        budget::set_limit(bytes);
    }
    match cli.verb {
        Verb::Setup(setup) => setup::run::run(global, &setup),
        Verb::Doctor(doctor) => doctor::run::run(global, &doctor),
        Verb::Quickstart(quickstart) => quickstart::run::run(global, &quickstart),
        Verb::Infer(infer) => infer::run::run(global, &infer),
        Verb::Compare(compare) => compare::run::run(global, &compare),
        Verb::Bench(bench) => bench::run::run(global, &bench),
        Verb::Gate(gate) => gate::run::run(global, &gate),
        Verb::Recheck(recheck) => recheck::run::run(global, &recheck),
        Verb::Report(report) => report::run::run(global, &report),
        Verb::Eval(eval) => eval::run::run(global, &eval),
        Verb::Tune(tune) => tune::run::run(global, &tune),
        Verb::Quantize(quantize) => quantize::run::run(global, &quantize),
        Verb::Calibrate(calibrate) => calibrate::run::run(global, &calibrate),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "resnext-run", &mut script);
            crate::terminal::output::print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Man { dir } => {
            match dir {
                Some(dir) => {
                    files::make_folder(&dir)?;
                    let failed =
                        |error| Failure::new(Exit::Output, format!("cannot write to {}: {error}", dir.display()));
                    clap_mangen::generate_to(Cli::command(), &dir).map_err(failed)?;
                }
                None => {
                    let mut page = Vec::new();
                    // Writing to memory fails for no page.
                    let _ = clap_mangen::Man::new(Cli::command()).render(&mut page);
                    crate::terminal::output::print(&String::from_utf8_lossy(&page))?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
