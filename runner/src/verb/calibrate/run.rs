//! `calibrate`: ranges of all values inside a network, and whether f16 holds them.

use super::error::CalibrateError;
use super::result::Calibration;
use super::{csv, document};
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::calibration as calibrate;
use super::calibration::Request;
use super::inputs::{Source, spread};
use crate::input;

use super::args::Calibrate;
use super::options::Options;
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::input::shapes::demands;
use crate::next::Next;
use crate::terminal::args::Global;
use crate::terminal::interrupt::{KEEPS, stop_on_interrupt};
use crate::terminal::progress::Bar;
use crate::verb::outputs::Outputs;
use crate::verb::publish::publish;
use onnx_file::exit::Exit;
use resnext_builder::calibration;
use resnext_builder::calibration::InputSource;

/// Synthetic inputs where no number of them is asked for.
const SYNTHETIC: usize = 16;

pub(crate) fn run(global: &Global, arguments: &Calibrate) -> Result<ExitCode, Failure> {
    let exports = arguments.exports();
    let calibration = measured(global, &arguments.options()?, &exports.outputs())?;
    publish(global, &calibration, &exports)?;
    Ok(calibration.exit_code())
}

/// The calibration, without printing it.
pub(crate) fn measured(
    global: &Global,
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<Report<Calibration>, Failure> {
    if options.providers.providers.len() != 1 {
        return Err(Failure::new(Exit::Usage, "a model is calibrated on one provider; give one --ep"));
    }
    let mut files = read_models(std::slice::from_ref(&options.model))?;
    files.iter_mut().for_each(|file| file.asked = options.asked.clone());
    outputs.apart_from(&files, &options.images)?;
    let images = images(options)?;
    let providers = Providers::of(global, &options.providers)?;
    let inputs = match &images {
        Some(images) => Source::Images(images),
        None => Source::Seeded { count: options.count.unwrap_or(SYNTHETIC), seed: options.seed },
    };
    let stop = stop_on_interrupt(global.quiet, KEEPS);
    let mut candidates = providers.candidates(&files, &demands(&files, &[options.batch]));
    let request = Request { inputs, batch: options.batch, exif: options.exif };
    let mut bar = Bar::new(global.quiet);
    let found = calibrate::calibrate(&mut candidates[0], &request, &stop, &mut |progress| bar.show(progress));
    drop(bar);
    found.map_err(failure)
}

/// The images to calibrate on; `None` for synthetic inputs.
fn images(options: &Options) -> Result<Option<Vec<PathBuf>>, Failure> {
    if options.images.is_empty() {
        return Ok(None);
    }
    let all = input::expand(&options.images)
        .map_err(|(path, error)| Failure::new(Exit::BadInput, format!("{}: {error}", path.display())))?;
    if all.is_empty() {
        return Err(Failure::new(Exit::BadInput, "the folders given hold no images"));
    }
    let count = options.count.unwrap_or(all.len());
    Ok(Some(spread(all, count)))
}

fn failure(error: CalibrateError) -> Failure {
    let exit = match error {
        CalibrateError::Model(error) => return error.into(),
        CalibrateError::File(error) => return error.into(),
        CalibrateError::Weights(_) | CalibrateError::NoImage { .. } => Exit::BadInput,
        CalibrateError::Write(_) => Exit::Output,
        CalibrateError::Stopped => Exit::Interrupted,
    };
    Failure::new(exit, error.to_string())
}

impl Outcome for Calibration {
    const KIND: &'static str = calibration::KIND;
    const SCHEMA_VERSION: u32 = calibration::SCHEMA_VERSION;

    fn document(report: &Report<Calibration>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    fn next(report: &Report<Calibration>, kept: Option<&Path>) -> Vec<Next> {
        let model = report.loaded.model.clone();
        // Of noise no useful ranges come, and what already computes in fewer bits is not made int8.
        let useful = report.inputs.fed.source == InputSource::Images && !report.interrupted && report.may_be_int8;
        let next = match kept {
            Some(kept) if useful => Some(Next::Int8 { model, ranges: kept.display().to_string() }),
            _ if report.may_be_int8 => Some(Next::Ranges { model }),
            _ => None,
        };
        next.into_iter().chain(Next::preprocess(&report.notes)).collect()
    }

    fn mismatch(&self) -> bool {
        !self.verdict.f16_safe
    }

    fn exits(&self) -> Vec<Exit> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_before_the_first_result_is_an_interrupt() {
        assert_eq!(failure(CalibrateError::Stopped).exit, Exit::Interrupted);
    }
}
