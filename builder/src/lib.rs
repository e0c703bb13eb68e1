//! Compiles the networks of the ResNeXt family to ONNX.
//!
//! `Variant -> architecture -> Graph -> weights -> passes -> validate -> export -> file`: data goes one way.
//!
//! Build a graph, fold its normalisations, and print it:
//!
//! ```
//! use resnext_builder::architecture::{Options, build};
//! use resnext_builder::passes::{Lowering, run};
//! use resnext_builder::validate::validate;
//! use resnext_builder::variant::Variant;
//!
//! let variant = Variant::parse("50_32x4d")?;
//! let mut graph = build(&variant, &Options::classifier(&variant))?;
//! let runs = run(&mut graph, &Lowering::default())?;
//! assert_eq!(runs[0].rewrites, 53);
//! let text = validate(&graph)?.graph().to_string();
//! assert!(text.starts_with("conv1 f32 [batch, 64, 112, 112] = Conv(input, conv1.weight, conv1.bias)\n"));
//! println!("{text}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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

pub mod architecture;
mod assemble;
pub mod build;
pub mod bundle;
pub mod calibration;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod commands;
mod constants;
pub mod cost;
pub mod ends;
pub mod export;
pub mod graph;
pub mod hub;
pub mod identity;
pub mod import;
pub mod inspect;
pub mod list;
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
pub mod sidecar;
pub mod stacks;
mod streams;
pub mod suggest;
pub mod target;
pub mod tuning;
pub mod validate;
pub mod variant;
pub mod verify;
pub mod weight;
pub mod weights;
