//! Entry point: parse, call, exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use onnx_file::exit::Exit;
use onnx_file::text::{Terminal, is_control};
use resnext_runner::backend::onnxruntime::launch;
use resnext_runner::exit::Failure;
use resnext_runner::host::child;
use resnext_runner::terminal::interrupt;
use resnext_runner::verb::{self, cli::Cli, tips};

fn main() -> ExitCode {
    // Neither is a verb for people: this program starts itself this way, see `backend::onnxruntime::worker`, `host::child`.
    child::can_guard();
    let mut arguments = std::env::args_os().skip(1);
    let done = match arguments.next() {
        Some(first) if first == "worker" => launch::worker(arguments),
        Some(first) if first == child::GUARDED => {
            return Failure::new(Exit::Internal, child::guarded(arguments).to_string()).report();
        }
        _ => {
            let cli = match Cli::try_parse() {
                Ok(cli) => cli,
                Err(error) => return not_run(error),
            };
            if cli.verbose() {
                let to = || Terminal::new(io::stderr());
                let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(to);
                log.without_time().with_ansi(false).init();
            }
            interrupt::prepare();
            verb::run(cli)
        }
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Help, the version, or what is wrong with the command line.
fn not_run(mut error: clap::Error) -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let tip = tips::tip(&mut error, &arguments);
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    let printed = print(&error).and_then(|()| io::stdout().flush());
    if let Some(tip) = tip {
        // Where standard error is closed, the exit code still tells.
        let _ = writeln!(Terminal::new(io::stderr()), "\n{tip}");
    }
    match printed {
        // Nobody got the help that was asked for; a closed pipe wants no more of it.
        Err(failed) if code == 0 && failed.kind() != io::ErrorKind::BrokenPipe => {
            Failure::new(Exit::Output, format!("cannot write the result: {failed}")).report()
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
