//! How far two outputs may differ: by what was asked for, or by the coarser precision of the two.

use serde::Serialize;

use crate::model::file::ModelFile;
use crate::model::opened::Loaded;
use crate::model::precision::Precision;
use crate::model::tensor::{Data, Tensor};
use onnx_file::meaning::Meaning;

/// What the user asked for; `None` leaves the choice to the precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ToleranceOverride {
    /// Absolute tolerance, in the unit of the output.
    pub atol: Option<f64>,
    /// Relative tolerance.
    pub rtol: Option<f64>,
}

/// An element agrees where `|a - b| <= atol + rtol |b| + noise floor`, b being the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Absolute tolerance, in the unit of the output.
    pub atol: f64,
    /// Relative tolerance.
    pub rtol: f64,
    /// Precision that the defaults were chosen by.
    pub precision: Precision,
}

/// Default tolerance of a precision: relative to the element, and, for the absolute part, to the root mean square of
/// the whole output, since an output's small elements are sums of large ones.
///
/// ResNeXt-50 and -101 in f32 differ between providers by about 3e-6 of the root mean square at most.
fn default(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::Tf32 | Precision::F16 => 1e-2,
        Precision::Bf16 => 8e-2,
        Precision::Int8 => 0.25,
    }
}

/// What an output's numbers are, as far as it matters to how exact they can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// Sums of products.
    Any,
    /// Numbers from 0 to 1 that a softmax or a sigmoid made: what they are exact to is a share of 1, however small they
    /// are themselves.
    Probabilities,
    /// Integers, with the difference that is allowed.
    Levels(f64),
}

impl Numbers {
    /// Of `output`, whose graph says that they mean this.
    pub fn of(output: &Tensor, meaning: Meaning) -> Numbers {
        match (&output.data, meaning) {
            // Quantized numbers are rounded: a level is what the last digit is to others.
            (Data::U8(_) | Data::I8(_), _) => Numbers::Levels(1.0),
            (Data::I64(_) | Data::I32(_) | Data::Bool(_), _) => Numbers::Levels(0.0),
            (_, Meaning::Probabilities | Meaning::IndependentProbabilities) => Numbers::Probabilities,
            _ => Numbers::Any,
        }
    }
}

/// What two right probabilities may lie apart however small they are: so many of the largest steps near 1, since a
/// sigmoid adds, exponentiates and divides, and its argument has errors of its own.
///
/// Of coarse steps only a few: among a thousand classes most probabilities are near 0.001, and what allows more than
/// the largest of them tells nothing apart.
fn probability_floor(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 64.0 * f64::from(f32::EPSILON),
        Precision::Tf32 | Precision::F16 => 4.0 * 2f64.powi(-10),
        Precision::Bf16 => 2.0 * 2f64.powi(-7),
        // Of 256 levels.
        Precision::Int8 => 2.0 * 2f64.powi(-8),
    }
}

impl Tolerance {
    /// The tolerance for an output whose reference has the given root mean square.
    pub fn choose(asked: ToleranceOverride, precision: Precision, root_mean_square: f64) -> Self {
        let factor = default(precision);
        Tolerance {
            atol: asked.atol.unwrap_or(factor * root_mean_square),
            rtol: asked.rtol.unwrap_or(factor),
            precision,
        }
    }

    /// The tolerance for numbers of this kind, whose reference has the given root mean square.
    pub fn of(numbers: Numbers, asked: ToleranceOverride, precision: Precision, root_mean_square: f64) -> Self {
        let chosen = Tolerance::choose(asked, precision, root_mean_square);
        match numbers {
            Numbers::Any => chosen,
            Numbers::Probabilities => {
                let atol = chosen.atol.max(probability_floor(precision));
                Tolerance { atol: asked.atol.unwrap_or(atol), ..chosen }
            }
            Numbers::Levels(atol) => {
                Tolerance { atol: asked.atol.unwrap_or(atol), rtol: asked.rtol.unwrap_or(0.0), precision }
            }
        }
    }

    /// Largest difference from `reference` that agrees, noise floor aside.
    pub fn allows(&self, reference: f64) -> f64 {
        self.atol + self.rtol * reference.abs()
    }
}

/// The coarsest arithmetic in play: of the file, where there is one, and of the options the provider runs with.
pub fn precision(file: Option<&ModelFile>, loaded: Option<&Loaded>) -> Precision {
    let options = loaded.into_iter().flat_map(|loaded| &loaded.options);
    options
        .filter_map(|(key, value)| Precision::of_option(key, value))
        .fold(file.map_or(Precision::F32, |file| file.precision), Precision::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_wins_over_the_precisions_default() {
        let chosen = Tolerance::choose(ToleranceOverride { atol: Some(0.5), rtol: None }, Precision::F16, 100.0);
        assert_eq!((chosen.atol, chosen.rtol), (0.5, 1e-2));
        let chosen = Tolerance::choose(ToleranceOverride::default(), Precision::F32, 2.0);
        assert_eq!((chosen.atol, chosen.rtol), (2e-4, 1e-4));
        assert!((chosen.allows(-10.0) - 1.2e-3).abs() < 1e-15);
    }

    #[test]
    fn probabilities_are_exact_to_steps_near_one_however_small_they_are() {
        let of = |numbers, atol| Tolerance::of(numbers, ToleranceOverride { atol, rtol: None }, Precision::F32, 1e-6);
        let probabilities = of(Numbers::Probabilities, None);
        assert!(probabilities.allows(1e-9) > 2.1e-7, "what onnxruntime differs by from itself, near 0");
        assert!(probabilities.allows(1e-9) < 1e-5 && probabilities.allows(0.5) < 1e-4, "and no more is allowed");
        assert!(of(Numbers::Any, None).allows(1e-9) < 2.1e-7);
        assert_eq!(of(Numbers::Probabilities, Some(1e-9)).atol, 1e-9);
    }

    #[test]
    fn a_permuted_softmax_of_a_thousand_classes_is_beyond_every_precision() {
        const CLASSES: usize = 1000;
        // Twelve uniform numbers make a logit that is spread as a network's are.
        let mut uniform = crate::input::noise::Noise::new(3).map(f64::from);
        let exponentials: Vec<f64> = (0..CLASSES).map(|_| uniform.by_ref().take(12).sum::<f64>().exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        let softmax: Vec<f64> = exponentials.iter().map(|value| value / sum).collect();
        let rms = (softmax.iter().map(|value| value * value).sum::<f64>() / CLASSES as f64).sqrt();
        for precision in [Precision::F32, Precision::Tf32, Precision::F16, Precision::Bf16, Precision::Int8] {
            let allowed = Tolerance::of(Numbers::Probabilities, ToleranceOverride::default(), precision, rms);
            let beyond = |shift: usize| {
                let other = |class: usize| softmax[(class + shift) % CLASSES];
                (0..CLASSES)
                    .filter(|&class| (other(class) - softmax[class]).abs() > allowed.allows(softmax[class]))
                    .count()
            };
            assert!(beyond(0) == 0 && beyond(1) > 0, "{precision:?}: {allowed:?}");
        }
    }

    #[test]
    fn integers_are_compared_as_integers() {
        let tensor = |data| Tensor { name: "y".into(), shape: vec![1], data };
        let of = |data| Numbers::of(&tensor(data), Meaning::Logits);
        let allows = |numbers| Tolerance::of(numbers, ToleranceOverride::default(), Precision::Int8, 1e6).allows(200.0);
        assert_eq!(allows(of(Data::I64(vec![200]))), 0.0);
        assert_eq!(allows(of(Data::U8(vec![200]))), 1.0, "one level, and not a share of 200");
    }

    #[test]
    fn the_coarsest_of_file_and_options_is_in_play() {
        let with = |options: &[(&str, &str)]| {
            let options = options.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            Loaded { options, ..crate::model::fake::Fake::new(|_| Ok(vec![])).loaded }
        };
        let of_file = |precision| ModelFile { precision, ..crate::model::file::tests::file(vec![], &[]) };
        let (full, half) = (of_file(Precision::F32), of_file(Precision::F16));
        let tf32 = with(&[("use_tf32", "1")]);
        let both = with(&[("use_tf32", "1"), ("precision", "bf16")]);
        assert_eq!(precision(Some(&full), None), Precision::F32);
        assert_eq!(precision(Some(&full), Some(&with(&[]))), Precision::F32);
        assert_eq!(precision(Some(&full), Some(&tf32)), Precision::Tf32);
        assert_eq!(precision(Some(&full), Some(&both)), Precision::Bf16);
        assert_eq!(precision(Some(&half), Some(&tf32)), Precision::F16, "the file's own is coarser");
    }

    #[test]
    fn options_that_coarsen_arithmetic_are_recognised() {
        for (key, value, expected) in [
            ("use_tf32", "1", Some(Precision::Tf32)),
            ("use_tf32", "0", None),
            ("trt_fp16_enable", "1", Some(Precision::F16)),
            ("trt_fp16_enable", "false", None),
            ("precision", "bf16", Some(Precision::Bf16)),
            ("precision", "FP16", Some(Precision::F16)),
            ("load_config", r#"{"CPU":{"INFERENCE_PRECISION_HINT":"f32"}}"#, None),
            ("load_config", r#"{"CPU":{"INFERENCE_PRECISION_HINT":"bf16"}}"#, Some(Precision::Bf16)),
            ("intra_op_threads", "1", None),
        ] {
            assert_eq!(Precision::of_option(key, value), expected, "{key}={value}");
        }
    }
}
