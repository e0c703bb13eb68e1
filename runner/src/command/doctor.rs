//! `doctor`: prints what was found.

use std::process::ExitCode;

use resnext_runner::doctor;
use resnext_runner::report::{self, json};
use resnext_runner::runtime::find::Search;

use crate::cli::{Doctor, Global};
use crate::terminal::{self, Failure};
use onnx_file::exit::Exit;

pub(super) fn run(global: &Global, arguments: &Doctor) -> Result<ExitCode, Failure> {
    let launcher = super::check_up_launcher(global, &arguments.library)?;
    let findings = doctor::examine(&launcher, &Search::new(arguments.library.ort_lib.clone()));
    if arguments.json {
        terminal::print(&json::render(&findings)?)?;
    } else {
        terminal::print(&report::text::render(&report::doctor::document(&findings), terminal::colour(global)))?;
    }
    // A check-up that finds nothing to run with is no success: scripts ask for this.
    Ok(if findings.working().is_empty() { Exit::Unavailable.into() } else { ExitCode::SUCCESS })
}
