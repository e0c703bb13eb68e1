//! From numbers to places along an axis.

use std::ops::Range;

use crate::report::number::three_digits;

/// Numbers that span more than this factor stand on a logarithmic axis.
const WIDE: f64 = 20.0;

/// Magnitudes outside of these, other than 0, stand on no axis: steps between them, or their squares, are no numbers.
const MAGNITUDES: Range<f64> = 1e-150..1e150;
/// The least that an axis goes on at both ends, as a share of the largest magnitude: a step along a shorter one would
/// be lost in rounding.
const LEAST_MORE: f64 = 1e-6;

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("a plot cannot be drawn: {0}")]
pub struct PlotError(pub(super) String);

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    ends: Range<f64>,
    logarithmic: bool,
}

impl Scale {
    /// The axis for these numbers: logarithmic where all are positive and some are many times others.
    ///
    /// # Errors
    /// [`PlotError`] where a number is not finite, or too large or small for an axis, or there is none.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Result<Scale, PlotError> {
        let linear = Self::ends(numbers)?;
        let logarithmic = linear.start > 0.0 && linear.end / linear.start > WIDE;
        let ends = if logarithmic { linear.start.log10()..linear.end.log10() } else { linear };
        Ok(Scale { ends: widened(&ends), logarithmic })
    }

    /// A linear axis for these numbers.
    ///
    /// # Errors
    /// As for [`Scale::of`].
    pub fn linear(numbers: impl Iterator<Item = f64>) -> Result<Scale, PlotError> {
        Ok(Scale { ends: widened(&Self::ends(numbers)?), logarithmic: false })
    }

    fn ends(numbers: impl Iterator<Item = f64>) -> Result<Range<f64>, PlotError> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in numbers {
            if !number.is_finite() {
                return Err(PlotError("a number is not finite".into()));
            }
            if number != 0.0 && !MAGNITUDES.contains(&number.abs()) {
                return Err(PlotError(format!("{number:e} is too large or too small for an axis")));
            }
            (low, high) = (low.min(number), high.max(number));
        }
        if low > high { Err(PlotError("there are no numbers".into())) } else { Ok(low..high) }
    }

    /// The ends of the axis, as places.
    pub fn range(&self) -> Range<f64> {
        self.ends.clone()
    }

    /// The place of a number.
    pub fn place(&self, number: f64) -> f64 {
        if self.logarithmic { number.max(f64::MIN_POSITIVE).log10() } else { number }
    }

    /// What stands at a place.
    pub fn label(&self, place: f64) -> String {
        // What is nothing but rounding is 0.
        let size = self.ends.start.abs().max(self.ends.end.abs());
        match place {
            _ if self.logarithmic => three_digits(10f64.powf(place)),
            _ if place.abs() < 1e-9 * size => "0".to_owned(),
            _ if place.fract() == 0.0 && place.abs() < 1e6 => format!("{place}"),
            _ => three_digits(place),
        }
    }
}

/// A little more on both sides; of a single number, a share of it.
fn widened(ends: &Range<f64>) -> Range<f64> {
    let span = ends.end - ends.start;
    let size = ends.start.abs().max(ends.end.abs());
    let more = match (span > 0.0, size > 0.0) {
        (true, _) => (0.04 * span).max(LEAST_MORE * size),
        (false, true) => 0.1 * size,
        (false, false) => 1.0,
    };
    ends.start - more..ends.end + more
}
