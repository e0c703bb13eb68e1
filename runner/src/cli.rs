//! The command line: clap's types, and the plans made of them. Nothing here touches a file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use resnext_runner::runtime::install::Package;

mod calibrate;
mod measure;
mod providers;
mod tune;

pub(crate) use calibrate::Calibrate;
pub(crate) use measure::{Batch, Bench, Compare, Eval, Exports, Infer, Inputs};
pub(crate) use providers::{LibraryArgs, ProviderArgs};
pub(crate) use tune::Tune;

/// Runs ONNX image classifiers through onnxruntime's providers, proves where each node ran, compares and measures.
#[derive(Debug, Parser)]
#[command(name = "resnext-run", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// No progress and no remarks; results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show what workers and onnxruntime print while they work
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Everything at once: library, network, check-up, comparison and a short measurement
    Quickstart(Quickstart),
    /// Install the pinned onnxruntime library, hashes checked
    Setup(Setup),
    /// Tell which library and providers really work here, and how to mend those that do not
    Doctor(Doctor),
    /// Classify images; preprocessing and labels come from the model file
    Infer(Infer),
    /// Run the same inputs through every provider and model, and judge whether they agree
    Compare(Compare),
    /// Measure latency and throughput of every model on every provider
    Bench(Bench),
    /// Measure accuracy on labelled images
    Eval(Eval),
    /// Find the fastest lowering of a model's grouped and strided convolutions by measuring
    Tune(Tune),
    /// Measure the ranges of all values inside a network, and judge whether f16 holds them
    Calibrate(Calibrate),
    /// Write shell completions to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `quickstart`.
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Folder for model.onnx, compare.json and bench.json
    #[arg(long, value_name = "DIR", default_value = "quickstart")]
    pub(crate) dir: PathBuf,
}

/// `setup`.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// What to install
    #[arg(value_enum, default_value_t = Package::Cpu)]
    pub(crate) package: Package,
    /// Folder to install below, instead of the user's data folder; name the same folder later with --ort-lib or RESNEXT_ORT_DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Take this wheel, or all wheels in this folder, instead of downloading; may be repeated
    #[arg(long, value_name = "WHEEL")]
    pub(crate) from: Vec<PathBuf>,
}

/// `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    /// Write the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
