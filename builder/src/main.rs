//! `resnext-build`: parse, run, exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use resnext_builder::cli::Cli;
use resnext_builder::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    match commands::run(&cli, &mut out, &mut err) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if code != 0 {
                // Where even standard error is closed, the exit code still tells.
                let _ = writeln!(err, "error: {error}");
            }
            ExitCode::from(code)
        }
    }
}
