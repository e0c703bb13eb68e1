//! `tune`: the fastest lowering of a model, found by measuring.

use std::path::Path;
use std::process::ExitCode;

use resnext_builder::build::External;
use resnext_builder::optimize::{Model, OptimizeError};
use resnext_builder::passes::{Lowering, Width};
use resnext_builder::tuning::Tuning;
use resnext_runner::report::json;
use resnext_runner::tune::{self, Request, TuneError, Tuned};

use super::candidates::Providers;
use super::interrupt::stop_on_interrupt;
use super::outcome::write;
use super::progress::Bar;
use super::publish::publish;
use crate::cli::{Global, Tune};
use crate::terminal::{Exit, Failure, remark};

pub(super) fn run(global: &Global, arguments: &Tune) -> Result<ExitCode, Failure> {
    let tuning_file = arguments.tuning_file();
    for path in [&arguments.output, &tuning_file] {
        if path.exists() && !arguments.force {
            let text = format!("{} exists; give another -o, or --force to replace it", path.display());
            return Err(Failure::new(Exit::Usage, text));
        }
    }
    if same_file(&arguments.model, &arguments.output) {
        return Err(Failure::new(Exit::Usage, "the output is the model itself; give another -o"));
    }
    let tuned = measured(global, arguments)?;
    let model = Model::read(&arguments.model).map_err(|error| rewrite(&error))?;
    let json = json::render(&tuned)?;
    let tuning: Tuning =
        serde_json::from_str(&json).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let group_widths = tuned.widths().into_iter().map(Width::at_least).collect();
    let lowering = Lowering { group_widths, ..Lowering::default() };
    model.lower(&lowering, &tuning.chosen(), &arguments.output, External::Auto).map_err(|error| rewrite(&error))?;
    write(&tuning_file, json.as_bytes())?;
    publish(global, &tuned, &arguments.exports)?;
    remark(global.quiet, format!("{}, {}", arguments.output.display(), tuning_file.display()));
    Ok(ExitCode::SUCCESS)
}

fn measured(global: &Global, arguments: &Tune) -> Result<Tuned, Failure> {
    let providers = Providers::of(global, &arguments.providers)?;
    if providers.count() != 1 {
        let text = "a lowering is tuned for one provider; give one --ep";
        return Err(Failure::new(Exit::Usage, text));
    }
    let request = Request {
        model: arguments.model.clone(),
        output: arguments.output.clone(),
        widths: arguments.widths.clone(),
        plan: arguments.plan(),
        threads: providers.threads(),
    };
    let stop = stop_on_interrupt(global.quiet)?;
    let mut bar = Bar::with_time_left(global.quiet);
    tune::tune(&request, &providers, &stop, &mut |progress| bar.show(progress)).map_err(failure)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn failure(error: TuneError) -> Failure {
    match error {
        TuneError::Rewrite(error) => rewrite(&error),
        TuneError::Metadata(error) => error.into(),
        TuneError::Original { model, source } => {
            let failure = Failure::from(source);
            Failure::new(failure.exit, format!("{model}: {}", failure.message))
        }
        TuneError::Nothing { .. } => Failure::new(Exit::Usage, error.to_string()),
        TuneError::Write { .. } => Failure::new(Exit::Output, error.to_string()),
    }
}

fn rewrite(error: &OptimizeError) -> Failure {
    let exit = match error.exit_code() {
        2 => Exit::Usage,
        3 => Exit::BadInput,
        6 => Exit::Output,
        _ => Exit::Internal,
    };
    Failure::new(exit, error.to_string())
}
