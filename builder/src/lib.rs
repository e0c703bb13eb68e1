//! Compiles the networks of the ResNeXt family to ONNX.
//!
//! `Variant -> architecture -> Graph -> weights -> passes -> validate -> export -> file`: data goes one way.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)
)]

pub mod architecture;
mod assemble;
pub mod build;
pub mod calibration;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod cost;
pub mod export;
pub mod graph;
pub mod hub;
pub mod import;
pub mod inspect;
pub mod judge;
pub mod list;
pub mod metadata;
pub mod note;
pub mod optimize;
mod output;
pub mod passes;
pub mod precision;
mod progress;
pub mod published;
pub mod random;
pub mod reference;
pub mod report;
pub mod shape;
pub mod suggest;
pub mod target;
pub mod tuning;
pub mod validate;
pub mod variant;
pub mod verify;
pub mod weight;
pub mod weights;
