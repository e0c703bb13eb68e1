//! `quantize`: calibrates, rewrites, and measures what is lost.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use onnx_file::exit::Exit;
use onnx_file::stream::Source;
use resnext_builder::build::{External, LabelsChoice, PreprocessChoice};
use resnext_builder::calibration::{self, Calibration};
use resnext_builder::ends::Ends;
use resnext_builder::optimize::{Optimized, Plan, optimize};
use resnext_builder::precision::int8::{Flavour, Int8};
use resnext_builder::precision::{Dtype, Precision};
use resnext_builder::target::Rationale;

use super::args::Quantize;
use super::options::Options;
use super::result::{Accuracy, Quantized, SCHEMA_VERSION};
use super::{csv, document};
use crate::backend::providers::{Providers, read_models};
use crate::exit::Failure;
use crate::host::environment::Environment;
use crate::input;
use crate::input::shapes::demands;
use crate::model::candidate::Candidate;
use crate::model::coverage::{Coverage, Multiplier};
use crate::model::file::{MetadataError, ModelFile};
use crate::model::said::Asked;
use crate::report::document::Document;
use crate::terminal::args::Global;
use crate::terminal::interrupt::stop_on_interrupt;
use crate::terminal::progress::Bar;
use crate::verb::calibrate;
use crate::verb::eval::classes::Classes;
use crate::verb::eval::evaluation as eval;
use crate::verb::eval::labelled::Dataset;
use crate::verb::infer::inference as infer;
use crate::verb::outcome::{Outcome, Report};
use crate::verb::outputs::Outputs;
use crate::verb::publish::publish;

/// The part of the multiply-adds that runs in integers where a target promises all: the rest is for what rounds the count.
const PROMISED: f64 = 0.99;

pub(crate) fn run(global: &Global, arguments: &Quantize) -> Result<ExitCode, Failure> {
    let quantized = measured(global, &arguments.options()?, arguments.exports.outputs())?;
    publish(global, &quantized, &arguments.exports)?;
    Ok(quantized.exit_code())
}

/// The int8 file, written and judged, without printing.
pub(crate) fn measured(global: &Global, options: &Options, outputs: Outputs<'_>) -> Result<Report<Quantized>, Failure> {
    let (ranges, judged) = shared_out(options)?;
    // It is read several times.
    let source = Source::of(&options.model).map_err(MetadataError::Input)?;
    let options = &Options { model: source.path().to_owned(), ..options.clone() };
    let calibrate = calibrate::options::Options {
        model: options.model.clone(),
        images: ranges,
        count: None,
        seed: 0,
        batch: options.batch,
        asked: Asked::default(),
        exif: options.exif,
        providers: options.providers.clone(),
    };
    let outputs = outputs.with("-o", Some(&options.output)).apart_from_also(&judged);
    let found = calibrate::run::measured(global, &calibrate, &outputs)?;
    if found.interrupted {
        return Err(Failure::new(Exit::Interrupted, "stopped before the last image: nothing was written"));
    }
    let notes = found.notes.clone();
    let (calibrated_on, broken) = (found.inputs.count(), found.inputs.broken.clone());
    let lowering = lower(options, found.result)?;
    let accuracy = accuracy(global, options, &judged)?;
    let int8_coverage = coverage(global, options)?;
    let result = Quantized {
        model: source.name(),
        output: options.output.display().to_string(),
        calibrated_on,
        not_covered: int8_coverage.as_ref().is_some_and(|found| falls_short(found, options)),
        int8_coverage,
        lowering,
        accuracy,
        max_loss_points: options.max_loss,
        exceeded: accuracy.exceeds(options.max_loss),
        broken,
    };
    Ok(Report { notes, ..Report::of(Environment::read(), result) })
}

/// The images to measure ranges on, and those to judge by: none is both.
fn shared_out(options: &Options) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Failure> {
    let bad = |(path, error): (PathBuf, _)| Failure::new(Exit::BadInput, format!("{}: {error}", path.display()));
    let all = input::expand(&options.images).map_err(bad)?;
    if options.eval.is_none() {
        let every_second = |first: usize| all.iter().skip(first).step_by(2).cloned().collect::<Vec<_>>();
        let (ranges, judged) = (every_second(0), every_second(1));
        if judged.is_empty() {
            let text = "one image cannot both give the ranges and judge; give more --images, or --eval";
            return Err(Failure::new(Exit::BadInput, text));
        }
        return Ok((ranges, judged));
    }
    let judged = input::expand(options.eval.as_slice()).map_err(bad)?;
    let ranges: HashSet<&PathBuf> = all.iter().collect();
    let judged: Vec<PathBuf> = judged.into_iter().filter(|path| !ranges.contains(path)).collect();
    if judged.is_empty() || all.is_empty() {
        let text = "there are no images to judge by that did not give the ranges; give others to --eval";
        return Err(Failure::new(Exit::BadInput, text));
    }
    Ok((all, judged))
}

/// Writes the int8 file.
fn lower(options: &Options, found: calibrate::result::Calibration) -> Result<Optimized, Failure> {
    let calibration = Calibration {
        schema_version: calibration::SCHEMA_VERSION,
        kind: calibration::KIND.into(),
        model: found.model,
        inputs: found.inputs.fed,
        values: found.values.into_iter().map(|value| value.range).collect(),
    };
    let target = options.target;
    let refused = |text: String| Failure::new(Exit::Usage, text);
    let flavour = target.integer_flavour().ok_or_else(|| {
        refused("onnxruntime's CUDA provider has no integer convolutions; use --target tensorrt".into())
    })?;
    let bounds =
        calibration.bounds(options.range_method).map_err(|error| Failure::new(Exit::BadInput, error.to_string()))?;
    let mut lowering = target.lowering(Dtype::Int8);
    lowering.precision = Precision::Int8(Int8 {
        flavour,
        weights: options.weight_range.unwrap_or(target.weight_range()),
        keep_f32: options.keep_f32.clone(),
        bounds,
        inputs: Some(calibration.inputs.clone()),
        method: options.range_method,
    });
    let plan = Plan {
        input: options.model.clone(),
        output: options.output.clone(),
        force: options.force,
        lowering,
        rationale: Rationale::of(target, Dtype::Int8),
        external: External::default(),
        data_name: None,
        ends: Ends::default(),
        calibration: Some(calibration),
        constant_initializers: false,
        labels: LabelsChoice::default(),
        preprocess: PreprocessChoice::default(),
        files: Vec::new(),
    };
    optimize(&plan).map_err(|error| Failure::new(error.exit(), error.to_string()))
}

/// What of the int8 file runs in integers.
fn coverage(global: &Global, options: &Options) -> Result<Option<Coverage>, Failure> {
    let files = read_models(std::slice::from_ref(&options.output))?;
    let providers = Providers::of(global, &options.providers)?;
    let mut candidates = providers.candidates(&files, &demands(&files, &[options.batch]));
    Ok(candidates.first_mut().map(Candidate::coverage).transpose()?.flatten())
}

/// Whether less runs in integers than the target promises of what was not kept: all, for providers that fuse the form.
fn falls_short(found: &Coverage, options: &Options) -> bool {
    if options.target.integer_flavour() != Some(Flavour::Unsigned) {
        return false;
    }
    let asked = |node: &&Multiplier| !options.keep_f32.contains(&node.name);
    let promised: Vec<Multiplier> = found.nodes.iter().filter(asked).cloned().collect();
    !promised.is_empty() && Coverage::of(promised).share < PROMISED
}

/// Both files on the images `judged`.
fn accuracy(global: &Global, options: &Options, judged: &[PathBuf]) -> Result<Accuracy, Failure> {
    let files = read_models(&[options.model.clone(), options.output.clone()])?;
    let providers = Providers::of(global, &options.providers)?;
    match labelled(options, &files, judged)? {
        Some(datasets) => by_labels(global, options, &files, &providers, &datasets),
        None => by_agreement(global, options, &files, &providers, judged),
    }
}

/// The images with their classes, for each file; none where they have none.
fn labelled(options: &Options, files: &[ModelFile], judged: &[PathBuf]) -> Result<Option<Vec<Dataset>>, Failure> {
    let folder: &Path = match (&options.eval, &options.images[..]) {
        (Some(eval), _) => eval,
        (None, [one]) => one,
        (None, _) => return Ok(None),
    };
    let classes = files.iter().map(Classes::of).collect::<Result<Vec<Classes>, _>>()?;
    // Images in no class folders are no mistake here: they are judged without labels.
    let Ok(mut datasets) = Dataset::for_models(folder, None, &classes) else { return Ok(None) };
    let wanted: HashSet<&PathBuf> = judged.iter().collect();
    for dataset in &mut datasets {
        dataset.images.retain(|image| wanted.contains(&image.path));
    }
    Ok(datasets.iter().all(|dataset| !dataset.images.is_empty()).then_some(datasets))
}

fn by_labels(
    global: &Global,
    options: &Options,
    files: &[ModelFile],
    providers: &Providers,
    datasets: &[Dataset],
) -> Result<Accuracy, Failure> {
    let mut candidates = providers.candidates(files, &demands(files, &[options.batch]));
    let request = eval::Request { datasets: datasets.iter().collect(), batch: options.batch, exif: options.exif };
    let stop = stop_on_interrupt(global.quiet, "stopping after the images in progress");
    let mut bar = Bar::new(global.quiet);
    let found = eval::eval(&mut candidates, &request, &stop, &mut |progress| bar.show(progress))?;
    drop(bar);
    let first = found.candidates.first().and_then(|candidate| candidate.top1);
    let (Some(pair), Some(right)) = (found.pairs.first(), first) else {
        let text = found.errors().next().map_or("one of the files gave no answer".to_owned(), ToString::to_string);
        return Err(Failure::new(Exit::BadInput, text));
    };
    let (lost, gained) = (pair.mcnemar.only_first, pair.mcnemar.only_second);
    Ok(Accuracy::of(pair.images, true, right.successes, lost, gained))
}

fn by_agreement(
    global: &Global,
    options: &Options,
    files: &[ModelFile],
    providers: &Providers,
    judged: &[PathBuf],
) -> Result<Accuracy, Failure> {
    let mut candidates = providers.candidates(files, &demands(files, &[options.batch]));
    let exif = options.exif;
    let request = infer::Request { images: judged, batch: options.batch, top_k: 1, exif, left_out: &[] };
    let mut answers: Vec<Vec<Option<usize>>> = Vec::new();
    for candidate in &mut candidates {
        let mut bar = Bar::new(global.quiet);
        let found = infer::infer(candidate, &request, &mut |progress| bar.show(progress));
        drop(bar);
        let found = found.map_err(|error| match error {
            infer::InferError::File(error) => Failure::from(error),
            infer::InferError::Model(error) => error.into(),
        })?;
        answers.push(found.images.iter().map(|image| image.top.first().map(|class| class.index)).collect());
    }
    let [exact, rounded] = &answers[..] else {
        return Err(Failure::new(Exit::Usage, "a file is judged on one provider; give one --ep"));
    };
    let pairs: Vec<bool> = exact.iter().zip(rounded).filter_map(|(a, b)| a.map(|a| Some(a) == *b)).collect();
    let lost = pairs.iter().filter(|same| !**same).count();
    Ok(Accuracy::of(pairs.len(), false, pairs.len(), lost, 0))
}

impl Outcome for Quantized {
    const KIND: &'static str = "quantize";
    const SCHEMA_VERSION: u32 = SCHEMA_VERSION;

    fn document(report: &Report<Quantized>) -> Document {
        document::document(report)
    }

    fn csv(&self) -> String {
        csv::csv(self)
    }

    fn mismatch(&self) -> bool {
        self.exceeded || self.not_covered
    }

    fn exits(&self) -> Vec<Exit> {
        Vec::new()
    }
}
