//! A result to standard output and to the files asked for.

use std::path::Path;

use crate::report::{json, markdown, text};

use super::files::write;
use super::flags::Exports;
use super::outcome::{Outcome, Report};
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;

/// As text, to standard output.
pub(crate) fn print(global: &Global, report: &Report<impl Outcome>) -> Result<(), Failure> {
    terminal::show(&text::render(&Outcome::document(report), terminal::colour(global)))
}

/// As JSON, to a file.
pub(crate) fn keep(report: &Report<impl Outcome>, path: &Path) -> Result<(), Failure> {
    write(path, json::render(report)?.as_bytes())
}

/// Files first, so that whatever becomes of standard output, they are there.
pub(crate) fn publish(global: &Global, report: &Report<impl Outcome>, exports: &Exports) -> Result<(), Failure> {
    let document = Outcome::document(report);
    if let Some(path) = &exports.export_json {
        keep(report, path)?;
    }
    if let Some(path) = &exports.export_csv {
        write(path, report.csv().as_bytes())?;
    }
    if let Some(path) = &exports.export_markdown {
        write(path, markdown::render(&document).as_bytes())?;
    }
    if exports.json {
        terminal::print(&json::render(report)?)
    } else {
        terminal::show(&text::render(&document, terminal::colour(global)))
    }
}
