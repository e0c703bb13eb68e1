//! This machine: processors, memory, state.

pub mod cache;
pub mod child;
pub mod environment;
pub mod machine;
