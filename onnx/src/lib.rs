//! What the builder and the runner must agree on, once: the ONNX file and what stands in it (protobuf messages, tensors,
//! element types, limits, streaming output), and the habits that both programs share (files that appear whole or not at
//! all, digests, exit codes). Nothing here prints or exits.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::disallowed_methods
    )
)]

pub mod atomic;
pub mod beside;
pub mod budget;
pub mod bundle;
pub mod cost;
pub mod digest;
pub mod element;
pub mod exit;
pub mod expose;
pub mod interrupt;
pub mod kind;
pub mod meaning;
pub mod memory;
pub mod metadata;
pub mod named;
pub mod open;
pub mod outline;
pub mod port;
pub mod proto;
pub mod raw;
pub mod read;
pub mod stream;
pub mod temporary;
pub mod tensor;
pub mod text;
pub mod within;
pub mod write;
