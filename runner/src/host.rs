//! This machine: processors, memory, state.

pub mod environment;
pub mod machine;
