//! Compiles the networks of the ResNeXt family to ONNX.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)
)]

pub mod checkpoint;
pub mod digest;
