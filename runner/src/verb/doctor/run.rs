//! `doctor`: prints what was found.

use std::process::ExitCode;

use crate::backend::onnxruntime::examination as doctor;
use crate::backend::onnxruntime::runtime::find::Search;
use crate::report::json;
use crate::verb::publish::show;

use super::args::Doctor;
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;
use onnx_file::exit::Exit;

pub(crate) fn run(global: &Global, arguments: &Doctor) -> Result<ExitCode, Failure> {
    let launcher = crate::backend::onnxruntime::launch::check_up_launcher(global, &arguments.library)?;
    let findings = doctor::examine(&launcher, &Search::new(arguments.library.ort_lib.clone()));
    if arguments.json {
        terminal::print(&json::render(&findings)?)?;
    } else {
        show(global, super::document::document(&findings))?;
    }
    // A check-up that finds nothing to run with is no success: scripts ask for this.
    Ok(if findings.working().is_empty() { Exit::Unavailable.into() } else { ExitCode::SUCCESS })
}
