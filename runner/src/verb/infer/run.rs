//! `infer`: classifies images.

use super::{csv, document};
use crate::note::Named;
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};
use std::path::Path;
use std::process::ExitCode;

use super::inference as infer;
use super::inference::{InferError, Inference, Request};
use crate::input::{self, Found};

use super::args::Infer;
use super::options::Options;
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::exit::exit_of;
use crate::input::shapes::demands;
use crate::model::opened::ModelError;
use crate::next::Next;
use crate::terminal::args::Global;
use crate::terminal::progress::Bar;
use crate::verb::about::tell;
use crate::verb::outputs::Outputs;
use crate::verb::publish::publish;
use crate::verb::shapes;
use onnx_file::exit::Exit;

pub(crate) fn run(global: &Global, arguments: &Infer) -> Result<ExitCode, Failure> {
    let inference = measured(global, &arguments.options()?, &arguments.exports.outputs())?;
    publish(global, &inference, &arguments.exports)?;
    Ok(inference.exit_code())
}

/// The classified images, not yet shown.
pub(crate) fn measured(
    global: &Global,
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<Report<Inference>, Failure> {
    let mut files = read_models(std::slice::from_ref(&options.model))?;
    tell(&mut files, &options.asked)?;
    shapes::image_size(&mut files, options.image_size)?;
    outputs.apart_from(&files, &options.images)?;
    let Found { images, left_out } = input::find(&options.images)
        .map_err(|(path, error)| Failure::new(Exit::BadInput, format!("{}: {error}", path.display())))?;
    if images.is_empty() {
        return Err(Failure::new(Exit::BadInput, "the folders given hold no images"));
    }
    let providers = Providers::of(global, &options.providers)?;
    if providers.count() != 1 {
        return Err(Failure::new(Exit::Usage, "infer runs on one provider; `compare` and `bench` take several"));
    }
    let mut candidates = providers.candidates(&files, &demands(&files, &[options.batch.min(images.len())]));
    let Options { batch, top_k, exif, .. } = *options;
    let request = Request { images: &images, batch, top_k, exif, left_out: &left_out };
    let mut bar = Bar::new(global.quiet);
    let inference = infer::infer(&mut candidates[0], &request, &mut |progress| bar.show(progress));
    drop(bar);
    inference.map_err(|error| match error {
        InferError::File(error) => Failure::from(error),
        InferError::Model(error) => error.into(),
    })
}

impl Outcome for Inference {
    const KIND: &'static str = "infer";
    const SCHEMA_VERSION: u32 = 2;

    fn document(report: &Report<Inference>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    /// A model that failed on an image.
    fn mismatch(&self) -> bool {
        self.model_failed()
    }

    fn next(report: &Report<Inference>, _kept: Option<&Path>) -> Vec<Next> {
        Next::preprocess(&report.notes).into_iter().collect()
    }

    fn failures(&self) -> Vec<(Named, &ModelError)> {
        self.error.iter().map(|error| (Named::of(&self.loaded.provider, &self.model), error)).collect()
    }

    fn exits(&self) -> Vec<Exit> {
        self.error.iter().map(exit_of).chain((self.bad_images() > 0).then_some(Exit::BadInput)).collect()
    }
}
