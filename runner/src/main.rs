//! Entry point: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod command;
mod terminal;

fn main() -> ExitCode {
    // Not a verb for people: this program starts itself this way, see `resnext_runner::worker`.
    let done = if std::env::args_os().nth(1).is_some_and(|verb| verb == "worker") {
        command::worker()
    } else {
        command::run(cli::Cli::parse())
    };
    done.unwrap_or_else(|failure| failure.report())
}
