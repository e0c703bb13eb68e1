//! `compare`: the same inputs through every provider and model, and a verdict.

use super::{csv, document};
use crate::note::Named;
use crate::note::Note;
use crate::report::document::Document;
use crate::verb::outcome::{Outcome, Report};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::comparison::{Comparison, Request, Status};
use super::{comparison as compare, layers};
use crate::input;
use crate::input::arrays;
use crate::input::decode::Exif;
use crate::input::feed::Feed;
use crate::input::pipeline::{Extent, prepare};
use crate::input::{demand, preprocess};
use crate::model::candidate::Candidate;
use crate::model::file::{MetadataError, ModelFile};
use crate::model::opened::ModelError;
use crate::model::tensor::Tensor;

use super::args::Compare;
use super::options::{InputsFrom, Options, USUAL_BATCH};
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::exit::{exit_code, exit_of};
use crate::input::shapes::demands;
use crate::next::Next;
use crate::terminal::args::Global;
use crate::terminal::output::note;
use crate::terminal::progress::Bar;
use crate::verb::files::{load, load_inputs, save};
use crate::verb::outputs::Outputs;
use crate::verb::publish::publish;
use crate::verb::shapes;
use onnx_file::exit::Exit;

/// Block outputs added to a model at once while searching for the first that differs: few enough that the runtime still
/// fuses what lies between them.
const LAYERS_AT_ONCE: usize = 4;

pub(crate) fn run(global: &Global, arguments: &Compare) -> Result<ExitCode, Failure> {
    let Compared { comparison, outputs, search } = measured(global, &arguments.options()?, &arguments.outputs())?;
    publish(global, &comparison, &arguments.exports)?;
    match outputs {
        Some(outputs) => save(arguments.save_outputs.as_deref(), &outputs)?,
        None if arguments.save_outputs.is_some() => {
            note(global.quiet, "the first candidate gave no result: its outputs are not kept");
        }
        None => {}
    }
    if let Some(failure) = &search {
        failure.report();
    }
    let exits = comparison.errors().map(exit_of).chain(search.map(|failure| failure.exit));
    Ok(exit_code(comparison.mismatch(), exits))
}

/// A comparison that has yet to be shown.
pub(crate) struct Compared {
    pub(crate) comparison: Report<Comparison>,
    /// The first candidate's outputs, where it gave any.
    outputs: Option<Vec<Tensor>>,
    /// Why the search for the first block that differs, if it was asked for, came to nothing.
    search: Option<Failure>,
}

/// The comparison, without printing anything.
pub(crate) fn measured(global: &Global, options: &Options, outputs: &Outputs<'_>) -> Result<Compared, Failure> {
    let mut files = read_models(&options.models)?;
    shapes::shape(&mut files, &options.shapes)?;
    outputs.apart_from(&files, &options.read())?;
    let batch = options.batch.or_else(|| fixed_batch(&files[0])).unwrap_or(USUAL_BATCH);
    let Given { inputs, source, oriented } = inputs(&files, &options.inputs, batch)?;
    if let (Some(path), Some(first)) = (&options.save_outputs, files.first()) {
        // Otherwise that is found when all runs are over.
        arrays::check(path, first.outputs.len()).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    }
    save(options.save_inputs.as_deref(), &inputs)?;
    let reference = match &options.reference {
        Some(path) => Some((load(path)?, path.display().to_string())),
        None => None,
    };
    let providers = Providers::of(global, &options.providers)?;
    let mut candidates = providers.candidates(&files, &demands(&files, &[batch]));
    if options.layers && candidates.len() < 2 {
        return Err(Failure::new(Exit::Usage, "--layers needs two candidates: give another model or provider"));
    }
    let request = Request {
        inputs: &inputs,
        inputs_source: source,
        reference: reference.as_ref().map(|(outputs, name)| (outputs.as_slice(), name.clone())),
        batch,
        tolerance: options.tolerance,
    };
    let mut bar = Bar::new(global.quiet);
    let (mut comparison, outputs) = compare::compare(&mut candidates, &request, &mut |progress| bar.show(progress));
    comparison.notes.extend(oriented.into_iter().chain(providers.notes()));
    let mut failed = None;
    if options.layers {
        match search(&mut candidates, comparison.rows_to_search(), &inputs, options, &mut bar) {
            Ok(found) => comparison.layers = Some(found),
            Err(failure) => {
                comparison.notes.push(Note::BlockNotFound { reason: failure.message.clone() });
                failed = Some(failure);
            }
        }
    }
    Ok(Compared { comparison, outputs: outputs.into_iter().next().flatten(), search: failed })
}

/// Searches between two candidates, by their rows.
fn search(
    candidates: &mut [Candidate<'_>],
    rows: Option<(usize, usize)>,
    inputs: &[Tensor],
    options: &Options,
    bar: &mut Bar,
) -> Result<layers::Layers, Failure> {
    let Some((first, second)) = rows else {
        return Err(Failure::new(Exit::Unavailable, "--layers needs two candidates that give a result"));
    };
    let (before, after) = candidates.split_at_mut(second);
    let (first, second) = (&mut before[first], &mut after[0]);
    let found =
        layers::find(first, second, inputs, options.tolerance, LAYERS_AT_ONCE, &mut |progress| bar.show(progress));
    found.map_err(|error| Failure::new(error.exit(), error.to_string()))
}

/// What goes in.
struct Given {
    inputs: Vec<Tensor>,
    /// Where they came from.
    source: String,
    /// What became of images that lie on a side.
    oriented: Option<Note>,
}

fn fixed_batch(file: &ModelFile) -> Option<usize> {
    Feed::of_file(file).ok()?.fixed_batch()
}

/// The inputs, and where they came from.
fn inputs(files: &[ModelFile], from: &InputsFrom, count: usize) -> Result<Given, Failure> {
    let file = &files[0];
    match from {
        InputsFrom::File(path) => {
            Ok(Given { inputs: load_inputs(path, files)?, source: path.display().to_string(), oriented: None })
        }
        InputsFrom::Noise { seed } => {
            let feed = Feed::of_file(file)?;
            // Images fill up a fixed batch; of other inputs nobody knows how they could.
            if let (Feed::Tensors(_), Some(fixed)) = (&feed, feed.fixed_batch().filter(|fixed| *fixed != count)) {
                let text = format!("{}: its batch size is fixed at {fixed}, and not {count}", file.shown().display());
                return Err(Failure::new(Exit::BadInput, text));
            }
            let over = |source| MetadataError::Budget { path: file.shown(), source };
            let inputs = feed.synthetic(count, *seed).map_err(over)?;
            Ok(Given { inputs, source: format!("noise, seed {seed}"), oriented: None })
        }
        InputsFrom::Images(paths, exif) => images(file, paths, *exif, count),
    }
}

/// All images in one tensor, prepared as `file` says.
fn images(file: &ModelFile, paths: &[PathBuf], exif: Exif, count: usize) -> Result<Given, Failure> {
    let image = file.image_input()?;
    let (preprocess, _) = preprocess::asked_by(file, &image)?;
    let (height, width) = preprocess.height_width();
    let images = input::expand(paths)
        .map_err(|(path, error)| Failure::new(Exit::BadInput, format!("{}: {error}", path.display())))?;
    let window = Extent::for_batch(count).window.min(images.len());
    demand::check(file, (height, width), images.len(), window)?;
    let (mut values, mut oriented) = (Vec::new(), Vec::new());
    let bad = prepare(&images, &[preprocess], exif, Extent::for_batch(count), |prepared| {
        oriented.extend(prepared.oriented.then_some(prepared.index));
        match prepared.tensors {
            Ok(tensors) => {
                values.extend(tensors.into_iter().flatten());
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match bad {
        Some(error) => Err(Failure::new(Exit::BadInput, error.to_string())),
        None if images.is_empty() => Err(Failure::new(Exit::BadInput, "the folders given hold no images")),
        None => {
            let tensor = input::image_tensor(&image, images.len(), (height, width), values);
            let first = oriented.first().map(|&at: &usize| images[at].display().to_string());
            let oriented = Note::orientation(exif, oriented.len(), first);
            Ok(Given { inputs: vec![tensor], source: format!("{} images", images.len()), oriented })
        }
    }
}

impl Outcome for Comparison {
    const KIND: &'static str = "compare";
    const SCHEMA_VERSION: u32 = 2;

    fn document(report: &Report<Comparison>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    fn mismatch(&self) -> bool {
        Comparison::mismatch(self)
    }

    fn next(report: &Report<Comparison>, _kept: Option<&Path>) -> Vec<Next> {
        let differs = report.rows.iter().any(|row| row.status == Status::Differs);
        let searched =
            report.layers.is_some() || report.notes.iter().any(|note| matches!(note, Note::BlockNotFound { .. }));
        let candidates = report.rows.iter().filter(|row| row.error.is_none()).count() > 1;
        (differs && candidates && !searched).then_some(Next::Layers).into_iter().collect()
    }

    fn failures(&self) -> Vec<(Named, &ModelError)> {
        self.rows.iter().filter_map(|row| Some((Named::of(&row.provider, &row.model), row.error.as_ref()?))).collect()
    }

    fn exits(&self) -> Vec<Exit> {
        self.errors().map(exit_of).collect()
    }
}
