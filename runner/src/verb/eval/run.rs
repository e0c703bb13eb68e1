//! `eval`: accuracy on labelled images.

use super::dataset::DatasetError;
use super::evaluation::Evaluation;
use super::{csv, document};
use crate::report::document::Document;
use crate::verb::outcome::Outcome;
use std::path::PathBuf;
use std::process::ExitCode;

use super::classes::Classes;
use super::dataset::{Dataset, LABEL_FILES};
use super::evaluation as eval;
use super::evaluation::Request;
use super::same;
use crate::note::Note;

use super::args::Eval;
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::exit::exit_of;
use crate::terminal::args::Global;
use crate::terminal::interrupt::{KEEPS, stop_on_interrupt};
use crate::terminal::output::note;
use crate::terminal::progress::Bar;
use crate::verb::publish::publish;
use onnx_file::exit::Exit;

pub(crate) fn run(global: &Global, arguments: &Eval) -> Result<ExitCode, Failure> {
    let (models, folder) = arguments.models_and_folder();
    let mut files = read_models(models)?;
    let (about, image_labels) = arguments.labels();
    about.tell(&mut files)?;
    let given = image_labels.clone().into_iter().chain(about.labels.clone());
    let read: Vec<PathBuf> =
        given.chain(LABEL_FILES.map(|name| folder.join(name))).chain([folder.to_owned()]).collect();
    arguments.exports.outputs().apart_from(&files, &read)?;
    let bad = |error: DatasetError| Failure::new(Exit::BadInput, error.to_string());
    let mut classes = files.iter().map(Classes::of).collect::<Result<Vec<Classes>, _>>()?;
    classes.iter_mut().for_each(|classes| classes.order = arguments.class_order);
    let datasets = Dataset::for_models(folder, image_labels.as_deref(), &classes).map_err(bad)?;
    let twice = datasets.first().map(|dataset| same::of_two_classes(&dataset.images)).unwrap_or_default();
    let mut providers = Providers::of(global, &arguments.providers)?;
    // A number of threads that was asked for is meant for one run.
    let shared = arguments.providers.intra_op_threads.is_none();
    let (copies, wanted) = if shared { providers.copy_models(&files, arguments.batch.batch_size) } else { (1, 1) };
    if copies < wanted {
        note(global.quiet, format!("memory is short: {copies} copies of each model at work instead of {wanted}"));
    }
    let mut candidates = providers.candidates(&files, &[arguments.batch.batch_size]);
    // The candidates are every provider of the first model, then of the next.
    let datasets = datasets.iter().flat_map(|dataset| std::iter::repeat_n(dataset, providers.count())).collect();
    let request = Request { datasets, batch: arguments.batch.batch_size, exif: arguments.exif };
    let stop = stop_on_interrupt(global.quiet, KEEPS);
    let mut bar = Bar::new(global.quiet);
    let mut evaluation = eval::eval(&mut candidates, &request, &stop, &mut |progress| bar.show(progress))?;
    drop(bar);
    evaluation.notes.extend(twice.first().map(|first| Note::SameImage {
        count: twice.len(),
        first: first.iter().map(|path| path.display().to_string()).collect(),
    }));
    publish(global, &evaluation, &arguments.exports)?;
    Ok(evaluation.exit_code())
}

impl Outcome for Evaluation {
    const KIND: &'static str = "eval";

    fn document(&self) -> Document {
        document::document(self)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    /// A model that failed on an image.
    fn mismatch(&self) -> bool {
        self.model_failed()
    }

    fn exits(&self) -> Vec<Exit> {
        self.errors().map(exit_of).chain(self.nothing_read().then_some(Exit::BadInput)).collect()
    }
}
