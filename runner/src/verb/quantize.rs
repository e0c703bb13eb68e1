//! `quantize`: an int8 file from images, with what it loses.

pub mod args;
pub mod csv;
pub mod document;
pub mod options;
pub mod result;
pub mod run;
