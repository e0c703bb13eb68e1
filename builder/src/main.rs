//! `resnext-build`: parse, run, exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use onnx_file::atomic;
use resnext_builder::cli::Cli;
use resnext_builder::commands;

/// What a shell reports of a program that an interrupt from the keyboard ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Without it an interrupt leaves a partial file, which the next build replaces.
    let _ = ctrlc::set_handler(interrupt);
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    match commands::run(&cli, &mut out, &mut err) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if atomic::stopped() => ExitCode::from(INTERRUPTED),
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

/// Ends the program once it has given up its half-written files, after two seconds at the latest.
fn interrupt() {
    atomic::stop_within(Duration::from_secs(2));
    std::process::exit(INTERRUPTED.into());
}
