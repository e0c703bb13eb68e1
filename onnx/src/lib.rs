//! The ONNX file and nothing else: protobuf messages, tensors, reading with limits, streaming output.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)
)]

pub mod atomic;
pub mod beside;
pub mod budget;
pub mod cost;
pub mod interrupt;
pub mod memory;
pub mod open;
pub mod proto;
pub mod raw;
pub mod read;
pub mod tensor;
pub mod text;
pub mod write;
