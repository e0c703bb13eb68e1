//! Flags of `bench`.

use super::options::Options;
use super::plan::{Plan, WarmUp};
use crate::backend::onnxruntime::args::{ProviderArgs, duration, seconds};
use crate::backend::onnxruntime::provider::OptionError;
use crate::model::opened::Scope;
use crate::verb::flags::each_once;
use crate::verb::flags::*;
use crate::verb::regression::flags::LimitArgs;
use crate::verb::shapes::Shapes;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// ONNX models, `-` for one from standard input; the first on the first provider is what speed-ups are relative to
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    shapes: Shapes,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    /// What the clock encloses
    #[arg(
        long,
        value_enum,
        value_name = "SCOPE,...",
        value_delimiter = ',',
        default_value = "end-to-end",
        help_heading = "Measuring"
    )]
    pub(crate) scope: Vec<ScopeArg>,
    /// Runs (50) or time (200ms, 2s) to leave out before measuring; until steady unless given
    #[arg(long, value_name = "N|TIME", value_parser = warm_up, help_heading = "Measuring")]
    pub(crate) warmup: Option<WarmUp>,
    /// Runs of each row, at least, over all its processes; together with --duration both have to be met
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Measuring")]
    pub(crate) iterations: Option<usize>,
    /// Time of each row, at least (3, 1.5s, 200ms, 2m), over all its processes
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = "Measuring")]
    pub(crate) duration: Option<Duration>,
    /// Percentiles to report
    #[arg(long, value_name = "P,...", value_delimiter = ',', default_value = "50,90,95,99", value_parser = percentile, help_heading = "Measuring")]
    pub(crate) percentile: Vec<f64>,
    /// Processes to spread the runs of each row over; as many as are worth their start, at most 8, unless given
    ///
    /// A process is faster or slower than another of the same model for as long as it lives. Only several of each side
    /// show a difference between models: an interval needs three.
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Measuring")]
    pub(crate) processes: Option<usize>,
    /// Compare with this earlier measurement, as --export-json wrote it; tells first what can be shown in the time given
    ///
    /// Without it, --max-regress compares every further candidate with the first: measured in turns, two models show
    /// smaller differences than two measurements at different times.
    #[arg(long, value_name = "FILE", help_heading = "Measuring")]
    pub(crate) baseline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Bench {
    /// What was asked for.
    ///
    /// # Errors
    /// [`OptionError`] for options that no provider asked for takes.
    pub(crate) fn options(&self) -> Result<Options, OptionError> {
        let providers = self.providers.options()?;
        Ok(Options {
            models: self.models.clone(),
            shapes: self.shapes.shape.clone(),
            providers,
            plan: self.plan(),
            baseline: self.baseline.clone(),
            limits: self.is_gated().then(|| self.limits.limits()),
        })
    }

    /// Whether a verdict is asked for.
    fn is_gated(&self) -> bool {
        let LimitArgs { max_regress, strict, allow_different } = &self.limits;
        self.baseline.is_some() || max_regress.is_some() || *strict || !allow_different.is_empty()
    }

    /// The plan of the measurement.
    fn plan(&self) -> Plan {
        let default = Plan::default();
        let scope = |scope| match scope {
            ScopeArg::EndToEnd => Scope::EndToEnd,
            ScopeArg::Device => Scope::Device,
        };
        // A number of runs alone means that number, not five seconds more.
        let min_seconds = match (self.duration, self.iterations) {
            (Some(duration), _) => duration.as_secs_f64(),
            (None, Some(_)) => 0.0,
            (None, None) => default.min_seconds,
        };
        Plan {
            batches: self.batches.sizes(),
            batch_is_asked: self.batches.are_asked(),
            scopes: each_once(&self.scope).into_iter().map(scope).collect(),
            warmup: self.warmup.unwrap_or(WarmUp::UntilSteady),
            min_runs: self.iterations.unwrap_or(default.min_runs),
            min_seconds,
            processes: self.processes,
            percentiles: self.percentile.clone(),
            seed: self.seed.seed,
            ..default
        }
    }
}

/// What the clock encloses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Host tensors in, host tensors out
    EndToEnd,
    /// Inputs and outputs stay on the device
    Device,
}

fn warm_up(text: &str) -> Result<WarmUp, String> {
    let runs = text.parse().ok().map(WarmUp::Runs);
    let parsed = runs.or_else(|| duration(text).map(|time| WarmUp::Seconds(time.as_secs_f64())));
    parsed.ok_or_else(|| "it must be a number of runs (50) or a time (200ms, 2s)".to_owned())
}

fn percentile(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number < 100.0);
    parsed.ok_or_else(|| "it must be a number between 0 and 100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_is_a_number_of_runs_or_a_time() {
        assert_eq!(warm_up("50"), Ok(WarmUp::Runs(50)));
        assert_eq!(warm_up("200ms"), Ok(WarmUp::Seconds(0.2)));
        assert_eq!(warm_up("1.5s"), Ok(WarmUp::Seconds(1.5)));
        assert_eq!(warm_up("1m 30s"), Ok(WarmUp::Seconds(90.0)));
        for wrong in ["", "s", "-1s", "NaNms", "fast", "1.5"] {
            assert!(warm_up(wrong).is_err(), "{wrong}");
        }
    }
}
