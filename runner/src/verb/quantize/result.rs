//! What became of a model in int8.

use resnext_builder::optimize::Optimized;
use serde::Serialize;

use crate::input::broken::Broken;
use crate::model::coverage::Coverage;
use crate::stats::proportion::loss_bound;

/// Version of the JSON written from [`Quantized`].
pub const SCHEMA_VERSION: u32 = 1;

/// An int8 file, and what it loses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantized {
    /// The model.
    pub model: String,
    /// The int8 file.
    pub output: String,
    /// Images that the ranges were measured on.
    pub calibrated_on: usize,
    /// What was rewritten, and what stays f32 and why.
    pub lowering: Optimized,
    /// Which multiplications run in integers; none where the provider does not tell.
    pub int8_coverage: Option<Coverage>,
    /// Whether too few do, where the target promises all.
    pub not_covered: bool,
    /// What it loses.
    pub accuracy: Accuracy,
    /// The largest loss, in points, that passes.
    pub max_loss_points: Option<f64>,
    /// Whether the loss may be larger than that.
    pub exceeded: bool,
    /// Images that could not be read.
    pub broken: Vec<Broken>,
}

/// Both files on the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Images.
    pub images: usize,
    /// Whether their classes are known; otherwise what the f32 file answers counts as right.
    pub labelled: bool,
    /// Images that the f32 file has right.
    pub right_f32: usize,
    /// Images that the int8 file has right.
    pub right_int8: usize,
    /// Images that only the f32 file has right.
    pub lost: usize,
    /// Images that only the int8 file has right.
    pub gained: usize,
    /// Points of top-1 lost.
    pub loss_points: f64,
    /// Points that the loss is below, with 95% confidence.
    pub loss_bound_points: f64,
}

impl Accuracy {
    /// From counts of images.
    pub fn of(images: usize, labelled: bool, right_f32: usize, lost: usize, gained: usize) -> Accuracy {
        let points = |images_lost: f64| 100.0 * images_lost / images.max(1) as f64;
        Accuracy {
            images,
            labelled,
            right_f32,
            right_int8: right_f32 + gained - lost,
            lost,
            gained,
            loss_points: points(lost as f64 - gained as f64),
            loss_bound_points: 100.0 * loss_bound(lost, gained, images),
        }
    }

    /// Whether the loss may be larger than `max_loss` points.
    pub fn exceeds(&self, max_loss: Option<f64>) -> bool {
        max_loss.is_some_and(|max_loss| self.loss_bound_points > max_loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_counted_in_points_and_judged_by_its_bound() {
        let found = Accuracy::of(300, true, 289, 3, 1);
        assert_eq!((found.right_int8, found.lost, found.gained), (287, 3, 1));
        assert!((found.loss_points - 2.0 / 3.0).abs() < 1e-12);
        assert!(found.loss_bound_points > found.loss_points && found.loss_bound_points < 2.5, "{found:?}");
        assert!(found.exceeds(Some(1.0)) && !found.exceeds(Some(3.0)) && !found.exceeds(None));
        // Few images show little, even where nothing is lost.
        assert!(Accuracy::of(10, true, 9, 0, 0).exceeds(Some(1.0)));
        assert!(!Accuracy::of(1000, true, 900, 0, 0).exceeds(Some(1.0)));
    }
}
