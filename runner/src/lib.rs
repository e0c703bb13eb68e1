//! Runs ONNX image classifiers through onnxruntime's execution providers, proves where each node ran, compares
//! providers number by number and measures them.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)
)]

pub mod backend;
pub mod exit;
pub mod host;
pub mod input;
pub mod model;
pub mod report;
pub mod stats;
pub mod terminal;
pub mod verb;
