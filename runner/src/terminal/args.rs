//! Flags of every verb.

use clap::{Args, ValueEnum};

/// Flags of every verb.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Memory that inputs and each process that runs a model may take, like 4G [default: three quarters of what the machine has left]
    #[arg(long, global = true, value_name = "SIZE", value_parser = onnx_file::budget::parse, help_heading = "Limits")]
    pub(crate) max_memory: Option<u64>,
    /// No progress and no notes; results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Display")]
    pub(crate) quiet: bool,
    /// Show decisions (library, options, threads, files) and what workers and onnxruntime print
    #[arg(short, long, global = true, help_heading = "Display")]
    pub(crate) verbose: bool,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", help_heading = "Display")]
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
