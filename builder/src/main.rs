//! `resnext-build`: parse, run, exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use onnx_file::atomic;
use onnx_file::exit::Exit;
use resnext_builder::cli::Cli;
use resnext_builder::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Without it an interrupt leaves a partial file, which the next build replaces.
    let _ = ctrlc::set_handler(interrupt);
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    match commands::run(&cli, &mut out, &mut err) {
        Ok(()) => Exit::Success.into(),
        Err(_) if atomic::stopped() => Exit::Interrupted.into(),
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Success {
                // Where even standard error is closed, the exit code still tells.
                let _ = writeln!(err, "error: {error}");
            }
            exit.into()
        }
    }
}

/// Ends the program once it has given up its half-written files, after two seconds at the latest.
fn interrupt() {
    atomic::stop_within(Duration::from_secs(2));
    std::process::exit(Exit::Interrupted.into());
}
