//! `eval`: accuracy on labelled pictures.

use std::process::ExitCode;

use resnext_runner::eval::{self, Classes, Dataset, Request};

use super::candidates::{Providers, read_models};
use super::outcome::exit_code;
use super::progress::Bar;
use super::publish::publish;
use crate::cli::{Eval, Global};
use crate::terminal::{Exit, Failure};

pub(super) fn run(global: &Global, arguments: &Eval) -> Result<ExitCode, Failure> {
    let (models, folder) = arguments.models_and_folder();
    let files = read_models(models)?;
    let bad = |error: eval::DatasetError| Failure::new(Exit::BadInput, error.to_string());
    let classes = Classes::of(&files[0])?;
    let dataset = Dataset::open(folder, arguments.labels.as_deref(), &classes).map_err(bad)?;
    let mut providers = Providers::of(global, &arguments.providers)?;
    // A number of threads that was asked for is meant for one run.
    let copies = if arguments.providers.intra_op_threads.is_none() { providers.copy_models() } else { 1 };
    let mut candidates = providers.candidates(&files, &[arguments.batch_size]);
    let request = Request { dataset: &dataset, batch: arguments.batch_size * copies };
    let stop = super::interrupt::stop_on_interrupt(global.quiet)?;
    let mut bar = Bar::new(global.quiet);
    let evaluation = eval::eval(&mut candidates, &request, &stop, &mut |progress| bar.show(progress))?;
    drop(bar);
    publish(global, &evaluation, &arguments.exports)?;
    Ok(exit_code(false, evaluation.errors()))
}
