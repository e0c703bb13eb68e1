//! A check-up to be read.

use crate::backend::onnxruntime::examination::{Findings, LibraryFinding, ProviderFinding, State};
use crate::backend::onnxruntime::known::Kernels;
use crate::backend::onnxruntime::runtime::find::Origin;
use crate::host::machine::Host;
use crate::report::document::Column;
use crate::report::document::{Cell, Document, Table, Tone, one_line};
use crate::report::note::sentences;
use crate::report::number::bytes;
use crate::verb::outcome::Report;

/// Describes the machine, the libraries found, and every provider with what fixes it.
pub fn document(findings: &Report<Findings>) -> Document {
    let mut document = Document::default();
    document.aside(|document| document.list("Machine", machine(&findings.environment.host)));
    document.heading("Libraries");
    match &findings.no_library {
        Some(reason) => document.paragraph(reason.to_string()),
        None => document.table(libraries(&findings.libraries)),
    }
    document.heading("Providers");
    let mut table = Table::new([Column::text("provider"), Column::text("state")]);
    for provider in &findings.providers {
        let state = match provider.state {
            State::Works => Cell::toned("works", Tone::Good),
            State::Broken => Cell::toned("does not work", Tone::Bad),
            State::Absent => Cell::toned("absent", Tone::Faint),
        };
        table.rows.push(vec![provider.provider.name().into(), state]);
    }
    document.table(table);
    document.list("Kernels", findings.kernels.iter().flat_map(kernels).collect());
    document.aside(|document| document.list("How to fix them", findings.providers.iter().flat_map(hint).collect()));
    document
}

/// What the kernels of a library compute, and what to do where it is wrong.
fn kernels(found: &Kernels) -> Vec<String> {
    if let Some(error) = &found.error {
        return vec![format!("{}: could not be asked: {}", found.library, crate::report::document::one_line(error))];
    }
    let wrong = found.wrong().map(|answer| {
        let (name, wrong, of) = (&answer.name, answer.wrong, answer.of);
        format!("{}: {name}: {wrong} of {of} elements are wrong", found.library)
    });
    let mut lines: Vec<String> = wrong.collect();
    if lines.is_empty() {
        return vec![format!("{}: {} operators compute what they should", found.library, found.answers.len())];
    }
    lines.extend(cures(found).iter().map(|cure| format!("fix: {cure}")));
    lines
}

/// What helps against wrong kernels.
fn cures(found: &Kernels) -> Vec<&'static str> {
    let has = |is_integer: bool| found.wrong().any(|answer| answer.is_integer == is_integer);
    let integer = "results of 8-bit models cannot be trusted with this library on this processor: run an f32 model, or one \
                   whose weights have 7 bits, or another onnxruntime, such as `resnext-run setup cpu` installs";
    let float = "no result can be trusted with this library on this processor: use another onnxruntime, such as \
                 `resnext-run setup cpu` installs";
    [has(true).then_some(integer), has(false).then_some(float)].into_iter().flatten().collect()
}

fn machine(host: &Host) -> Vec<String> {
    let unknown = || "unknown".to_owned();
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(format!("{name:<13}{value}"));
    row("platform", host.platform.clone());
    row("kernel", host.kernel.clone().unwrap_or_else(unknown));
    row("processor", host.processor.clone().unwrap_or_else(unknown));
    row("instructions", host.instruction_sets.join(" "));
    row("processors", format!("{} usable, {} threads by default", host.usable_processors, host.default_threads));
    row("memory", host.memory_bytes.map_or_else(unknown, bytes));
    for gpu in &host.gpus {
        let memory = gpu.memory_bytes.map_or_else(unknown, bytes);
        let capability = &gpu.compute_capability;
        row("GPU", format!("{}, {memory}, compute capability {capability}, driver {}", gpu.name, gpu.driver));
    }
    if host.gpus.is_empty() {
        row("GPU", "none that nvidia-smi knows of".to_owned());
    }
    rows
}

fn libraries(libraries: &[LibraryFinding]) -> Table {
    let mut table = Table::new([Column::text("version"), Column::text("found"), Column::text("path")]);
    for library in libraries {
        let origin = match library.origin {
            Origin::Flag => "--ort-lib",
            Origin::Environment => "ORT_DYLIB_PATH",
            Origin::Executable => "beside the program",
            Origin::Installed => "installed by setup",
            Origin::System => "the system's",
        };
        let version = match &library.version {
            Some(version) => version.as_str().into(),
            None => Cell::toned("unusable", Tone::Bad),
        };
        table.rows.push(vec![version, origin.into(), library.path.as_str().into()]);
        if let Some(problem) = &library.problem {
            table.rows.push(vec!["".into(), Cell::toned(problem.to_string(), Tone::Bad)]);
        }
    }
    table
}

fn hint(provider: &ProviderFinding) -> Vec<String> {
    let name = provider.provider.name();
    let reason = provider.reason.as_ref().map(|reason| format!("{name}: {}", one_line(&reason.to_string())));
    let hints = (!provider.hints.is_empty()).then(|| format!("{name}: {}", sentences(&provider.hints).join("; ")));
    reason.into_iter().chain(hints).collect()
}
