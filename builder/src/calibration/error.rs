//! Why a calibration cannot be used.

use std::io;

use onnx_file::element::ElementType::F16;

use super::method::RangeMethod;

/// Why a calibration cannot be used, or what it speaks against.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// It could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is not a calibration file: {reason}; `resnext-run calibrate` writes one")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// It was measured on another network.
    #[error(
        "the calibration was measured on {file}, {found}, and this build is {asked}; run resnext-run calibrate on an f32 build with the same arguments"
    )]
    Other {
        /// The model that was measured.
        file: String,
        /// What it says of itself.
        found: String,
        /// What is being built.
        asked: String,
    },
    /// It was measured on another file.
    #[error(
        "the calibration was measured on {file} as it was then, which is not {model} as it is now; measure {model} with resnext-run calibrate"
    )]
    OtherFile {
        /// The model that was measured.
        file: String,
        /// The model it is to be used for.
        model: String,
    },
    /// Values that are broken in any arithmetic.
    #[error(
        "node '{node}' outputs infinity or what is not a number on {inputs}: the network is broken before any rounding, or {file} is no f32 build; check the checkpoint and the inputs, and run resnext-run calibrate on an f32 build"
    )]
    NotFinite {
        /// The first such node.
        node: String,
        /// What it was measured on.
        inputs: String,
        /// The model that was measured.
        file: String,
    },
    /// Largest magnitudes without the ends of the ranges.
    #[error(
        "the calibration of {file} holds no smallest and largest values; measure it again with resnext-run calibrate"
    )]
    NoBounds {
        /// The model that was measured.
        file: String,
    },
    /// Ends without counts.
    #[error(
        "the calibration of {file} holds no histograms, which --range-method {method} needs; measure it again with resnext-run calibrate, or use min-max"
    )]
    NoHistogram {
        /// The model that was measured.
        file: String,
        /// What was to be done with them.
        method: RangeMethod,
    },
    /// Values beyond f16.
    #[error(
        "node '{node}' outputs up to {max_abs} on {inputs}, and f16 ends at {limit}{more}; keep it and what takes its values in f32: {fix}",
        limit = F16.max_finite()
    )]
    Overflow {
        /// The node with the largest value.
        node: String,
        /// That value's magnitude.
        max_abs: f64,
        /// What it was measured on.
        inputs: String,
        /// Other nodes beyond.
        more: String,
        /// Flags to add.
        fix: String,
    },
}
