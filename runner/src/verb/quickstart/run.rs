//! `quickstart`: the whole way from nothing to numbers, on the providers that work here.

use std::path::Path;
use std::process::ExitCode;

use crate::backend::onnxruntime::examination as doctor;
use crate::backend::onnxruntime::examination::Findings;
use crate::backend::onnxruntime::provider::Kind;
use crate::backend::onnxruntime::runtime::error::InstallError;
use crate::backend::onnxruntime::runtime::find::Search;
use crate::backend::onnxruntime::runtime::package;
use crate::backend::onnxruntime::runtime::package::Package;
use crate::report;
use crate::report::number::bytes;
use crate::verb::infer::inference::{Image, Inference};
use resnext_builder::build::{self, BuildError, Destination, Plan, Weights};
use resnext_builder::variant::Variant;

use super::args::Quickstart;
use super::bundled;
use crate::backend::onnxruntime::args::{LibraryArgs, ProviderArgs};
use crate::exit::Failure;
use crate::exit::exit_code;
use crate::terminal::args::Global;
use crate::terminal::output as terminal;
use crate::terminal::output::note;
use crate::verb::bench::args::Bench;
use crate::verb::bench::run as bench;
use crate::verb::compare::args::Compare;
use crate::verb::compare::run as compare;
use crate::verb::files::make_folder;
use crate::verb::flags::{Batch, Exports, Inputs};
use crate::verb::infer::args::Infer;
use crate::verb::infer::run as infer;
use crate::verb::outcome::Outcome;
use crate::verb::publish::publish;
use crate::verb::setup::run as setup;
use onnx_file::exit::Exit;

/// The network that is built.
const VARIANT: &str = "50_32x4d";

/// Seconds that each row of the benchmark is measured.
const BENCH_SECONDS: u64 = 3;

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
        show(global, &findings)?;
        return Err(Failure::new(Exit::Unavailable, "no provider works here; see above for how to fix that"));
    }
    heading("2. network")?;
    let model = dir.join("model.onnx");
    let variant = Variant::parse(VARIANT).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let destination = Destination::File(model.clone());
    build_network(Plan::new(Some(variant), Weights::Random { seed: 0 }, destination))?;
    heading("3. check-up")?;
    show(global, &findings)?;

    heading("4. comparison")?;
    let exports = |name: &str| Exports { export_json: Some(dir.join(name)), ..Exports::default() };
    let compare_arguments = Compare {
        models: vec![model.clone()],
        providers: ProviderArgs::defaults(working.clone()),
        inputs: Inputs::default(),
        batch_size: 4,
        reference: None,
        save_outputs: None,
        atol: None,
        rtol: None,
        layers: false,
        exports: exports("compare.json"),
    };
    let comparison = compare::measured(global, &compare_arguments)?.comparison;
    publish(global, &comparison, &compare_arguments.exports)?;

    heading("5. measurement")?;
    let bench_arguments =
        Bench::short(vec![model], ProviderArgs::defaults(working.clone()), BENCH_SECONDS, exports("bench.json"));
    let measured = bench::measured(global, &bench_arguments)?;
    publish(global, &measured, &bench_arguments.exports)?;
    if measured.interrupted {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted: the measurement is short, and no images are classified",
        ));
    }

    heading("6. images")?;
    let inference = classify(global, dir, working[0])?;

    heading("results")?;
    for name in ["model.onnx", "compare.json", "bench.json", "shapes.onnx", "images", "images.json"] {
        terminal::print(&format!("  {}\n", dir.join(name).display()))?;
    }
    let exits = comparison.exits().into_iter().chain(measured.exits()).chain(inference.exits());
    Ok(exit_code(comparison.mismatch() || inference.model_failed(), exits))
}

fn show(global: &Global, findings: &Findings) -> Result<(), Failure> {
    terminal::show(&report::text::render(&crate::verb::doctor::document::document(findings), terminal::colour(global)))
}

fn heading(text: &str) -> Result<(), Failure> {
    terminal::print(&format!("\n== {text}\n"))
}

/// Looks for what works, and installs what is missing: OpenVINO's package where it is published for this platform,
/// which brings the CPU provider along, and onnxruntime alone elsewhere.
fn check_up(global: &Global) -> Result<Findings, Failure> {
    let launcher = crate::backend::onnxruntime::launch::check_up_launcher(global, &LibraryArgs::default())?;
    let examine = || doctor::examine(&launcher, &Search::new(None));
    let findings = examine();
    let published = cfg!(target_arch = "x86_64") && !cfg!(target_os = "macos");
    let package = if published { Package::OpenVino } else { Package::Cpu };
    let wanted = if published { Kind::OpenVino } else { Kind::Cpu };
    let works = findings.working();
    if works.contains(&wanted) {
        return Ok(findings);
    }
    let root = package::default_root().ok_or(InstallError::NoFolder)?;
    match setup::install(global, package, &root, &[]) {
        Ok(_) => Ok(examine()),
        Err(failure) if works.is_empty() => Err(failure),
        Err(failure) => {
            note(global.quiet, format!("going on without {wanted}: {}", failure.message));
            Ok(findings)
        }
    }
}

/// Classifies the bundled images with the bundled trained network, and tells how many are right.
fn classify(global: &Global, dir: &Path, provider: Kind) -> Result<Inference, Failure> {
    let (checkpoint, images) = bundled::unpack(dir)?;
    let model = dir.join("shapes.onnx");
    let (labels, preprocess, image) = bundled::description()?;
    let mut plan = Plan::new(None, Weights::File(checkpoint), Destination::File(model.clone()));
    (plan.labels, plan.preprocess, plan.image) = (labels, preprocess, Some(image));
    build_network(plan)?;
    let arguments = Infer {
        about: Default::default(),
        exif: Default::default(),
        model,
        images,
        top_k: 1,
        batch: Batch { batch_size: 8 },
        providers: ProviderArgs::defaults(vec![provider]),
        exports: Exports { export_json: Some(dir.join("images.json")), ..Exports::default() },
    };
    let inference = infer::measured(global, &arguments)?;
    publish(global, &inference, &arguments.exports)?;
    // Each image lies in a folder named after its class.
    let class = |path: &str| Path::new(path).parent().and_then(Path::file_name).map(|name| name.to_owned());
    let is_right = |image: &&Image| match (class(&image.path), image.top.first()) {
        (Some(truth), Some(best)) => best.label.as_deref().is_some_and(|label| truth == label),
        _ => false,
    };
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
