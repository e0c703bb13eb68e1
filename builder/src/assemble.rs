//! The steps of a build.

pub(crate) mod describe;
pub(crate) mod materialize;
pub(crate) mod resolve;
mod selection;
pub(crate) mod write;
