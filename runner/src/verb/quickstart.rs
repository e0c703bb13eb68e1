//! `quickstart`: the whole way from nothing to numbers.

pub mod args;
pub mod bundled;
pub mod run;
