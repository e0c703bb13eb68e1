//! `gate`: is a kept measurement a regression against an earlier one?

pub mod args;
pub mod csv;
pub mod run;
