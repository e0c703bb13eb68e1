//! 8-bit integers: what stands where, with which scales.

use std::collections::BTreeMap;
use std::fmt;

use onnx_file::element::ElementType;
use serde::Serialize;

use crate::calibration::Inputs;
use crate::calibration::method::RangeMethod;
use crate::weight::{PAIR_LIMIT, WeightRange};

/// Where a graph's values are integers, and of which kind. No one form serves all providers: what one runs wholly in
/// integers, another refuses or runs in f32 without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// Unsigned values with any zero point around every operator that has an integer kernel, and 32-bit biases: what
    /// onnxruntime's CPU provider and OpenVINO fuse (`qdq_selectors.cc`).
    #[default]
    Unsigned,
    /// Signed values with the zero point 0, at the inputs of convolutions and linear layers and on one branch of a sum:
    /// TensorRT's rules for explicit quantization.
    Symmetric,
}

/// How a real value becomes an integer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// The value of one step.
    pub scale: f32,
    /// The integer that means 0.
    pub zero_point: i32,
}

impl Flavour {
    /// The type of values.
    pub const fn element(self) -> ElementType {
        match self {
            Self::Unsigned => ElementType::U8,
            Self::Symmetric => ElementType::I8,
        }
    }

    /// The parameters with which values from `low` to `high` are represented; 0 always is one of them.
    pub fn parameters(self, [low, high]: [f64; 2]) -> Parameters {
        let (low, high) = (low.min(0.0), high.max(0.0));
        // A value that is 0 everywhere has any scale; subnormal ones are flushed to zero by some kernels.
        let settle = |scale: f64| if scale < f64::from(f32::MIN_POSITIVE) { 1.0 } else { scale as f32 };
        match self {
            Self::Unsigned => {
                let scale = settle((high - low) / 255.0);
                let zero_point = (-low / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as i32;
                Parameters { scale, zero_point }
            }
            Self::Symmetric => Parameters { scale: settle(high.max(-low) / 127.0), zero_point: 0 },
        }
    }

    /// The values that `parameters` represent, from the least to the largest.
    pub fn bounds(self, Parameters { scale, zero_point }: Parameters) -> [f64; 2] {
        let (least, most) = match self {
            Self::Unsigned => (0, 255),
            Self::Symmetric => (-127, 127),
        };
        [least, most].map(|integer: i32| f64::from(integer - zero_point) * f64::from(scale))
    }
}

/// Integers: where, with which ranges, and what stays f32.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8 {
    /// What stands where.
    pub flavour: Flavour,
    /// What weights use of their 8 bits.
    pub weights: WeightRange,
    /// Nodes, by name.
    pub keep_f32: Vec<String>,
    /// The least and the largest of each value, by its name.
    pub bounds: BTreeMap<String, [f64; 2]>,
    /// What the bounds were measured on.
    pub inputs: Option<Inputs>,
    /// How they follow from what was measured.
    pub method: RangeMethod,
}

impl Int8 {
    /// What became of a model, of whose weights the largest pair is known.
    pub(crate) fn outcome(&self, largest_pair: i32) -> Outcome {
        Outcome {
            flavour: self.flavour,
            weight_range: self.weights,
            largest_pair,
            kept: self.keep_f32.clone(),
            inputs: self.inputs.clone(),
            range_method: self.method,
        }
    }
}

/// What became of a model's weights and values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What stands where.
    pub flavour: Flavour,
    /// What weights use of their 8 bits.
    pub weight_range: WeightRange,
    /// The largest sum of two weights of one sign that a kernel may add in 16 bits.
    pub largest_pair: i32,
    /// Nodes kept in f32 by request.
    pub kept: Vec<String>,
    /// What the ranges were measured on.
    pub inputs: Option<Inputs>,
    /// How they follow from what was measured.
    pub range_method: RangeMethod,
}

impl Outcome {
    /// What the weights are, and what no processor's 16-bit sums do to them.
    pub fn weights(&self) -> String {
        let Self { weight_range, largest_pair, .. } = self;
        let held = match *largest_pair <= PAIR_LIMIT {
            true => format!("at most {PAIR_LIMIT}: no sum of two products leaves 16 bits"),
            false => format!("more than {PAIR_LIMIT}: wrong on x86 processors without VNNI"),
        };
        format!("{}; two neighbours of one sign sum to {largest_pair}, {held}", weight_range.name())
    }

    /// What the values are, and what their ranges come from.
    pub fn activations(&self) -> String {
        match &self.inputs {
            Some(inputs) => format!("{}; ranges of {inputs}, {}", self.flavour, self.range_method),
            None => self.flavour.to_string(),
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "u8 values with any zero point, s8 weights by output channel, int32 biases",
            Self::Symmetric => "s8 values with the zero point 0, s8 weights by output channel, f32 biases",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn zero_is_exact_the_ends_are_within_a_step_and_parameters_survive_their_bounds(
            low in -1e4f64..1e4, width in 0f64..1e4,
        ) {
            for flavour in [Flavour::Unsigned, Flavour::Symmetric] {
                let found = flavour.parameters([low, low + width]);
                let bounds = flavour.bounds(found);
                prop_assert!(bounds[0] <= 0.0 && bounds[1] >= 0.0);
                let slack = f64::from(found.scale) * 0.501;
                prop_assert!(bounds[0] <= low.min(0.0) + slack && bounds[1] >= (low + width).max(0.0) - slack);
                prop_assert_eq!(flavour.parameters(bounds), found);
            }
        }
    }

    #[test]
    fn what_is_never_negative_has_the_zero_point_0_and_what_is_always_0_some_scale() {
        let parameters = |bounds| Flavour::Unsigned.parameters(bounds);
        assert_eq!(parameters([0.0, 25.5]), Parameters { scale: 0.1, zero_point: 0 });
        assert_eq!(parameters([3.0, 25.5]), Parameters { scale: 0.1, zero_point: 0 });
        assert_eq!(parameters([-25.5, -1.0]), Parameters { scale: 0.1, zero_point: 255 });
        assert_eq!(parameters([0.0, 0.0]), Parameters { scale: 1.0, zero_point: 0 });
        assert_eq!(parameters([0.0, 1e-44]), Parameters { scale: 1.0, zero_point: 0 });
    }
}
