//! Arithmetic that a graph carries: one axis, with what each choice needs to know.

pub mod half;
pub mod int8;

use std::fmt;

use onnx_file::metadata::{Key, Metadata};
use serde::Serialize;

use half::UNCHECKED;

pub use half::Half;
pub use int8::Int8;

/// Arithmetic, as `--dtype` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary32
    #[default]
    F32,
    /// IEEE 754 binary16: half the bytes, each weight rounded once
    F16,
    /// 8-bit integers between quantization nodes: a quarter of the bytes; needs --calibration
    Int8,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// As on the command line, in JSON and in metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The arithmetic to give a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Precision {
    /// As it is: f32 in every network built here.
    #[default]
    F32,
    /// f16, but for what is kept.
    F16(Half),
    /// 8-bit integers, but for what is kept and what has no rule.
    Int8(Int8),
}

impl Precision {
    /// Its name.
    pub const fn dtype(&self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::Int8(_) => Dtype::Int8,
        }
    }

    /// What stays f32, where the rest becomes f16.
    pub const fn half(&self) -> Option<&Half> {
        match self {
            Self::F16(half) => Some(half),
            Self::F32 | Self::Int8(_) => None,
        }
    }

    /// How values become integers, where they do.
    pub const fn int8(&self) -> Option<&Int8> {
        match self {
            Self::Int8(int8) => Some(int8),
            Self::F32 | Self::F16(_) => None,
        }
    }
}

/// What a precision did to a model, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "dtype", rename_all = "lowercase")]
pub enum Effect {
    /// Nothing.
    #[default]
    F32,
    /// Rounding.
    F16(half::Safety),
    /// Rounding to integers.
    Int8(int8::Outcome),
}

impl Effect {
    /// Says in a model's metadata what was done to it.
    pub(crate) fn describe(&self, metadata: &mut Metadata) {
        if self.dtype() != Dtype::F32 {
            metadata.set(Key::Dtype, self.dtype().name());
        }
        match self {
            Self::F32 => {}
            Self::F16(safety) => {
                if !safety.kept.is_empty() {
                    metadata.set_json(Key::KeepF32, &safety.kept);
                }
                metadata.set(Key::F16Weights, safety.weights.to_string());
                let activations = safety.activations.as_ref().map_or(UNCHECKED.into(), ToString::to_string);
                metadata.set(Key::F16Activations, activations);
            }
            Self::Int8(outcome) => {
                if !outcome.kept.is_empty() {
                    metadata.set_json(Key::KeepF32, &outcome.kept);
                }
                metadata.set(Key::WeightRange, outcome.weight_range.name());
                metadata.set(Key::Int8Weights, outcome.weights());
                metadata.set(Key::Int8Activations, outcome.activations());
            }
        }
    }

    /// The arithmetic.
    pub const fn dtype(&self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::Int8(_) => Dtype::Int8,
        }
    }
}
