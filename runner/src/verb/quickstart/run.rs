//! `quickstart`: the whole way from nothing to numbers, on the providers that work here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use onnx_file::exit::Exit;
use resnext_builder::build::{self, BuildError, Destination, Plan, Weights};
use resnext_builder::variant::Variant;

use super::args::Quickstart;
use super::bundled;
use crate::backend::onnxruntime::examination::Findings;
use crate::backend::onnxruntime::options::{LibraryOptions, ProviderOptions};
use crate::backend::onnxruntime::provider::Kind;
use crate::backend::onnxruntime::runtime::error::InstallError;
use crate::backend::onnxruntime::runtime::package;
use crate::backend::onnxruntime::runtime::package::Package;
use crate::exit::Failure;
use crate::exit::exit_code;
use crate::input::decode::Exif;
use crate::model::file::ModelFile;
use crate::model::said::Asked;
use crate::report::number::bytes;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;
use crate::terminal::output::note;
use crate::verb::doctor::run as doctor;
use crate::verb::eval::classes::Classes;
use crate::verb::eval::labelled::{Dataset, DatasetError};
use crate::verb::files::make_folder;
use crate::verb::infer::inference::{Image, Inference};
use crate::verb::outcome::{Outcome, Report};
use crate::verb::outputs::Outputs;
use crate::verb::publish::{keep, print};
use crate::verb::setup::run as setup;
use crate::verb::{bench, compare, infer, report};

/// The network that is built.
const VARIANT: &str = "50_32x4d";

/// Seconds that each row of the benchmark is measured.
const BENCH_SECONDS: f64 = 3.0;

pub(crate) fn run(global: &Global, arguments: &Quickstart) -> Result<ExitCode, Failure> {
    let dir = &arguments.dir;
    make_folder(dir)?;
    heading("1. library")?;
    let findings = check_up(global)?;
    let working = findings.working();
    for library in findings.libraries.iter().filter(|library| library.problem.is_none()) {
        terminal::print(&format!("onnxruntime {} at {}\n", library.version.as_deref().unwrap_or(""), library.path))?;
    }
    if working.is_empty() {
        print(global, &findings)?;
        return Err(Failure::new(Exit::Unavailable, "no provider works here; see above for how to fix that"));
    }
    heading("2. network")?;
    let model = dir.join("model.onnx");
    let variant = Variant::parse(VARIANT).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let destination = Destination::File(model.clone());
    build_network(Plan::new(Some(variant), Weights::Random { seed: 0 }, destination))?;
    heading("3. check-up")?;
    print(global, &findings)?;

    heading("4. comparison")?;
    let providers = ProviderOptions::of(&working);
    let options = compare::options::Options::of(vec![model.clone()], providers.clone());
    let comparison = compare::run::measured(global, &options, &Outputs::default())?.comparison;
    keep(&comparison, &dir.join("compare.json"))?;
    print(global, &comparison)?;

    heading("5. measurement")?;
    let plan = bench::plan::Plan { min_seconds: BENCH_SECONDS, ..bench::plan::Plan::default() };
    let options = bench::options::Options {
        models: vec![model],
        shapes: Vec::new(),
        providers,
        plan,
        baseline: None,
        limits: None,
    };
    let measured = bench::run::measured(global, &options, &Outputs::default())?;
    keep(&measured, &dir.join("bench.json"))?;
    print(global, &measured)?;
    if measured.interrupted {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted: the measurement is short, and no images are classified",
        ));
    }

    heading("6. images")?;
    let inference = classify(global, dir, working[0])?;

    heading("results")?;
    let results = ["compare.json", "bench.json", "images.json"].map(|name| dir.join(name));
    report::run::keep(&results, &dir.join("report.html"))?;
    for name in ["model.onnx", "compare.json", "bench.json", "shapes.onnx", "images", "images.json", "report.html"] {
        terminal::print(&format!("  {}\n", dir.join(name).display()))?;
    }
    let exits = comparison.exits().into_iter().chain(measured.exits()).chain(inference.exits());
    Ok(exit_code(comparison.mismatch() || inference.model_failed(), exits))
}

fn heading(text: &str) -> Result<(), Failure> {
    terminal::print(&format!("\n== {text}\n"))
}

/// Looks for what works, and installs what is missing: OpenVINO's package where it is published for this platform,
/// which brings the CPU provider along, and onnxruntime alone elsewhere.
fn check_up(global: &Global) -> Result<Report<Findings>, Failure> {
    let examine = || doctor::measured(global, &LibraryOptions::default(), false);
    let findings = examine()?;
    let published = cfg!(target_arch = "x86_64") && !cfg!(target_os = "macos");
    let package = if published { Package::OpenVino } else { Package::Cpu };
    let wanted = if published { Kind::OpenVino } else { Kind::Cpu };
    let works = findings.working();
    if works.contains(&wanted) {
        return Ok(findings);
    }
    let root = package::default_root().ok_or(InstallError::NoFolder)?;
    match setup::install(global, package, &root, &[]) {
        Ok(_) => examine(),
        Err(failure) if works.is_empty() => Err(failure),
        Err(failure) => {
            note(global.quiet, format!("going on without {wanted}: {}", failure.message));
            Ok(findings)
        }
    }
}

/// Classifies the bundled images with the bundled trained network, and tells how many are right.
fn classify(global: &Global, dir: &Path, provider: Kind) -> Result<Report<Inference>, Failure> {
    let (checkpoint, images) = bundled::unpack(dir)?;
    let model = dir.join("shapes.onnx");
    let (labels, preprocess, image) = bundled::description()?;
    let mut plan = Plan::new(None, Weights::File(checkpoint), Destination::File(model.clone()));
    (plan.labels, plan.preprocess, plan.image) = (labels, preprocess, Some(image));
    build_network(plan)?;
    let options = infer::options::Options {
        asked: Asked::default(),
        model: model.clone(),
        exif: Exif::default(),
        images,
        top_k: 1,
        batch: 8,
        image_size: None,
        providers: ProviderOptions::of(&[provider]),
    };
    let inference = infer::run::measured(global, &options, &Outputs::default())?;
    keep(&inference, &dir.join("images.json"))?;
    print(global, &inference)?;
    let bad = |error: DatasetError| Failure::new(Exit::Internal, error.to_string());
    let labelled = Dataset::open(&dir.join("images"), None, &Classes::of(&ModelFile::read(&model)?)?).map_err(bad)?;
    let classes: BTreeMap<String, usize> =
        labelled.images.iter().map(|image| (image.path.display().to_string(), image.class)).collect();
    let is_right = |image: &&Image| image.top.first().is_some_and(|best| classes.get(&image.path) == Some(&best.index));
    let (right, all) = (inference.images.iter().filter(is_right).count(), inference.images.len());
    terminal::print(&format!("{right} of {all} images are what their folder says\n"))?;
    Ok(inference)
}

fn build_network(mut plan: Plan) -> Result<(), Failure> {
    let failed = |error: BuildError| {
        // Its arguments are this program's own: what is wrong with them is no mistake of the user.
        let exit = if error.exit() == Exit::Usage { Exit::Internal } else { error.exit() };
        Failure::new(exit, error.to_string())
    };
    plan.force = true;
    let summary = build::build(&plan, &mut |_| {}).map_err(failed)?;
    let (parameters, adds) = (summary.parameters as f64 / 1e6, summary.multiply_adds as f64 / 1e9);
    terminal::print(&format!(
        "{} ({}): {parameters:.1} million parameters, {adds:.2} billion multiply-adds an image, {} in {:.1} s\n",
        summary.variant,
        summary.weights,
        bytes(summary.bytes),
        summary.seconds
    ))
}
