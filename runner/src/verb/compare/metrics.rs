//! Two outputs, number by number.
//!
//! NaN never compares as equal here and never vanishes in a maximum: every element that is not finite, on either side,
//! is counted, and any such count fails the comparison.

use crate::stats::ranking::{best, class_count};
use serde::Serialize;

use super::difference::{Difference, NonFinite, Side};
use super::tolerance::Tolerance;
use crate::input::{len, to_f64};
use crate::model::tensor::{Data, Tensor};

/// Classes needed before agreement of the best five means anything.
const CLASSES_FOR_TOP5: usize = 6;

/// How an output compares with its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Name of the output.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// Largest difference of the output from itself or of the reference from itself over repeated runs; allowed
    /// besides the tolerance.
    pub noise_floor: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Where it is.
    pub max_abs_at: Vec<usize>,
    /// Largest difference relative to the larger of the two elements.
    pub max_rel: f64,
    /// Root mean square of the difference, over the elements that are finite on both sides.
    pub rms: f64,
    /// Root mean square of the reference, the scale of the above.
    pub reference_rms: f64,
    /// Cosine of the angle between the two outputs as vectors; `None` where one is zero.
    pub cosine: Option<f64>,
    /// Elements whose difference exceeds tolerance and noise floor.
    pub beyond_tolerance: usize,
    /// Elements that are NaN, in the output and in the reference.
    pub nan: [usize; 2],
    /// Elements that are infinite, in the output and in the reference.
    pub infinite: [usize; 2],
    /// Agreement on classes, for outputs `[N, classes]`.
    pub classes: Option<ClassAgreement>,
}

/// Agreement of two classifiers' scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassAgreement {
    /// Images.
    pub images: usize,
    /// Images for which a side gave NaN or infinite scores: they have no best class, and agree on none.
    pub not_ranked: usize,
    /// Fraction of images with the same best class.
    pub top1: f64,
    /// Mean fraction of the best five classes that are shared; `None` below six classes.
    pub top5: Option<f64>,
    /// Images whose best class changed although the reference's margin exceeds what the tolerance allows.
    pub margin_flips: usize,
    /// Images whose best class changed within that margin: ties, as far as the tolerance can tell.
    pub ties: usize,
    /// Smallest margin between the best and the second-best class in the reference.
    pub smallest_margin: Option<f64>,
}

impl Metrics {
    /// Compares two tensors of equal shape; `choose` gives the tolerance for the reference's root mean square.
    pub fn of(found: &Tensor, reference: &Tensor, choose: impl Fn(f64) -> Tolerance, noise_floor: f64) -> Self {
        let (a, b) = (to_f64(&found.data), to_f64(&reference.data));
        let count = |values: &[f64], what: fn(f64) -> bool| values.iter().filter(|&&value| what(value)).count();
        let reference_rms = root_mean_square(&b);
        let tolerance = choose(reference_rms);
        let mut metrics = Metrics {
            name: found.name.clone(),
            shape: found.shape.clone(),
            tolerance,
            noise_floor,
            max_abs: 0.0,
            max_abs_at: Vec::new(),
            max_rel: 0.0,
            rms: 0.0,
            reference_rms,
            cosine: cosine(&a, &b),
            beyond_tolerance: 0,
            nan: [count(&a, f64::is_nan), count(&b, f64::is_nan)],
            infinite: [count(&a, f64::is_infinite), count(&b, f64::is_infinite)],
            classes: class_agreement(&a, &b, &found.shape, &tolerance, noise_floor),
        };
        let (mut finite, mut squares) = (0usize, 0.0);
        let mut worst = 0;
        for (index, (&a, &b)) in a.iter().zip(&b).enumerate() {
            if !(a.is_finite() && b.is_finite()) {
                continue;
            }
            let difference = distance(found, reference, index, (a, b));
            finite += 1;
            squares += difference * difference;
            if difference > metrics.max_abs {
                (metrics.max_abs, worst) = (difference, index);
            }
            if difference > 0.0 {
                metrics.max_rel = metrics.max_rel.max(difference / a.abs().max(b.abs()));
            }
            if difference > tolerance.allows(b) + noise_floor {
                metrics.beyond_tolerance += 1;
            }
        }
        metrics.rms = if finite == 0 { 0.0 } else { (squares / finite as f64).sqrt() };
        metrics.max_abs_at = unravel(worst, &found.shape);
        metrics
    }

    /// What is wrong; nothing where the outputs agree.
    pub fn differences(&self) -> Vec<Difference> {
        let output = || self.name.clone();
        let mut differences = Vec::new();
        for (what, [found, reference]) in [(NonFinite::Nan, self.nan), (NonFinite::Infinite, self.infinite)] {
            for (side, elements) in [(Side::Candidate, found), (Side::Reference, reference)] {
                let not_finite = || Difference::NotFinite { output: output(), side, what, elements };
                differences.extend((elements > 0).then(not_finite));
            }
        }
        differences.extend((self.beyond_tolerance > 0).then(|| Difference::BeyondTolerance {
            output: output(),
            elements: self.beyond_tolerance,
            total: self.shape.iter().product(),
            max_abs: self.max_abs,
            atol: self.tolerance.atol,
            rtol: self.tolerance.rtol,
        }));
        differences
    }
}

/// Largest absolute difference of two runs; infinite where a run holds what is not finite or the shapes differ.
pub fn largest_difference(first: &Tensor, second: &Tensor) -> f64 {
    if first.shape != second.shape || len(&first.data) != len(&second.data) {
        return f64::INFINITY;
    }
    let pairs = to_f64(&first.data).into_iter().zip(to_f64(&second.data)).enumerate();
    pairs
        .map(|(index, (a, b))| match distance(first, second, index, (a, b)) {
            // Infinities of one sign have no distance.
            _ if a == b && a.is_infinite() => 0.0,
            distance => distance,
        })
        .fold(0.0, |largest, difference| if difference.is_nan() { f64::INFINITY } else { difference.max(largest) })
}

/// Distance of two elements, `rounded` being both in f64, which beyond 2^53 no longer tells integers apart.
fn distance(first: &Tensor, second: &Tensor, index: usize, rounded: (f64, f64)) -> f64 {
    match (&first.data, &second.data) {
        (Data::I64(a), Data::I64(b)) => a[index].abs_diff(b[index]) as f64,
        _ => (rounded.0 - rounded.1).abs(),
    }
}

/// Root mean square of the finite elements.
pub fn root_mean_square(values: &[f64]) -> f64 {
    let finite = values.iter().filter(|value| value.is_finite());
    let (n, squares) = finite.fold((0usize, 0.0), |(n, squares), value| (n + 1, squares + value * value));
    if n == 0 { 0.0 } else { (squares / n as f64).sqrt() }
}

fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    let cosine = dot(a, b) / lengths;
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
}

fn class_agreement(
    a: &[f64],
    b: &[f64],
    shape: &[usize],
    tolerance: &Tolerance,
    noise_floor: f64,
) -> Option<ClassAgreement> {
    let classes = class_count(shape)?;
    let mut agreement = ClassAgreement {
        images: shape[0],
        not_ranked: 0,
        top1: 0.0,
        top5: None,
        margin_flips: 0,
        ties: 0,
        smallest_margin: None,
    };
    let mut shared = 0;
    for (a, b) in a.chunks_exact(classes).zip(b.chunks_exact(classes)) {
        let (Some(found), Some(expected)) = (best(a, 5), best(b, 5)) else {
            agreement.not_ranked += 1;
            continue;
        };
        let margin = b[expected[0]] - b[expected[1]];
        agreement.smallest_margin = Some(agreement.smallest_margin.map_or(margin, |least| least.min(margin)));
        shared += found.iter().filter(|class| expected.contains(class)).count();
        if found[0] == expected[0] {
            agreement.top1 += 1.0;
        } else if margin > tolerance.allows(b[expected[0]]) + tolerance.allows(b[found[0]]) + 2.0 * noise_floor {
            agreement.margin_flips += 1;
        } else {
            agreement.ties += 1;
        }
    }
    let images = shape[0] as f64;
    agreement.top1 /= images;
    agreement.top5 = (classes >= CLASSES_FOR_TOP5).then(|| shared as f64 / (5.0 * images));
    Some(agreement)
}

/// Position of the `index`-th element in a row-major tensor.
fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (at, &extent) in position.iter_mut().zip(shape).rev() {
        *at = index % extent.max(1);
        index /= extent.max(1);
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::precision::Precision;
    use crate::verb::compare::tolerance::{Numbers, ToleranceOverride};

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor { name: "logits".into(), shape: shape.to_vec(), data: Data::F32(values.to_vec()) }
    }

    fn metrics(shape: &[usize], found: &[f32], reference: &[f32], atol: f64) -> Metrics {
        let asked = ToleranceOverride { atol: Some(atol), rtol: Some(0.0) };
        let choose = |rms| Tolerance::choose(asked, Precision::F32, rms);
        Metrics::of(&tensor(shape, found), &tensor(shape, reference), choose, 0.0)
    }

    #[test]
    fn known_outputs_have_the_known_metrics() {
        let found = metrics(&[1, 4], &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 2.0], 0.1);
        assert_eq!((found.max_abs, found.max_abs_at.as_slice(), found.max_rel), (2.0, [0, 3].as_slice(), 0.5));
        assert_eq!((found.rms, found.beyond_tolerance), (1.0, 1));
        let cosine = (1.0 + 4.0 + 9.0 + 8.0) / (30.0_f64 * 18.0).sqrt();
        assert!((found.cosine.unwrap() - cosine).abs() < 1e-15);
        assert_eq!(found.differences().len(), 1);
    }

    #[test]
    fn of_equally_large_differences_the_first_is_named() {
        let found = metrics(&[2, 2], &[1.0, 2.5, 3.5, 4.5], &[1.0, 2.0, 3.0, 4.0], 0.1);
        assert_eq!((found.max_abs, found.max_abs_at.as_slice()), (0.5, [0, 1].as_slice()));
    }

    #[test]
    fn equal_outputs_have_no_differences() {
        let found = metrics(&[2, 2], &[1.0, -2.0, 0.0, 5.0], &[1.0, -2.0, 0.0, 5.0], 0.0);
        assert_eq!((found.max_abs, found.max_rel, found.rms), (0.0, 0.0, 0.0));
        assert!(found.differences().is_empty() && (found.cosine.unwrap() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn nan_and_infinity_fail_on_either_side_and_even_on_both() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (found, reference) in [([1.0, bad], [1.0, 2.0]), ([1.0, 2.0], [1.0, bad]), ([1.0, bad], [1.0, bad])] {
                let found = metrics(&[1, 2], &found, &reference, f64::MAX);
                assert!(!found.differences().is_empty(), "{found:?}");
                assert!(found.max_abs.is_finite() && found.rms.is_finite());
            }
        }
    }

    #[test]
    fn the_root_mean_square_is_over_the_elements_that_are_finite() {
        let found = metrics(&[1, 3], &[3.0, f32::NAN, 0.0], &[0.0, 1.0, 3.0], f64::MAX);
        assert_eq!(found.rms, 3.0);
    }

    #[test]
    fn where_no_image_is_ranked_there_is_no_smallest_margin() {
        let found = metrics(&[1, 3], &[0.0, f32::NAN, 1.0], &[0.0, 1.0, 2.0], 0.1);
        assert_eq!(found.classes.unwrap().smallest_margin, None);
    }

    #[test]
    fn a_flip_beyond_the_margin_is_told_from_a_tie() {
        let reference = [0.0, 5.0, 4.0, /**/ 0.0, 3.0, 2.999];
        let found = [0.0, 4.0, 5.0, /**/ 0.0, 2.999, 3.0];
        let agreement = metrics(&[2, 3], &found, &reference, 0.01).classes.unwrap();
        assert_eq!((agreement.top1, agreement.margin_flips, agreement.ties), (0.0, 1, 1));
        assert!((agreement.smallest_margin.unwrap() - 0.001).abs() < 1e-6);
        assert_eq!(agreement.top5, None, "three classes have no best five");
    }

    /// As [`metrics`], with this tolerance and this noise floor.
    fn noisy(found: &[f32], reference: &[f32], tolerance: [f64; 2], noise_floor: f64) -> Metrics {
        let [atol, rtol] = tolerance;
        let asked = ToleranceOverride { atol: Some(atol), rtol: Some(rtol) };
        let choose = |rms| Tolerance::choose(asked, Precision::F32, rms);
        let shape = [1, found.len()];
        Metrics::of(&tensor(&shape, found), &tensor(&shape, reference), choose, noise_floor)
    }

    #[test]
    fn an_element_may_differ_by_the_noise_floor_and_no_more() {
        let beyond = |difference: f32| noisy(&[1.0, 2.0 + difference], &[1.0, 2.0], [0.0; 2], 0.25).beyond_tolerance;
        assert_eq!([beyond(0.25), beyond(0.375)], [0, 1]);
        let added = |difference: f32| noisy(&[2.0 + difference], &[2.0], [0.25, 0.125], 0.25).beyond_tolerance;
        assert_eq!([added(0.75), added(0.875)], [0, 1], "besides both tolerances");
    }

    #[test]
    fn noise_may_move_both_classes_of_a_flip() {
        let flips = |margin: f32| {
            let found = noisy(&[0.0, 0.0, 1.0], &[0.0, margin, 0.0], [0.125, 0.0], 0.25);
            found.classes.unwrap().margin_flips
        };
        // 0.125 and 0.25 for the one class, as much for the other.
        assert_eq!([flips(0.75), flips(0.875)], [0, 1]);
    }

    #[test]
    fn a_flip_is_measured_by_the_tolerance_of_both_classes() {
        let flips = |second: f32| {
            let found = noisy(&[0.0, 0.0, 9.0], &[0.0, 8.0, second], [0.0, 0.125], 0.0);
            found.classes.unwrap().margin_flips
        };
        // An eighth of 8 for the one, and of 6.25 or 6 for the other.
        assert_eq!([flips(6.25), flips(6.0)], [0, 1]);
    }

    #[test]
    fn top_5_agreement_is_the_shared_fraction() {
        let reference: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let mut found = reference.clone();
        found.swap(5, 4);
        let agreement = metrics(&[1, 10], &found, &reference, 10.0).classes.unwrap();
        assert_eq!((agreement.top1, agreement.top5), (1.0, Some(0.8)));
    }

    #[test]
    fn the_best_classes_are_ordered_and_ties_go_to_the_lower_index() {
        assert_eq!(best(&[1.0, 3.0, 3.0, 0.0, 2.0], 3), Some(vec![1, 2, 4]));
        assert_eq!(best(&[1.0, 2.0], 5), Some(vec![1, 0]));
        assert_eq!(best(&[0.0, -0.0], 1), Some(vec![0]));
    }

    #[test]
    fn scores_that_are_not_finite_have_no_best_class_and_agree_on_none() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(best(&[f64::from(bad), 1.0], 2), None);
            assert_eq!(best(&[1.0, f64::from(bad)], 1), None);
            let scores = [1.0, 2.0, bad, 4.0, 5.0, 6.0];
            let agreement = metrics(&[2, 3], &scores, &scores, 0.1).classes.unwrap();
            assert_eq!((agreement.top1, agreement.not_ranked), (0.5, 1), "{bad}");
        }
    }

    #[test]
    fn large_integers_are_compared_exactly() {
        let of = |value| Tensor { name: "n".into(), shape: vec![1], data: Data::I64(vec![value]) };
        // By default integers are equal or not; of 2^60 a relative tolerance would allow much.
        let exact = |rms| Tolerance::of(Numbers::Levels(0.0), ToleranceOverride::default(), Precision::F32, rms);
        let found = Metrics::of(&of((1 << 60) + 1), &of(1 << 60), exact, 0.0);
        assert_eq!((found.beyond_tolerance, found.max_abs), (1, 1.0));
        assert_eq!(largest_difference(&of((1 << 60) + 1), &of(1 << 60)), 1.0);
    }

    #[test]
    fn integers_may_differ_by_as_much_as_was_asked_for() {
        let of = |values: &[i64]| Tensor { name: "n".into(), shape: vec![3], data: Data::I64(values.to_vec()) };
        let asked = ToleranceOverride { atol: Some(2.0), rtol: None };
        let choose = |rms| Tolerance::of(Numbers::Levels(0.0), asked, Precision::F32, rms);
        let found = |values| Metrics::of(&of(values), &of(&[5, 1 << 60, 7]), choose, 0.0);
        let (within, beyond) = (found(&[6, (1 << 60) + 2, 7]), found(&[6, (1 << 60) + 3, 7]));
        assert_eq!((within.beyond_tolerance, within.differences()), (0, vec![]));
        assert_eq!((beyond.beyond_tolerance, beyond.max_abs, beyond.max_abs_at), (1, 3.0, vec![1]));
    }

    #[test]
    fn a_run_that_is_not_finite_is_infinitely_far_from_any_other() {
        assert_eq!(largest_difference(&tensor(&[2], &[1.0, f32::NAN]), &tensor(&[2], &[1.0, 1.0])), f64::INFINITY);
        assert_eq!(largest_difference(&tensor(&[2], &[1.0, 2.0]), &tensor(&[1, 2], &[1.0, 2.0])), f64::INFINITY);
        assert_eq!(largest_difference(&tensor(&[1], &[f32::INFINITY]), &tensor(&[1], &[f32::INFINITY])), 0.0);
        assert_eq!(largest_difference(&tensor(&[2], &[1.0, 2.0]), &tensor(&[2], &[1.5, 1.0])), 1.0);
    }
}
