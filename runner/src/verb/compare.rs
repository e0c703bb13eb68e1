//! `compare`: the same inputs through every candidate, and a verdict.

pub mod args;
pub mod bisect;
pub mod boundary;
pub mod comparison;
pub mod csv;
pub mod difference;
pub mod document;
pub mod layers;
pub mod metrics;
pub mod options;
pub mod run;
pub mod tolerance;
