//! The comparison as a whole, against models that are closures.

use onnx_file::proto::tensor_proto::DataType;

use super::*;
use crate::model::fake::Fake;
use crate::model::file::tests::{file, value};
use crate::model::opened::Model;
use crate::model::tensor::Data;

fn model_file() -> ModelFile {
    file(vec![value("x", DataType::Float, &[-1, 3, 2, 2])], &[])
}

fn logits(rows: usize, change: impl Fn(usize) -> f32) -> Tensor {
    let data = (0..rows * 10).map(|i| (i % 10) as f32 * 0.5 - 2.0 + change(i)).collect();
    Tensor { name: "logits".into(), shape: vec![rows, 10], data: Data::F32(data) }
}

type Answer = Box<dyn Fn(usize, &[Tensor]) -> Result<Vec<Tensor>, ModelError>>;

/// A candidate whose answer depends on how often it was run.
fn candidate<'a>(file: &'a ModelFile, provider: &str, answer: Answer) -> Candidate<'a> {
    let answer = std::rc::Rc::new(answer);
    let name = provider.to_owned();
    let open = move |_: &std::path::Path| -> Result<Box<dyn Model + 'a>, ModelError> {
        let (answer, mut runs) = (answer.clone(), 0);
        let fake = Fake::new(move |inputs| {
            runs += 1;
            answer(runs, inputs)
        });
        Ok(Box::new(fake.on(&name)))
    };
    Candidate::of_file(file, provider, Box::new(open))
}

/// A model that a server has, and that takes `[N, 3, 2, side]`.
fn served<'a>(side: usize) -> Candidate<'a> {
    let open = move |_: &std::path::Path| -> Result<Box<dyn Model + 'a>, ModelError> {
        let fake = Fake::new(|inputs| Ok(vec![logits(inputs[0].shape[0], |_| 0.0)]));
        Ok(Box::new(fake.on("kserve").declaring("pixels", [None, Some(3), Some(2), Some(side)])))
    };
    Candidate { model: "resnext".into(), file: None, provider: "kserve".into(), open: Box::new(open) }
}

#[test]
fn a_model_that_has_no_file_here_is_compared_on_the_input_that_it_declares() {
    let file = model_file();
    let found = run(&mut [candidate(&file, "cpu", right()), served(2), served(3)], None);
    assert_eq!(statuses(&found), [Status::Reference, Status::Agrees, Status::NoResult]);
    assert_eq!((found.rows[1].model.as_str(), &found.rows[1].model_sha256), ("resnext", &None));
    assert!(matches!(found.rows[2].error, Some(ModelError::BadInput(_))), "{:?}", found.rows[2].error);
}

fn right() -> Answer {
    Box::new(|_, inputs| Ok(vec![logits(inputs[0].shape[0], |_| 0.0)]))
}

fn wrong(change: f32) -> Answer {
    Box::new(move |_, inputs| Ok(vec![logits(inputs[0].shape[0], |i| if i == 13 { change } else { 0.0 })]))
}

fn run(candidates: &mut [Candidate<'_>], reference: Option<&[Tensor]>) -> Report<Comparison> {
    run_within(ToleranceOverride::default(), candidates, reference)
}

fn run_within(
    tolerance: ToleranceOverride,
    candidates: &mut [Candidate<'_>],
    reference: Option<&[Tensor]>,
) -> Report<Comparison> {
    let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
    let request = Request {
        inputs: &[input],
        inputs_source: "noise".into(),
        reference: reference.map(|tensors| (tensors, "reference.npz".to_owned())),
        batch: 2,
        tolerance,
    };
    compare(candidates, &request, &mut |_| {}).0
}

fn statuses(comparison: &Comparison) -> Vec<Status> {
    comparison.rows.iter().map(|row| row.status).collect()
}

#[test]
fn providers_that_compute_the_same_agree_and_one_that_does_not_differs() {
    let file = model_file();
    let found = run(
        &mut [
            candidate(&file, "cpu", right()),
            candidate(&file, "openvino", wrong(1e-5)),
            candidate(&file, "cuda", wrong(0.1)),
        ],
        None,
    );
    assert_eq!(statuses(&found), [Status::Reference, Status::Agrees, Status::Differs]);
    assert!(found.mismatch() && found.errors().count() == 0);
    assert_eq!(found.rows_to_search(), Some((0, 2)), "where the divergence is, not between the first two");
    assert!(found.reference.as_deref().unwrap().starts_with("cpu "));
    let differing = &found.rows[2].outputs[0];
    assert_eq!((differing.max_abs_at.as_slice(), differing.beyond_tolerance), ([1, 3].as_slice(), 1));
    assert_eq!(found.input_shape, [2, 3, 2, 2]);
}

#[test]
fn a_provider_that_crashes_is_a_row_and_the_others_are_compared_with_the_next() {
    let file = model_file();
    let crash: Answer = Box::new(|_, _| Err(ModelError::Crashed("signal 4 (SIGILL)".into())));
    let found = run(
        &mut [candidate(&file, "openvino", crash), candidate(&file, "cpu", right()), candidate(&file, "cuda", right())],
        None,
    );
    assert_eq!(statuses(&found), [Status::NoResult, Status::Reference, Status::Agrees]);
    assert!(found.rows[0].loaded.is_some(), "it had loaded before it crashed");
    assert!(!found.mismatch());
    assert_eq!((found.errors().count(), found.rows_to_search()), (1, Some((1, 2))));
    assert!(found.notes[0].to_string().contains("compared against cpu"), "{:?}", found.notes);
}

#[test]
fn a_candidate_that_cannot_be_opened_is_a_row_and_with_it_alone_there_is_no_reference() {
    let file = model_file();
    let open = |_: &std::path::Path| Err(ModelError::Unavailable("no library".into()));
    let found = run(&mut [Candidate::of_file(&file, "cuda", Box::new(open))], None);
    assert_eq!(statuses(&found), [Status::NoResult]);
    assert_eq!((found.reference.as_deref(), found.mismatch(), found.rows_to_search()), (None, false, None));
}

#[test]
fn nan_and_infinity_fail_even_where_both_sides_have_them() {
    let file = model_file();
    for bad in [f32::NAN, f32::INFINITY] {
        let found = run(&mut [candidate(&file, "cpu", wrong(bad)), candidate(&file, "openvino", wrong(bad))], None);
        assert_eq!(statuses(&found), [Status::Reference, Status::Differs]);
        assert!(found.mismatch() && !found.rows[0].failures.is_empty());
        let alone = run(&mut [candidate(&file, "cpu", wrong(bad))], None);
        assert!(alone.mismatch(), "{bad} alone");
    }
}

#[test]
fn a_missing_output_an_added_one_and_another_shape_fail() {
    let file = model_file();
    let two: Answer = Box::new(|_, inputs| {
        let logits = logits(inputs[0].shape[0], |_| 0.0);
        Ok(vec![logits.clone(), Tensor { name: "features".into(), ..logits }])
    });
    let narrow: Answer = Box::new(|_, inputs| {
        let rows = inputs[0].shape[0];
        Ok(vec![Tensor { name: "logits".into(), shape: vec![rows, 5], data: Data::F32(vec![0.0; rows * 5]) }])
    });
    let found = run(&mut [candidate(&file, "cpu", two), candidate(&file, "openvino", right())], None);
    assert_eq!(found.rows[1].failures, [Difference::Missing { output: "features".into() }]);
    let found = run(&mut [candidate(&file, "cpu", right()), candidate(&file, "openvino", narrow)], None);
    assert!(
        matches!(&found.rows[1].failures[0], Difference::Shape { found, .. } if *found == [2, 5]),
        "{:?}",
        found.rows[1].failures
    );
    assert_eq!(found.rows[1].status, Status::Differs);
}

#[test]
fn the_noise_floor_excuses_what_it_explains_and_a_provider_beyond_it_is_not_repeatable() {
    let file = model_file();
    let noisy = |size: f32| -> Answer {
        Box::new(move |runs, inputs| Ok(vec![logits(inputs[0].shape[0], |_| if runs > 1 { size } else { 0.0 })]))
    };
    // Beyond the tolerance of 1e-4 of the value, but the provider is as far from itself.
    let found = run(&mut [candidate(&file, "cpu", right()), candidate(&file, "cuda", noisy(1e-4))], None);
    assert_eq!(found.rows[1].status, Status::Agrees);
    assert!(found.rows[1].outputs[0].noise_floor > 5e-5);
    let found = run(&mut [candidate(&file, "cpu", right()), candidate(&file, "cuda", noisy(0.5))], None);
    assert_eq!(found.rows[1].status, Status::NotRepeatable);
    assert!(found.mismatch());
}

/// An answer that is off by `size` every first, or every second, time.
fn off(size: f32, first: bool) -> Answer {
    Box::new(move |runs, inputs| {
        let now = (runs % 2 == 1) == first;
        Ok(vec![logits(inputs[0].shape[0], |_| if now { size } else { 0.0 })])
    })
}

#[test]
fn the_noise_of_either_side_excuses_a_difference_of_its_size() {
    let file = model_file();
    // The root mean square of the logits is 1.4, and twice a ten-thousandth of it is beyond what most elements may
    // differ by, but no more than what a provider may differ from itself by.
    let size = 1.9e-4;
    let steady = run(&mut [candidate(&file, "cpu", right()), candidate(&file, "cuda", wrong_everywhere(size))], None);
    assert_eq!(steady.rows[1].status, Status::Differs, "without noise nothing excuses it");
    for noisy in [[off(size, true), right()], [right(), off(size, true)]] {
        let [reference, other] = noisy;
        let found = run(&mut [candidate(&file, "cpu", reference), candidate(&file, "cuda", other)], None);
        assert_eq!(statuses(&found), [Status::Reference, Status::Agrees], "{:?}", found.rows[1].failures);
        let floor = found.rows[1].outputs[0].noise_floor;
        assert!((floor - f64::from(size)).abs() < 1e-6, "{floor}");
    }
}

#[test]
fn without_any_tolerance_equal_outputs_agree() {
    let file = model_file();
    let none = ToleranceOverride { atol: Some(0.0), rtol: Some(0.0) };
    let found = run_within(none, &mut [candidate(&file, "cpu", right()), candidate(&file, "cuda", right())], None);
    assert_eq!(statuses(&found), [Status::Reference, Status::Agrees]);
    let found = run_within(none, &mut [candidate(&file, "cpu", right()), candidate(&file, "cuda", wrong(1e-6))], None);
    assert_eq!(statuses(&found), [Status::Reference, Status::Differs]);
}

fn wrong_everywhere(change: f32) -> Answer {
    Box::new(move |_, inputs| Ok(vec![logits(inputs[0].shape[0], |_| change)]))
}

#[test]
fn given_outputs_are_the_reference_and_every_candidate_is_compared_with_them() {
    let file = model_file();
    let reference = [logits(2, |_| 0.0)];
    let found =
        run(&mut [candidate(&file, "cpu", right()), candidate(&file, "openvino", wrong(0.1))], Some(&reference));
    assert_eq!(statuses(&found), [Status::Agrees, Status::Differs]);
    assert_eq!(found.reference.as_deref(), Some("reference.npz"));
}

#[test]
fn outputs_of_other_names_are_paired_by_position() {
    let file = model_file();
    let renamed: Answer =
        Box::new(|_, inputs| Ok(vec![Tensor { name: "495".into(), ..logits(inputs[0].shape[0], |_| 0.0) }]));
    let found = run(&mut [candidate(&file, "cpu", right()), candidate(&file, "openvino", renamed)], None);
    assert_eq!(found.rows[1].status, Status::Agrees);
}

#[test]
fn different_libraries_are_told() {
    let loaded = |provider: &str, version: &str| {
        let fake = Fake::new(|_| Ok(vec![])).on(provider);
        Loaded { library_version: version.into(), ..fake.loaded }
    };
    let (cpu, cuda) = (loaded("cpu", "1.32.0"), loaded("cuda", "1.31.1"));
    assert!(Note::library([&cpu, &cuda].into_iter()).unwrap().to_string().contains("cpu 1.32.0, cuda 1.31.1"));
    assert_eq!(Note::library([&cpu, &cpu].into_iter()), None);
    assert_eq!(Note::library([].into_iter()), None);
}

#[test]
fn a_candidate_that_gave_no_result_is_no_mismatch_and_a_reference_with_failures_is_one() {
    let file = model_file();
    let plain = run(&mut [candidate(&file, "cpu", right())], None);
    let failure = Difference::Missing { output: "logits".into() };
    for (status, failures, mismatch) in [
        (Status::Agrees, vec![], false),
        (Status::NoResult, vec![], false),
        (Status::Reference, vec![], false),
        (Status::Differs, vec![], true),
        (Status::NotRepeatable, vec![], true),
        (Status::Reference, vec![failure.clone()], true),
        (Status::NoResult, vec![failure], false),
    ] {
        let mut found = plain.result.clone();
        (found.rows[0].status, found.rows[0].failures) = (status, failures);
        assert_eq!(found.mismatch(), mismatch, "{status:?} {:?}", found.rows[0].failures);
    }
}
