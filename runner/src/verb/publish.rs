//! A result to standard output and to the files asked for.

use std::io::{self, Write as _};
use std::path::Path;

use onnx_file::text::Terminal;

use crate::next::Next;
use crate::report::document::{Document, Line};
use crate::report::note::sentences;
use crate::report::{json, markdown, text};

use super::files::write;
use super::flags::Exports;
use super::outcome::{Outcome, Report};
use super::outputs::is_standard_output;
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;

/// As text, to standard output.
pub(crate) fn print(global: &Global, report: &Report<impl Outcome>) -> Result<(), Failure> {
    show(global, Outcome::document(report))
}

/// As JSON, to a file.
pub(crate) fn keep(report: &Report<impl Outcome>, path: &Path) -> Result<(), Failure> {
    write(path, json::render(report)?.as_bytes())
}

/// Files first, so that whatever becomes of standard output, they are there; a file that cannot be written keeps nothing
/// else back.
pub(crate) fn publish(global: &Global, report: &Report<impl Outcome>, exports: &Exports) -> Result<(), Failure> {
    let document = Outcome::document(report);
    let json = json::render(report)?;
    let contents = [
        (&exports.export_json, json.clone()),
        (&exports.export_csv, report.csv()),
        (&exports.export_markdown, markdown::render(&document)),
    ];
    let mut written = Ok(());
    let mut printed = None;
    for (path, content) in contents {
        match path {
            Some(path) if is_standard_output(path) => printed = Some(content),
            Some(path) => written = written.and(write(path, content.as_bytes())),
            None => {}
        }
    }
    let shown = match printed {
        Some(content) => terminal::print(&content),
        None if exports.json => terminal::print(&json),
        None => show(global, with_next(document, report, exports)),
    };
    for failure in failures(report) {
        let _ = writeln!(Terminal::new(io::stderr()), "error: {failure}");
    }
    written.and(shown)
}

/// Who gave no result and why, each once: results go elsewhere, and whoever watches has to know.
fn failures(report: &Report<impl Outcome>) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for (who, error) in report.failures() {
        let line = format!("{}: {error}", Line::from(who.to_string()));
        if !said.contains(&line) {
            said.push(line);
        }
    }
    said
}

/// The result, and what may come next: for whoever reads it here, not for what is kept of it.
fn with_next<T: Outcome>(mut document: Document, report: &Report<T>, exports: &Exports) -> Document {
    let mut next = T::next(report, exports.export_json.as_deref());
    next.extend(Next::after(&report.failures()));
    document.aside(|document| document.list("Next", sentences(&next)));
    document
}

/// A result as text; where it was asked to be quiet, without what is beside the point.
fn show(global: &Global, document: Document) -> Result<(), Failure> {
    let document = if global.quiet { document.without_asides() } else { document };
    terminal::show(&text::render_within(&document, terminal::colour(global), terminal::width()))
}
