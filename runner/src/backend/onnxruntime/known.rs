//! Do the library's kernels compute on this very processor what they should?
//!
//! A library picks its kernels by the processor it runs on, and some have been wrong: integer products that saturate on
//! processors without VNNI, tiles of AMX and rows of AVX-VNNI that were mixed up (onnxruntime 26324, 27671). No test of its
//! makers ran on this machine, so small operators whose results are known run once, and the answer is kept for as long
//! as library and processor are the same.

pub mod cache;
pub mod case;
pub mod graph;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::provider::{Kind, Provider};
use super::runtime::find::Library;
use super::spec::{SessionOptions, Source, Spec};
use super::worker::Launcher;
use crate::model::opened::{Model, ModelError};
use crate::model::tensor::{Data, Tensor};

use case::{CASES, Case, Known};

/// What the kernels of a library computed on this processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernels {
    /// Path of the library.
    pub library: String,
    /// Every operator tried.
    pub answers: Vec<Answer>,
    /// Why there are none.
    pub error: Option<String>,
    /// Seconds it took, then.
    pub seconds: f64,
}

/// What an operator computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The operator and its shape.
    pub name: String,
    /// Whether it computes with integers.
    pub is_integer: bool,
    /// Elements that are not what they should be.
    pub wrong: usize,
    /// All elements.
    pub of: usize,
    /// The largest error, in units of what is allowed.
    pub largest: f64,
}

impl Kernels {
    /// The operators that were wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.wrong > 0)
    }
}

/// Asks the library's CPU provider, in a worker.
pub fn ask(launcher: &Launcher, library: &Library) -> Kernels {
    let spec = Spec {
        library: library.clone(),
        provider: Provider::new(Kind::Cpu),
        session: SessionOptions { intra_op_threads: 1, inter_op_threads: 1, config: Default::default() },
        model: Source::Known,
        outputs: None,
        shapes: Default::default(),
        allow_fallback: false,
        verbose: false,
    };
    let start = Instant::now();
    let answers = launcher.load(&spec).and_then(|mut worker| answers(&mut worker));
    let (answers, error) = match answers {
        Ok(answers) => (answers, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let library = library.path.display().to_string();
    Kernels { library, answers, error, seconds: start.elapsed().as_secs_f64() }
}

/// Runs all operators once and looks at each result.
fn answers(model: &mut dyn Model) -> Result<Vec<Answer>, ModelError> {
    let known: Vec<(&Case, Known)> = CASES.iter().map(|case| (case, case.known())).collect();
    let inputs: Vec<Tensor> = known.iter().map(|(case, known)| known.input(case)).collect();
    let outputs = model.run(&inputs)?;
    known.iter().map(|(case, known)| answer(case, known, &outputs)).collect()
}

fn answer(case: &Case, known: &Known, outputs: &[Tensor]) -> Result<Answer, ModelError> {
    let missing = || ModelError::Failed(format!("{} gave no result of its type and size", case.name));
    let output = outputs.iter().find(|output| output.name == case.output()).ok_or_else(missing)?;
    let found: Vec<f64> = match &output.data {
        Data::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Data::U8(values) => values.iter().map(|&value| f64::from(value)).collect(),
        _ => return Err(missing()),
    };
    if found.len() != known.expected.len() {
        return Err(missing());
    }
    let errors = found.iter().zip(&known.expected).zip(&known.allowed);
    // NaN is wrong as well, and compares with nothing.
    let errors = errors.map(|((found, expected), allowed)| {
        let error = (found - expected).abs() / allowed;
        if error.is_nan() { f64::INFINITY } else { error }
    });
    let errors: Vec<f64> = errors.collect();
    Ok(Answer {
        name: case.name.to_owned(),
        is_integer: case.is_integer(),
        wrong: errors.iter().filter(|&&error| error > 1.0).count(),
        of: errors.len(),
        largest: errors.iter().copied().fold(0.0, f64::max).min(f64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::Fake;

    /// A runtime that computes everything right, but for what `spoil` does to it.
    fn asked(spoil: impl Fn(&Case, &mut Vec<f64>)) -> Vec<Answer> {
        let run = |inputs: &[Tensor]| {
            assert_eq!(inputs.len(), CASES.len());
            let output = |case: &Case| {
                let mut values = case.known().expected;
                spoil(case, &mut values);
                let data = if case.gives_levels() {
                    Data::U8(values.iter().map(|&value| value as u8).collect())
                } else {
                    Data::F32(values.iter().map(|&value| value as f32).collect())
                };
                Tensor { name: case.output(), shape: vec![values.len()], data }
            };
            Ok(CASES.iter().map(output).collect())
        };
        answers(&mut Fake::new(run)).unwrap()
    }

    #[test]
    fn right_answers_are_right_and_a_planted_wrong_one_is_named() {
        assert!(asked(|_, _| {}).iter().all(|answer| answer.wrong == 0 && answer.of > 0 && answer.largest <= 1.0));
        let planted = |case: &Case, values: &mut Vec<f64>| {
            if case.name.starts_with("QLinearConv 1x1") || case.name.starts_with("Gemm") {
                values[3] = if values[3] > 100.0 { values[3] - 50.0 } else { values[3] + 50.0 };
            }
        };
        let found = asked(planted);
        let wrong: Vec<_> = found.iter().filter(|answer| answer.wrong > 0).collect();
        let named: Vec<_> =
            wrong.iter().map(|answer| (answer.name.as_str(), answer.wrong, answer.is_integer)).collect();
        assert_eq!(named, [("QLinearConv 1x1", 1, true), ("Gemm f32", 1, false)]);
    }

    #[test]
    fn numbers_that_are_none_are_wrong_and_a_missing_output_is_an_error() {
        let found = asked(|case, values| {
            if !case.gives_levels() {
                values[0] = f64::NAN;
            }
        });
        assert!(found.iter().zip(&CASES).all(|(answer, case)| (answer.wrong == 1) != case.gives_levels()), "{found:?}");
        assert!(answers(&mut Fake::new(|_| Ok(vec![]))).is_err());
    }

    #[test]
    fn the_pairs_that_saturate_are_in_the_inputs() {
        for case in CASES.iter().filter(|case| case.is_integer()) {
            let known = case.known();
            let pairs = known.levels.iter().filter(|&&level| level == 255).count();
            let large = known.weights.iter().filter(|weight| weight.abs() > 120).count();
            assert!(pairs > known.levels.len() / 8 && large > known.weights.len() / 8, "{}", case.name);
        }
    }
}
