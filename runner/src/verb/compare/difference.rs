//! What is wrong with an output.

use std::fmt;

use serde::Serialize;

/// Whose output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The candidate's.
    Candidate,
    /// The reference's.
    Reference,
}

/// What an element may be that is no finite number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NonFinite {
    /// Not a number.
    Nan,
    /// Infinite, of either sign.
    Infinite,
}

/// Why an output does not agree with its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Difference {
    /// Elements are not finite.
    NotFinite {
        /// Name of the output.
        output: String,
        /// On which side.
        side: Side,
        /// What they are.
        what: NonFinite,
        /// How many.
        elements: usize,
    },
    /// Elements differ by more than is allowed.
    BeyondTolerance {
        /// Name of the output.
        output: String,
        /// How many.
        elements: usize,
        /// Of how many.
        total: usize,
        /// By how much at most.
        max_abs: f64,
        /// Absolute tolerance.
        atol: f64,
        /// Relative tolerance.
        rtol: f64,
    },
    /// The shapes differ.
    Shape {
        /// Name of the output.
        output: String,
        /// Its shape.
        found: Vec<usize>,
        /// The reference's.
        reference: Vec<usize>,
    },
    /// Two runs on the same input differ by more than is allowed.
    NotRepeatable {
        /// Name of the output.
        output: String,
        /// By how much at most.
        max_abs: f64,
    },
    /// The reference has an output that the candidate lacks.
    Missing {
        /// Its name.
        output: String,
    },
    /// The candidate has an output that the reference lacks.
    Unexpected {
        /// Its name.
        output: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::NotFinite { output, side, what, elements } => {
                let of = if *side == Side::Reference { " of the reference" } else { "" };
                let what = if *what == NonFinite::Nan { "NaN" } else { "infinite" };
                write!(f, "{output}: {elements} elements{of} are {what}")
            }
            Difference::BeyondTolerance { output, elements, total, max_abs, atol, rtol } => write!(
                f,
                "{output}: {elements} of {total} elements differ by more than the tolerance (the largest by \
                 {max_abs:.3e}, where {atol:.3e} + {rtol:.0e} of the value is allowed)"
            ),
            Difference::Shape { output, found, reference } => {
                write!(f, "{output}: shape {found:?} where the reference has {reference:?}")
            }
            Difference::NotRepeatable { output, max_abs } => {
                write!(f, "{output}: two runs on the same input differ by {max_abs:.3e}: not repeatable")
            }
            Difference::Missing { output } => write!(f, "{output}: missing"),
            Difference::Unexpected { output } => write!(f, "{output}: the reference has no such output"),
        }
    }
}

/// Several in one line.
pub(crate) fn joined(differences: &[Difference], between: &str) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}
