//! `eval`: accuracy on labelled images.

use super::labelled::{Dataset, DatasetError};
use super::result::{Evaluated, Evaluation};
use super::{csv, document};
use crate::note::Named;
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::classes::Classes;
use super::dataset::LABEL_FILES;
use super::evaluation as eval;
use super::evaluation::Request;
use super::{same, truth};
use crate::note::Note;

use super::args::Eval;
use super::options::Options;
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::exit::exit_of;
use crate::input::shapes::demands;
use crate::model::opened::ModelError;
use crate::next::Next;
use crate::terminal::args::Global;
use crate::terminal::interrupt::{KEEPS, stop_on_interrupt};
use crate::terminal::output::note;
use crate::terminal::progress::Bar;
use crate::verb::about::tell;
use crate::verb::outputs::Outputs;
use crate::verb::publish::publish;
use crate::verb::shapes;
use onnx_file::exit::Exit;

/// Top-1 below which it is worth asking whether classes are numbered as they were meant.
const LOW: f64 = 0.25;

pub(crate) fn run(global: &Global, arguments: &Eval) -> Result<ExitCode, Failure> {
    let evaluation = measured(global, &arguments.options()?, &arguments.exports.outputs())?;
    publish(global, &evaluation, &arguments.exports)?;
    Ok(evaluation.exit_code())
}

/// The evaluation, without printing it.
pub(crate) fn measured(
    global: &Global,
    options: &Options,
    outputs: &Outputs<'_>,
) -> Result<Report<Evaluation>, Failure> {
    let Options { models, folder, image_labels, asked, class_order, exif, batch, providers, image_size } = options;
    let mut files = read_models(models)?;
    tell(&mut files, asked)?;
    shapes::image_size(&mut files, *image_size)?;
    let label_files = image_labels.iter().cloned().chain(LABEL_FILES.map(|name| folder.join(name)));
    let maps = truth::maps(image_labels.as_deref(), folder);
    let read: Vec<PathBuf> = label_files.chain(maps).chain([folder.to_owned()]).collect();
    outputs.apart_from(&files, &read)?;
    let bad = |error: DatasetError| Failure::new(Exit::BadInput, error.to_string());
    let mut classes = files.iter().map(Classes::of).collect::<Result<Vec<Classes>, _>>()?;
    classes.iter_mut().for_each(|classes| classes.order = *class_order);
    let datasets = Dataset::for_models(folder, image_labels.as_deref(), &classes).map_err(bad)?;
    let twice = datasets.first().map(|dataset| same::of_two_classes(&dataset.images)).unwrap_or_default();
    // A number of threads that was asked for is meant for one run.
    let shared = !providers.threads_asked;
    let mut providers = Providers::of(global, providers)?;
    let demands = demands(&files, &[*batch]);
    let (copies, wanted) = if shared { providers.copy_models(&files, &demands, *batch) } else { (1, 1) };
    if copies < wanted {
        note(global.quiet, format!("memory is short: {copies} copies of each model at work instead of {wanted}"));
    }
    let mut candidates = providers.candidates(&files, &demands);
    // The candidates are every provider of the first model, then of the next.
    let datasets = datasets.iter().flat_map(|dataset| std::iter::repeat_n(dataset, providers.count())).collect();
    let request = Request { datasets, batch: *batch, exif: *exif };
    let stop = stop_on_interrupt(global.quiet, KEEPS);
    let mut bar = Bar::new(global.quiet);
    let mut evaluation = eval::eval(&mut candidates, &request, &stop, &mut |progress| bar.show(progress))?;
    evaluation.notes.extend(providers.notes());
    evaluation.notes.extend(twice.first().map(|first| Note::SameImage {
        count: twice.len(),
        first: first.iter().map(|path| path.display().to_string()).collect(),
    }));
    Ok(evaluation)
}

impl Outcome for Evaluation {
    const KIND: &'static str = "eval";
    const SCHEMA_VERSION: u32 = 2;

    fn document(report: &Report<Evaluation>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    /// A model that failed on an image.
    fn mismatch(&self) -> bool {
        self.model_failed()
    }

    fn next(report: &Report<Evaluation>, _kept: Option<&Path>) -> Vec<Next> {
        let low = report.candidates.iter().filter_map(|one| one.top1).any(|top1| top1.proportion < LOW);
        let random = report.notes.iter().any(|note| matches!(note, Note::RandomWeights { .. }));
        let doubted = report.notes.iter().find_map(|note| match note {
            Note::ClassesByNumber { .. } => Some(Next::ClassesByName),
            Note::ClassesInOrder { .. } => Some(Next::NameClasses),
            _ => None,
        });
        doubted.filter(|_| low && !random).into_iter().chain(Next::preprocess(&report.notes)).collect()
    }

    fn failures(&self) -> Vec<(Named, &ModelError)> {
        let of = |one: &'_ Evaluated| Named::of(&one.provider, &one.model);
        self.candidates.iter().filter_map(|one| Some((of(one), one.error.as_ref()?))).collect()
    }

    fn is_empty(&self) -> bool {
        self.candidates.iter().all(|one| one.images == 0 && one.not_finite.is_empty())
    }

    fn exits(&self) -> Vec<Exit> {
        self.errors().map(exit_of).chain(self.nothing_read().then_some(Exit::BadInput)).collect()
    }
}
