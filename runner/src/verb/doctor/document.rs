//! A check-up to be read.

use crate::backend::onnxruntime::examination::{Findings, LibraryFinding, ProviderFinding, State};
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
    document.aside(|document| document.list("How to fix them", findings.providers.iter().flat_map(hint).collect()));
    document
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
