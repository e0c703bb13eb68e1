//! The seam between measuring and executing: models, what they say of themselves, tensors.

pub mod batch;
pub mod candidate;
pub mod coverage;
pub mod demand;
#[cfg(test)]
pub mod fake;
pub mod file;
pub mod golden;
pub mod opened;
pub mod output;
pub mod precision;
pub mod said;
pub mod shaped;
pub mod tensor;
pub mod values;
