//! A result to standard output and to the files asked for.

use crate::report::{json, markdown, text};

use super::files::write;
use super::flags::Exports;
use super::outcome::Outcome;
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;

/// Files first, so that whatever becomes of standard output, they are there.
pub(crate) fn publish(global: &Global, result: &impl Outcome, exports: &Exports) -> Result<(), Failure> {
    let document = result.document();
    if let Some(path) = &exports.export_json {
        write(path, json::render(result)?.as_bytes())?;
    }
    if let Some(path) = &exports.export_csv {
        write(path, result.csv().as_bytes())?;
    }
    if let Some(path) = &exports.export_markdown {
        write(path, markdown::render(&document).as_bytes())?;
    }
    if exports.json {
        terminal::print(&json::render(result)?)
    } else {
        terminal::show(&text::render(&document, terminal::colour(global)))
    }
}
