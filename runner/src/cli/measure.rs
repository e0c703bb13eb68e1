//! Flags of the verbs that run models on inputs: `infer`, `compare`, `bench`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use resnext_runner::bench::{Plan, WarmUp};
use resnext_runner::compare::Asked;
use resnext_runner::model::Scope;

use super::providers::{ProviderArgs, seconds};

/// Where results go besides standard output.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Exports {
    /// Write JSON to standard output instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Write everything as JSON, raw samples included
    #[arg(long, value_name = "FILE")]
    pub(crate) export_json: Option<PathBuf>,
    /// Write a table as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) export_csv: Option<PathBuf>,
    /// Write a table as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) export_markdown: Option<PathBuf>,
}

/// Where randomness begins.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Seed {
    /// Seed of made-up inputs, of the order of measurements and of resampling
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Images at once, of verbs that take one size.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Batch {
    /// Images at once in each run of a model; copies of a model that run side by side share them
    #[arg(short, long, value_name = "N", default_value = "64", value_parser = images_at_once)]
    pub(crate) batch_size: usize,
}

/// Images at once, of verbs that measure several sizes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Batches {
    /// Images at once
    #[arg(short, long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = images_at_once)]
    batch_size: Vec<usize>,
}

impl Batches {
    /// One size.
    fn of(batch: usize) -> Batches {
        Batches { batch_size: vec![batch] }
    }

    /// The sizes, each once, in the order given.
    pub(super) fn sizes(&self) -> Vec<usize> {
        each_once(&self.batch_size)
    }
}

fn each_once<T: Copy + PartialEq>(values: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(value) {
            once.push(*value);
        }
    }
    once
}

/// `infer`.
#[derive(Debug, Args)]
pub(crate) struct Infer {
    /// The ONNX model
    pub(crate) model: PathBuf,
    /// Images (JPEG, PNG, WebP), or folders of them
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Classes to show for each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = at_least_one)]
    pub(crate) top_k: usize,
    #[command(flatten)]
    pub(crate) batch: Batch,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

/// `eval`.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// ONNX models, then the labelled images: a folder of class folders, or of images with a file of labels
    #[arg(required = true, num_args = 2.., value_names = ["MODEL", "DIR"])]
    paths: Vec<PathBuf>,
    /// File of labels, where it does not lie in the folder
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: Batch,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Eval {
    /// The models and the folder.
    pub(crate) fn models_and_folder(&self) -> (&[PathBuf], &Path) {
        match self.paths.split_last() {
            Some((folder, models)) => (models, folder),
            None => (&[], Path::new("")),
        }
    }
}

/// What goes into the models.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Inputs {
    #[command(flatten)]
    pub(crate) seed: Seed,
    /// Take inputs from a file (.npz, .npy, .safetensors)
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) load_inputs: Option<PathBuf>,
    /// Take images, or folders of them, as inputs
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    pub(crate) images: Vec<PathBuf>,
    /// Keep the inputs used (.npz, .npy, .safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) save_inputs: Option<PathBuf>,
}

/// `compare`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// ONNX models; the first on the first provider is what the others are compared with
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
    /// Made-up images, and images at once
    #[arg(short, long, value_name = "N", default_value = "4", value_parser = images_at_once)]
    pub(crate) batch_size: usize,
    /// Compare with these outputs (.npz, .npy, .safetensors) instead of the first candidate's
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    /// Keep the first candidate's outputs (.npz, .npy, .safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) save_outputs: Option<PathBuf>,
    /// Absolute tolerance; by the coarser precision of the two unless given
    #[arg(long, value_name = "X", value_parser = tolerance)]
    pub(crate) atol: Option<f64>,
    /// Relative tolerance; by the coarser precision of the two unless given
    #[arg(long, value_name = "X", value_parser = tolerance)]
    pub(crate) rtol: Option<f64>,
    /// Find the first block whose output differs between the first two candidates
    #[arg(long)]
    pub(crate) layers: bool,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Compare {
    /// The tolerances asked for.
    pub(crate) fn tolerance(&self) -> Asked {
        Asked { atol: self.atol, rtol: self.rtol }
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

/// `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// ONNX models; the first on the first provider is what speed-ups are relative to
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    batches: Batches,
    /// What the clock encloses
    #[arg(long, value_enum, value_name = "SCOPE,...", value_delimiter = ',', default_value = "end-to-end")]
    pub(crate) scope: Vec<ScopeArg>,
    /// Runs (50) or time (200ms, 2s) to leave out before measuring; until steady unless given
    #[arg(long, value_name = "N|TIME", value_parser = warm_up)]
    pub(crate) warmup: Option<WarmUp>,
    /// Runs of each row, at least; together with --duration both have to be met
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) iterations: Option<usize>,
    /// Seconds of each row, at least
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,
    /// Percentiles to report
    #[arg(long, value_name = "P,...", value_delimiter = ',', default_value = "50,90,95,99", value_parser = percentile)]
    pub(crate) percentile: Vec<f64>,
    /// Repeat everything with fresh processes this often
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) processes: usize,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Bench {
    /// A measurement of so many seconds for each row, all else by default.
    pub(crate) fn short(models: Vec<PathBuf>, providers: ProviderArgs, duration: u64, exports: Exports) -> Bench {
        Bench {
            models,
            providers,
            batches: Batches::of(1),
            scope: vec![ScopeArg::EndToEnd],
            warmup: None,
            iterations: None,
            duration: Some(Duration::from_secs(duration)),
            percentile: Plan::default().percentiles,
            processes: 1,
            seed: Seed::default(),
            exports,
        }
    }

    /// The plan of the measurement.
    pub(crate) fn plan(&self) -> Plan {
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

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("it must be a number from 1 on".to_owned()),
    }
}

/// No machine holds the feature maps of more images than this.
const MOST_AT_ONCE: usize = 65_536;

pub(super) fn images_at_once(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MOST_AT_ONCE) => Ok(number),
        _ => Err(format!("it must be a number from 1 to {MOST_AT_ONCE}")),
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    parsed.ok_or_else(|| "it must be a number from 0 on".to_owned())
}

fn percentile(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number < 100.0);
    parsed.ok_or_else(|| "it must be a number between 0 and 100".to_owned())
}

fn warm_up(text: &str) -> Result<WarmUp, String> {
    let time = |digits: &str, unit: f64| digits.parse::<f64>().ok().map(|number| WarmUp::Seconds(number * unit));
    let parsed = if let Some(digits) = text.strip_suffix("ms") {
        time(digits, 1e-3)
    } else if let Some(digits) = text.strip_suffix('s') {
        time(digits, 1.0)
    } else {
        text.parse().ok().map(WarmUp::Runs)
    };
    let sensible = parsed.filter(|warm_up| !matches!(warm_up, WarmUp::Seconds(s) if !s.is_finite() || *s < 0.0));
    sensible.ok_or_else(|| "it must be a number of runs (50) or a time (200ms, 2s)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_size_given_again_is_measured_once() {
        assert_eq!(Batches { batch_size: vec![8, 1, 8, 1, 2] }.sizes(), [8, 1, 2]);
    }

    #[test]
    fn so_many_images_at_once_that_no_memory_holds_them_are_refused() {
        assert_eq!((images_at_once("1"), images_at_once("65536")), (Ok(1), Ok(65_536)));
        for wrong in ["0", "65537", "18446744073709551615", "-1", "many"] {
            assert!(images_at_once(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn warm_up_is_a_number_of_runs_or_a_time() {
        assert_eq!(warm_up("50"), Ok(WarmUp::Runs(50)));
        assert_eq!(warm_up("200ms"), Ok(WarmUp::Seconds(0.2)));
        assert_eq!(warm_up("1.5s"), Ok(WarmUp::Seconds(1.5)));
        for wrong in ["", "s", "-1s", "NaNms", "fast", "1.5"] {
            assert!(warm_up(wrong).is_err(), "{wrong}");
        }
    }
}
