//! `infer`: classes of images.

pub mod args;
pub mod csv;
pub mod document;
pub mod inference;
pub mod options;
pub mod run;
