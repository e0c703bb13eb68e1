//! `resnext-build`: parse, run, exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use onnx_file::exit::Exit;
use onnx_file::text::{Shown, Terminal, is_control};
use onnx_file::{atomic, interrupt, temporary};
use resnext_builder::cli::{Cli, tip};
use resnext_builder::commands;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(error),
    };
    log(cli.verbose);
    interrupt::survive_size_limit();
    // Without it an interrupt leaves a partial file, which the next build replaces.
    let _ = interrupt::handle(|signal| {
        atomic::stop_within(Duration::from_secs(2));
        temporary::remove_all();
        std::process::exit(signal.exit().into());
    });
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    match commands::run(&cli, &mut out, &mut err) {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            if let Some(signal) = interrupt::received() {
                return signal.exit().into();
            }
            let exit = error.exit();
            if exit != Exit::Success {
                // Where even standard error is closed, the exit code still tells.
                let _ = writeln!(err, "error: {}", Shown(error));
            }
            exit.into()
        }
    }
}

/// Lets decisions be seen on standard error: `-v` what was chosen, `-vv` each step.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    log.without_time().with_target(false).with_ansi(false).init();
}

/// Help, the version, or what is wrong with the command line.
fn not_run(mut error: clap::Error) -> ExitCode {
    let tip = tip(&mut error);
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    let printed = print(&error).and_then(|()| io::stdout().flush());
    if let Some(tip) = tip {
        // Where standard error is closed, the exit code still tells.
        let _ = writeln!(io::stderr(), "\n{}", Shown(tip));
    }
    match printed {
        // Nobody got the help that was asked for; a closed pipe wants no more of it.
        Err(failed) if code == 0 && failed.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "error: cannot write the result: {failed}");
            Exit::Output.into()
        }
        _ => ExitCode::from(code),
    }
}

/// Shows `error`, in colours unless an argument, such as a file name that a shell filled in, could bring its own.
fn print(error: &clap::Error) -> io::Result<()> {
    if !std::env::args_os().any(|argument| argument.to_string_lossy().contains(is_control)) {
        return error.print();
    }
    let text = error.render().to_string();
    if error.use_stderr() {
        Terminal::new(io::stderr()).write_all(text.as_bytes())
    } else {
        Terminal::new(io::stdout()).write_all(text.as_bytes())
    }
}
