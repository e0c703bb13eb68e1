//! Where models run: one module for each runtime.

pub mod kserve;
pub mod onnxruntime;
pub mod open;
pub mod providers;
