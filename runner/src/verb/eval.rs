//! `eval`: accuracy on labelled images.

pub mod args;
pub mod classes;
pub mod csv;
pub mod dataset;
pub mod document;
pub mod evaluation;
pub mod evaluator;
pub mod labelled;
pub mod labels_file;
pub mod numbering;
pub mod options;
pub mod order;
pub(crate) mod place;
pub mod result;
pub mod run;
pub(crate) mod same;
pub(crate) mod table;
pub mod tally;
pub(crate) mod truth;
