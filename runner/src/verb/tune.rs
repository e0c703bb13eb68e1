//! `tune`: the fastest lowering, found by measuring.

pub mod args;
pub mod choices;
pub mod csv;
pub mod document;
pub mod files;
pub mod options;
pub mod result;
pub mod run;
pub mod search;
pub mod tuning;
