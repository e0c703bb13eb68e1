//! Entry point: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod command;
mod terminal;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match command::run(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
