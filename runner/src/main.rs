//! Entry point: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;
use resnext_runner::backend::onnxruntime::launch;
use resnext_runner::verb::{self, cli::Cli};

fn main() -> ExitCode {
    // Not a verb for people: this program starts itself this way, see `backend::onnxruntime::worker`.
    let done = if std::env::args_os().nth(1).is_some_and(|verb| verb == "worker") {
        launch::worker()
    } else {
        verb::run(Cli::parse())
    };
    done.unwrap_or_else(|failure| failure.report())
}
