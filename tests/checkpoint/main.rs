//! The reader of checkpoints: what it reads, what it refuses, and what it may cost.

#[path = "../common"]
mod common {
    pub(crate) mod checkpoint_files;
    pub(crate) mod memory;
    pub(crate) mod snapshot;
}

mod architectures;
mod bounds;
mod properties;
mod reading;
mod refusals;
mod skipping;
