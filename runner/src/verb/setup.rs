//! `setup`: installs the pinned onnxruntime library.

pub mod args;
pub mod run;
