//! What is allowed of two measurements.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What two measurements may differ in although their times are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Processor, its instruction sets and number, GPUs, limits of the container
    Hardware,
    /// Threads of the sessions
    Threads,
    /// Version of onnxruntime's library
    Library,
    /// Other options of sessions and providers, precision among them
    Options,
    /// What the clock encloses
    Scope,
    /// Shapes of the inputs
    Inputs,
}

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// By which fraction a run may take longer.
    pub max_regress: f64,
    /// Whether a verdict that cannot be given fails, too.
    pub strict: bool,
    /// What may differ.
    pub allowed: Vec<Aspect>,
}
