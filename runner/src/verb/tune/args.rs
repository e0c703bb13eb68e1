//! Flags of `tune`.

use std::path::PathBuf;
use std::time::Duration;

use super::options::Options;
use crate::backend::onnxruntime::provider::OptionError;
use crate::verb::bench::plan::Plan;
use clap::Args;

use crate::backend::onnxruntime::args::{ProviderArgs, seconds};
use crate::verb::flags::{Batches, Exports, Seed, at_least_one};
use crate::verb::shapes::Shapes;

/// `tune`.
#[derive(Debug, Args)]
pub struct Tune {
    /// The ONNX model; `-` is standard input
    pub(crate) model: PathBuf,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    shapes: Shapes,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    /// Channels a group to try, in each stage
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "8,16,32,64", value_parser = at_least_one, help_heading = "Measuring")]
    pub(crate) widths: Vec<usize>,
    /// Time of each candidate in each round, at least (3, 1.5s, 200ms, 2m), over all its processes; twice as many in the last
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "3", help_heading = "Measuring")]
    pub(crate) duration: Duration,
    /// Processes to spread the runs of each candidate over; below three no lowering can be shown to be faster
    #[arg(long, value_name = "N", default_value = "5", value_parser = at_least_one, help_heading = "Measuring")]
    pub(crate) processes: usize,
    /// Where to write the fastest form, by the geometric mean of the speed-ups at all batch sizes; what was found goes beside it, to model.tuning.json for model.onnx
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Tune {
    /// What was asked for.
    ///
    /// # Errors
    /// [`OptionError`] for options that no provider asked for takes.
    pub(crate) fn options(&self) -> Result<Options, OptionError> {
        let min_seconds = self.duration.as_secs_f64();
        let plan = Plan {
            batches: self.batches.sizes(),
            batch_is_asked: self.batches.are_asked(),
            min_seconds,
            processes: Some(self.processes),
            seed: self.seed.seed,
            ..Plan::default()
        };
        Ok(Options {
            model: self.model.clone(),
            output: self.output.clone(),
            shapes: self.shapes.shape.clone(),
            providers: self.providers.options()?,
            widths: self.widths.clone(),
            plan,
            force: self.exports.force,
        })
    }
}
