//! Runs ONNX image classifiers through onnxruntime's execution providers, proves where each node ran, compares
//! providers number by number and measures them.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)
)]

pub mod bench;
pub mod calibrate;
pub mod candidate;
pub mod classify;
pub mod compare;
pub mod doctor;
pub mod environment;
pub mod eval;
#[cfg(test)]
mod fake;
pub mod host;
pub mod infer;
pub mod input;
pub mod metadata;
pub mod model;
mod native;
pub mod provider;
pub mod report;
pub mod runtime;
pub mod session;
pub mod stats;
pub mod tensor;
pub mod tune;
pub mod worker;
