//! The terminal: what is written there, progress, interrupts.

pub mod args;
pub mod interrupt;
pub mod output;
pub mod progress;
