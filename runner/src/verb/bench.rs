//! `bench`: latency and throughput.

pub mod args;
pub(crate) mod coverage;
pub mod csv;
pub mod document;
pub mod gpu;
pub mod measurement;
pub mod options;
pub mod plan;
pub mod rows;
pub mod run;
pub mod verdict;
pub mod warmup;
