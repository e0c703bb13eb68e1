//! This machine: processors, memory, state.

pub mod child;
pub mod environment;
pub mod machine;
