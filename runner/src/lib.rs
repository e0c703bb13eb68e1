//! Runs ONNX image classifiers through onnxruntime's execution providers, proves where each node ran, compares
//! providers number by number and measures them.
//!
//! Everything that measures sees only [`model::opened::Model`]: a model of one's own needs no runtime and no file.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use resnext_runner::model::opened::{Block, Loaded, Memory, Model, ModelError, Ports, Scope};
//! use resnext_runner::model::tensor::{Data, Tensor};
//! use resnext_runner::stats::Summary;
//! use resnext_runner::verb::bench::plan::Plan;
//!
//! /// Doubles its input; its clock ticks a millisecond a run.
//! struct Double(Loaded, Ports);
//!
//! impl Model for Double {
//!     fn loaded(&self) -> &Loaded {
//!         &self.0
//!     }
//!
//!     fn ports(&self) -> &Ports {
//!         &self.1
//!     }
//!
//!     fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
//!         let double = |tensor: &Tensor| match &tensor.data {
//!             Data::F32(values) => {
//!                 let data = Data::F32(values.iter().map(|value| 2.0 * value).collect());
//!                 Ok(Tensor { name: "doubled".into(), shape: tensor.shape.clone(), data })
//!             }
//!             _ => Err(ModelError::BadInput("only f32".into())),
//!         };
//!         inputs.iter().map(double).collect()
//!     }
//!
//!     fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
//!         (0..block.max_runs).map(|_| self.run(inputs).map(|_| 1e-3)).collect()
//!     }
//!
//!     fn memory(&mut self) -> Result<Memory, ModelError> {
//!         Ok(Memory::default())
//!     }
//! }
//!
//! # fn main() -> Result<(), ModelError> {
//! let loaded = Loaded {
//!     model: "double".into(),
//!     provider: "here".into(),
//!     library_version: "1".into(),
//!     options: BTreeMap::new(),
//!     placement: BTreeMap::new(),
//!     load_seconds: 0.0,
//!     first_run_seconds: 0.0,
//! };
//! let image = Tensor { name: "input".into(), shape: vec![1, 3], data: Data::F32(vec![1.0, 2.0, 3.0]) };
//! let mut model = Double(loaded, Ports::default());
//! assert_eq!(model.run(std::slice::from_ref(&image))?[0].data, Data::F32(vec![2.0, 4.0, 6.0]));
//! let seconds = model.time(&[image], Plan::runs(Scope::EndToEnd, 20))?;
//! let summary = Summary::of(&seconds, &[50.0, 99.0]);
//! assert_eq!(summary.map(|summary| (summary.n, summary.median)), Some((20, 1e-3)));
//! # Ok(())
//! # }
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

pub mod backend;
pub mod coded;
pub mod exit;
pub mod host;
pub mod input;
pub mod model;
pub mod next;
pub mod note;
pub mod record;
pub mod report;
pub mod stats;
pub mod terminal;
pub mod verb;
