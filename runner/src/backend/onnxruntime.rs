//! onnxruntime: finding and loading its library, configuring its providers, running models in worker processes.

pub mod args;
pub mod computing;
pub mod examination;
pub mod known;
pub mod launch;
pub mod native;
pub mod options;
pub mod provider;
pub mod runtime;
pub mod served;
pub mod session;
pub mod spec;
pub mod worker;
