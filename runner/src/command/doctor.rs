//! `doctor`: prints what was found.

use std::fmt::Write as _;
use std::process::ExitCode;

use resnext_runner::doctor::{self, Findings, State};
use resnext_runner::runtime::find::{Origin, Search};

use crate::cli::{Doctor, Global};
use crate::terminal::{self, Exit, Failure, megabytes};

pub(super) fn run(global: &Global, arguments: &Doctor) -> Result<ExitCode, Failure> {
    let launcher = super::launcher(global, &arguments.library)?;
    let findings = doctor::examine(&launcher, &Search::new(arguments.library.ort_lib.clone()));
    if arguments.json {
        terminal::print(&super::json(&findings)?)?;
    } else {
        terminal::print(&text(&findings))?;
    }
    // A check-up that finds nothing to run with is no success: scripts ask for this.
    Ok(if findings.working().is_empty() { ExitCode::from(Exit::Unavailable as u8) } else { ExitCode::SUCCESS })
}

/// The findings for people.
pub(super) fn text(findings: &Findings) -> String {
    let mut text = String::new();
    host(&mut text, findings);
    let _ = writeln!(text, "\nonnxruntime");
    if let Some(reason) = &findings.no_library {
        let _ = writeln!(text, "  {}", indented(reason));
    }
    for library in &findings.libraries {
        let origin = match library.origin {
            Origin::Flag => "--ort-lib",
            Origin::Environment => "ORT_DYLIB_PATH",
            Origin::Executable => "beside the program",
            Origin::Installed => "installed by setup",
            Origin::System => "the system's",
        };
        let version = library.version.as_deref().unwrap_or("unusable");
        let _ = writeln!(text, "  {version:<10} {} ({origin})", library.path);
        if let Some(problem) = &library.problem {
            let _ = writeln!(text, "    {}", problem.replace('\n', "\n    "));
        }
    }
    let _ = writeln!(text, "\nproviders");
    for provider in &findings.providers {
        let state = match provider.state {
            State::Works => "works",
            State::Broken => "does not work",
            State::Absent => "absent",
        };
        let _ = writeln!(text, "  {:<10} {state}", provider.provider.name());
        if let Some(reason) = &provider.reason {
            let _ = writeln!(text, "    why:  {}", indented(reason));
        }
        if let Some(mend) = &provider.mend {
            let _ = writeln!(text, "    mend: {mend}");
        }
    }
    text
}

fn host(text: &mut String, findings: &Findings) {
    let host = &findings.host;
    let _ = writeln!(text, "machine");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<13}{value}");
    };
    line("platform", &host.platform);
    line("kernel", host.kernel.as_deref().unwrap_or("unknown"));
    line("processor", host.processor.as_deref().unwrap_or("unknown"));
    line("instructions", &host.instruction_sets.join(" "));
    line("processors", &format!("{} usable, {} threads by default", host.usable_processors, host.default_threads));
    line("memory", &host.memory_bytes.map_or("unknown".to_owned(), megabytes));
    for gpu in &host.gpus {
        let memory = gpu.memory_bytes.map_or("unknown memory".to_owned(), megabytes);
        let gpu =
            format!("{}, {memory}, compute capability {}, driver {}", gpu.name, gpu.compute_capability, gpu.driver);
        line("gpu", &gpu);
    }
    if host.gpus.is_empty() {
        line("gpu", "none that nvidia-smi knows of");
    }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n          ")
}
