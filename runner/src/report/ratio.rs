//! Speed-ups and their intervals.

use super::document::{Cell, Tone};
use crate::stats::ratio::{RatioOfMedians, Unit};

/// A ratio, and how surely it is known.
pub(crate) fn ratio_cells(ratio: &RatioOfMedians) -> [Cell; 2] {
    let Some([low, high]) = ratio.interval else {
        let unit = match ratio.unit {
            Unit::Process => "processes",
            Unit::Round => "rounds",
        };
        let text = format!("not enough samples ({} of {} {unit})", ratio.units, ratio.units_needed);
        return [ratio_text(ratio.ratio).into(), Cell::toned(text, Tone::Faint)];
    };
    let interval = format!("{} to {}", ratio_text(low), ratio_text(high));
    if ratio.unit == Unit::Round {
        return [
            ratio_text(ratio.ratio).into(),
            Cell::toned(format!("{interval} of these two processes"), Tone::Faint),
        ];
    }
    if !ratio.difference_shown {
        return [ratio_text(ratio.ratio).into(), format!("{interval}: no difference shown").into()];
    }
    let tone = if ratio.ratio > 1.0 { Tone::Good } else { Tone::Bad };
    [Cell::toned(ratio_text(ratio.ratio), tone), Cell::toned(interval, Tone::Faint)]
}

/// Three decimals, so that a ratio and its interval can be told from 1.
pub(crate) fn ratio_text(ratio: f64) -> String {
    format!("{ratio:.3}")
}
