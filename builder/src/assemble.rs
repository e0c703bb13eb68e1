//! The steps of a build and the types between them; `build` runs them.

pub(crate) mod check;
mod describe;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod obtain;
pub(crate) mod plan;
pub(crate) mod resolve;
pub(crate) mod selection;
pub(crate) mod summary;
pub(crate) mod write;
