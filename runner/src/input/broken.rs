//! Images that could not be read.

use serde::Serialize;

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its file.
    pub path: String,
    /// Why.
    pub reason: String,
}
