//! `calibrate`: ranges of all values inside a network.

pub mod args;
pub mod calibration;
pub mod csv;
pub mod document;
pub mod error;
pub mod inputs;
pub mod options;
pub mod result;
pub mod run;
pub mod verdict;
pub mod weights;
