//! The command line: clap's types, and the plans made of them. Nothing here touches a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use resnext_runner::provider::{self, Kind, OptionError, Provider};
use resnext_runner::runtime::install::Package;
use resnext_runner::session::SessionOptions;

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
    /// Write shell completions to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Serve a parent process; started by this program itself
    #[command(hide = true)]
    Worker,
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
    /// Folder to install below, instead of the user's data folder; name it later with --ort-lib or RESNEXT_ORT_DIR
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

/// Which library, and how long to wait for it.
#[derive(Clone, Debug, Args)]
pub(crate) struct LibraryArgs {
    /// The onnxruntime library, or a folder that holds it; otherwise ORT_DYLIB_PATH, beside this program, where `setup`
    /// installs, or the system's
    #[arg(long, value_name = "PATH")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Time limit in seconds for loading a model and for each run
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

/// Which providers, with what options.
#[derive(Clone, Debug, Args)]
#[allow(dead_code)]
pub(crate) struct ProviderArgs {
    /// Providers: cpu, openvino, cuda, tensorrt
    #[arg(
        short,
        long = "ep",
        visible_alias = "providers",
        value_name = "PROVIDER",
        value_delimiter = ',',
        default_value = "cpu"
    )]
    pub(crate) ep: Vec<Kind>,
    /// A provider's option in onnxruntime's own key; may be repeated
    #[arg(long = "ep-option", value_name = "PROVIDER.KEY=VALUE")]
    pub(crate) ep_options: Vec<String>,
    /// A session option in onnxruntime's own key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) session_config: Vec<(String, String)>,
    /// Threads that share one node's work; one for each usable core unless given
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) intra_op_threads: Option<usize>,
    /// Threads that run nodes side by side
    #[arg(long, value_name = "N", value_parser = threads, default_value = "1")]
    pub(crate) inter_op_threads: usize,
    /// Accept nodes on other providers than asked for; results say how many
    #[arg(long)]
    pub(crate) allow_fallback: bool,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

impl ProviderArgs {
    /// The providers with their options, each once, in the order given.
    #[allow(dead_code)]
    pub(crate) fn providers(&self) -> Result<Vec<Provider>, OptionError> {
        let mut kinds: Vec<Kind> = Vec::new();
        for &kind in &self.ep {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        provider::configure(&kinds, &self.ep_options)
    }

    /// Threads and session configuration.
    #[allow(dead_code)]
    pub(crate) fn session(&self) -> SessionOptions {
        SessionOptions {
            intra_op_threads: self.intra_op_threads.unwrap_or_else(resnext_runner::host::default_threads),
            inter_op_threads: self.inter_op_threads,
            config: self.session_config.iter().cloned().collect::<BTreeMap<_, _>>(),
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !text.contains('\0') => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE, as in session.intra_op.allow_spinning=0".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("it must be a number from 1 to 1024".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<f64>().ok().filter(|&seconds| seconds > 0.0);
    let duration = parsed.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "it must be a positive number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
