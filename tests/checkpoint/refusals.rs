//! Every kind of file that must be refused, each made for its test: the fault names what, where and what to do, and
//! nothing is read that the file does not have.

use crate::common::checkpoint_files::{contents, fixture};
use resnext_builder::checkpoint::{Checkpoint, CheckpointError};

/// Why a file of torch's is refused, on opening or on reading all its weights.
fn refused_fixture(name: &str) -> CheckpointError {
    let path = fixture(&format!("hostile/{name}"));
    match Checkpoint::open(&path) {
        Ok(checkpoint) => contents(&checkpoint).expect_err(name),
        Err(error) => error,
    }
}

/// That the message of `error` holds all of `parts`, and is one line.
#[track_caller]
fn says(error: &impl ToString, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains('\n'), "more than one line: {text}");
}

macro_rules! assert_fault {
    ($fault:expr, $pattern:pat $(if $guard:expr)?) => {{
        let fault = $fault;
        assert!(matches!(&fault, $pattern $(if $guard)?), "another fault: {fault} ({fault:?})");
        fault
    }};
}

mod files;
mod legacy;
mod pickles;
mod safetensors;
mod weights;
mod zip;
mod zip_data;
