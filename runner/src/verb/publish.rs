//! A result to standard output and to the files asked for.

use super::bench::measurement::Bench;
use super::calibrate::calibration::Calibration;
use super::compare::comparison::Comparison;
use super::eval::evaluation::Evaluation;
use super::infer::inference::Inference;
use super::tune::tuning::Tuned;
use crate::report::document::Document;
use crate::report::{json, markdown, text};
use serde::Serialize;

use super::files::write;
use super::flags::Exports;
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;

/// A result with a form for people and a form for spreadsheets.
pub(crate) trait Publish: Serialize {
    fn document(&self) -> Document;
    fn csv(&self) -> String;
}

macro_rules! publish {
    ($($result:ty: $module:ident),+) => {
        $(impl Publish for $result {
            fn document(&self) -> Document {
                super::$module::document::document(self)
            }

            fn csv(&self) -> String {
                super::$module::csv::csv(self)
            }
        })+
    };
}

publish!(Comparison: compare, Bench: bench, Inference: infer, Evaluation: eval, Tuned: tune, Calibration: calibrate);

/// Files first, so that whatever becomes of standard output, they are there.
pub(crate) fn publish(global: &Global, result: &impl Publish, exports: &Exports) -> Result<(), Failure> {
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
        terminal::print(&text::render(&document, terminal::colour(global)))
    }
}
