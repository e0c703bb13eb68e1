//! A result to standard output and to the files asked for.

use resnext_runner::bench::Bench;
use resnext_runner::calibrate::Calibration;
use resnext_runner::compare::Comparison;
use resnext_runner::eval::Evaluation;
use resnext_runner::infer::Inference;
use resnext_runner::report::{self, Document, csv, json, markdown, text};
use resnext_runner::tune::Tuned;
use serde::Serialize;

use super::outcome::write;
use crate::cli::{Exports, Global};
use crate::terminal::{self, Failure};

/// A result with a form for people and a form for spreadsheets.
pub(super) trait Publish: Serialize {
    fn document(&self) -> Document;
    fn csv(&self) -> String;
}

macro_rules! publish {
    ($($result:ty: $module:ident),+) => {
        $(impl Publish for $result {
            fn document(&self) -> Document {
                report::$module::document(self)
            }

            fn csv(&self) -> String {
                csv::$module(self)
            }
        })+
    };
}

publish!(Comparison: compare, Bench: bench, Inference: infer, Evaluation: eval, Tuned: tune, Calibration: calibrate);

/// Files first, so that whatever becomes of standard output, they are there.
pub(super) fn publish(global: &Global, result: &impl Publish, exports: &Exports) -> Result<(), Failure> {
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
