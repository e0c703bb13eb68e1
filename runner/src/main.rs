//! Entry point: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;
use onnx_file::exit::Exit;
use resnext_runner::backend::onnxruntime::launch;
use resnext_runner::exit::Failure;
use resnext_runner::host::child;
use resnext_runner::terminal::interrupt;
use resnext_runner::verb::{self, cli::Cli};

fn main() -> ExitCode {
    // Neither is a verb for people: this program starts itself this way, see `backend::onnxruntime::worker`, `host::child`.
    child::can_guard();
    let mut arguments = std::env::args_os().skip(1);
    let done = match arguments.next() {
        Some(first) if first == "worker" => launch::worker(arguments.next()),
        Some(first) if first == child::GUARDED => {
            return Failure::new(Exit::Internal, child::guarded(arguments).to_string()).report();
        }
        _ => {
            let cli = Cli::parse();
            if cli.verbose() {
                let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr);
                log.without_time().init();
            }
            interrupt::prepare();
            verb::run(cli)
        }
    };
    done.unwrap_or_else(|failure| failure.report())
}
