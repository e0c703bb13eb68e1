//! A result to standard output and to the files asked for.

use resnext_runner::bench::Bench;
use resnext_runner::compare::Comparison;
use serde::Serialize;

use super::outcome::write;
use crate::cli::{Exports, Global};
use crate::terminal::{self, Failure, remark};

/// A result that has a form for people, a table, and notes.
pub(super) trait Publish: Serialize {
    fn text(&self) -> String;
    fn csv(&self) -> String;
    fn markdown(&self) -> String;
    fn notes(&self) -> &[String];
}

impl Publish for Comparison {
    fn text(&self) -> String {
        super::json(self).unwrap_or_default()
    }
    fn csv(&self) -> String {
        String::new()
    }
    fn markdown(&self) -> String {
        String::new()
    }
    fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Publish for Bench {
    fn text(&self) -> String {
        super::json(self).unwrap_or_default()
    }
    fn csv(&self) -> String {
        String::new()
    }
    fn markdown(&self) -> String {
        String::new()
    }
    fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Files first, so that a reader of standard output that goes away takes nothing with it.
pub(super) fn publish(global: &Global, result: &impl Publish, exports: &Exports) -> Result<(), Failure> {
    let json = super::json(result)?;
    if let Some(path) = &exports.export_json {
        write(path, &json)?;
    }
    if let Some(path) = &exports.export_csv {
        write(path, &result.csv())?;
    }
    if let Some(path) = &exports.export_markdown {
        write(path, &result.markdown())?;
    }
    for note in result.notes() {
        remark(global.quiet, format!("note: {note}"));
    }
    terminal::print(&if exports.json { json } else { result.text() })
}
