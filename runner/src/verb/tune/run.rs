//! `tune`: the fastest lowering of a model, found by measuring.

use super::{csv, document};
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::files::{copy_model, same_file};
use super::result::{Request, TuneError, Tuned};
use super::tuning as tune;
use crate::model::file::ModelFile;
use crate::report::json;
use resnext_builder::build::External;
use resnext_builder::optimize::{Model, OptimizeError};
use resnext_builder::tuning::{self, Tuning};

use super::args::Tune;
use super::options::Options;
use crate::backend::providers::Providers;
use crate::exit::Failure;
use crate::terminal::args::Global;
use crate::terminal::interrupt::stop_on_interrupt;
use crate::terminal::output::note;
use crate::terminal::progress::Bar;
use crate::verb::files::write;
use crate::verb::publish::publish;
use crate::verb::shapes;
use onnx_file::exit::Exit;
use onnx_file::outline::data_files;

pub(crate) fn run(global: &Global, arguments: &Tune) -> Result<ExitCode, Failure> {
    let options = &arguments.options()?;
    let tuning_file = options.tuning_file();
    for path in [&options.output, &tuning_file] {
        if path.exists() && !options.force {
            let text = format!("{} exists; give another -o, or --force to replace it", path.display());
            return Err(Failure::new(Exit::Usage, text));
        }
    }
    if same_file(&options.model, &options.output) {
        return Err(Failure::new(Exit::Usage, "the output is the model itself; give another -o"));
    }
    let mut original = ModelFile::read(&options.model)?;
    shapes::shape(std::slice::from_mut(&mut original), &options.shapes)?;
    let outputs = arguments.exports.outputs().with("-o", Some(&options.output));
    let outputs = outputs.with("what was found, beside -o,", Some(&tuning_file));
    outputs.apart_from(std::slice::from_ref(&original), &[])?;
    if let Some(taken) = taken(&original, &options.output).filter(|_| !options.force) {
        let text = format!(
            "{} exists, and may have to hold the model's weights; give another -o, or --force",
            taken.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let tuned = measured(global, options, &original)?;
    if tuned.changed {
        lower(&original.path, options, &tuned.tuning)?;
    } else {
        keep(&original, &options.output)?;
    }
    write(&tuning_file, json::render(&tuned)?.as_bytes())?;
    publish(global, &tuned, &arguments.exports)?;
    note(global.quiet, format!("{}, {}", options.output.display(), tuning_file.display()));
    Ok(tuned.exit_code())
}

/// A file in the way of one that holds the model's weights, should the model be copied as it is.
fn taken(model: &ModelFile, output: &Path) -> Option<PathBuf> {
    let beside = |path: &Path, name: &str| path.with_file_name("").join(name);
    let copies = data_files(&model.graph).into_iter().map(|name| (beside(&model.path, name), beside(output, name)));
    copies.into_iter().find(|(from, to)| to.exists() && !same_file(from, to)).map(|(_, to)| to)
}

/// Writes the original, byte for byte.
fn keep(original: &ModelFile, output: &Path) -> Result<(), Failure> {
    let failed = |(path, error): (PathBuf, io::Error)| {
        Failure::new(Exit::Output, format!("cannot copy to {}: {error}", path.display()))
    };
    copy_model(original, output).map_err(failed)
}

/// Writes the winner.
fn lower(model: &Path, options: &Options, tuning: &Tuning) -> Result<(), Failure> {
    let model = Model::read(model).map_err(|error| rewrite(&error))?;
    model
        .lower(&tuning.lowering(), &tuning.rationale(), &options.output, External::Auto)
        .map(drop)
        .map_err(|error| rewrite(&error))
}

fn measured(global: &Global, options: &Options, original: &ModelFile) -> Result<Report<Tuned>, Failure> {
    let providers = Providers::of(global, &options.providers)?;
    if providers.count() != 1 {
        let text = "a lowering is tuned for one provider; give one --ep";
        return Err(Failure::new(Exit::Usage, text));
    }
    let request = Request {
        model: original.path.clone(),
        name: original.shown().display().to_string(),
        output: options.output.clone(),
        widths: options.widths.clone(),
        shapes: options.shapes.clone(),
        plan: options.plan.for_models(std::slice::from_ref(original)),
        threads: providers.threads(),
    };
    let stop = stop_on_interrupt(global.quiet, "stopping; interrupt again to stop at once");
    let mut bar = Bar::with_time_left(global.quiet);
    tune::tune(&request, &providers, &stop, &mut |progress| bar.show(progress)).map_err(failure)
}

fn failure(error: TuneError) -> Failure {
    match error {
        TuneError::Rewrite(error) => rewrite(&error),
        TuneError::Metadata(error) => error.into(),
        TuneError::Original { model, source } => {
            let failure = Failure::from(source);
            Failure::new(failure.exit, format!("{model}: {}", failure.message))
        }
        TuneError::Interrupted => Failure::new(Exit::Interrupted, error.to_string()),
        TuneError::Nothing { .. } | TuneError::Shape(_) => Failure::new(Exit::Usage, error.to_string()),
        TuneError::Write { .. } => Failure::new(Exit::Output, error.to_string()),
    }
}

fn rewrite(error: &OptimizeError) -> Failure {
    Failure::new(error.exit(), error.to_string())
}

impl Outcome for Tuned {
    const KIND: &'static str = tuning::KIND;
    const SCHEMA_VERSION: u32 = tuning::SCHEMA_VERSION;

    fn document(report: &Report<Tuned>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    /// Where nothing is faster, that is a result too.
    fn exits(&self) -> Vec<Exit> {
        Vec::new()
    }
}
