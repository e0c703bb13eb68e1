//! `doctor`: which libraries and providers work here.

pub mod args;
pub mod csv;
pub mod document;
pub mod run;
