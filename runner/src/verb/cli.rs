//! The command line: clap's types, and the plans made of them. Nothing here touches a file.

use super::doctor::args::Doctor;
use super::quantize::args::Quantize;
use super::quickstart::args::Quickstart;
use super::recheck::args::Recheck;
use super::report::args::Report;
use super::setup::args::Setup;
use crate::terminal::args::Global;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::bench::args::Bench;
use super::calibrate::args::Calibrate;
use super::compare::args::Compare;
use super::eval::args::Eval;
use super::gate::args::Gate;
use super::infer::args::Infer;
use super::tune::args::Tune;

/// Runs ONNX image classifiers through onnxruntime's providers, proves where each node ran, compares and measures.
#[derive(Debug, Parser)]
#[command(name = "resnext-run", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// Whether decisions are to be logged.
    pub fn verbose(&self) -> bool {
        self.global.verbose
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Install the runtime, build a model, check providers, compare, benchmark, classify
    Quickstart(Quickstart),
    /// Install the pinned onnxruntime library, hashes checked
    Setup(Setup),
    /// Tell which library and providers really work here, and how to fix those that do not
    Doctor(Doctor),
    /// Classify images; preprocessing and labels come from the model file
    Infer(Infer),
    /// Run the same inputs through every provider and model, and check whether they agree
    Compare(Compare),
    /// Measure latency and throughput of every model on every provider
    Bench(Bench),
    /// Tell whether a kept measurement is a regression against an earlier one
    Gate(Gate),
    /// Judge kept results again, by the limits they were judged by or others
    Recheck(Recheck),
    /// Write kept results as one page with plots, tables and the results themselves
    Report(Report),
    /// Measure accuracy on labelled images
    Eval(Eval),
    /// Find the fastest lowering of a model's grouped and strided convolutions by measuring
    Tune(Tune),
    /// Measure the ranges of all values inside a network, and check whether f16 holds them
    Calibrate(Calibrate),
    /// Write an int8 file of a model, its ranges measured on images, and measure what it loses
    Quantize(Quantize),
    /// Write shell completions to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual page to standard output, or the pages of all verbs to a folder
    Man {
        /// Folder for one page a verb
        #[arg(long, value_name = "DIR", help_heading = "Output")]
        dir: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_stands_under_a_heading_and_the_headings_have_one_order() {
        const ORDER: [&str; 9] =
            ["Model", "Input", "Lowering", "Precision", "Provider", "Measuring", "Output", "Limits", "Display"];
        let mut cli = super::Cli::command();
        cli.build();
        for verb in cli.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let mut headings: Vec<usize> = Vec::new();
            for flag in verb.get_arguments().filter(|flag| !flag.is_positional()) {
                let (verb, id) = (verb.get_name(), flag.get_id());
                if matches!(id.as_str(), "help" | "version") {
                    continue;
                }
                let heading = flag.get_help_heading().unwrap_or_else(|| panic!("{verb}: {id} stands under no heading"));
                let at = ORDER.iter().position(|known| *known == heading);
                headings.push(at.unwrap_or_else(|| panic!("{verb}: {id} stands under {heading}")));
            }
            headings.dedup();
            assert!(
                headings.is_sorted(),
                "{}: {:?}",
                verb.get_name(),
                headings.iter().map(|&at| ORDER[at]).collect::<Vec<_>>()
            );
        }
    }
}
