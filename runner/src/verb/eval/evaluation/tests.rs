//! The evaluation as a whole, on images whose colour is their class and models that look at the colour.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use onnx_file::metadata::Key;
use onnx_file::proto::tensor_proto::DataType;

use super::*;
use crate::input::broken::Defect;
use crate::model::fake::Fake;
use crate::model::file::ModelFile;
use crate::model::file::tests::{file, value};
use crate::model::opened::{Model, ModelError};
use crate::model::tensor::{Data, Tensor};
use crate::verb::eval::classes::Classes;
use crate::verb::eval::labelled::Labelled;
use crate::verb::eval::tally::Cell;

const LABELS: &str = r#"["red","green","blue","grey","pink","teal"]"#;

fn model_file(resize: u32) -> ModelFile {
    model_of(resize, -1, LABELS)
}

/// A model that takes `batch` images at once, any number where it is negative.
fn model_of(resize: u32, batch: i64, labels: &str) -> ModelFile {
    let preprocess =
        format!(r#"{{"resize":{resize},"crop":4,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}}"#);
    let properties = [(Key::Preprocess, preprocess.as_str()), (Key::Labels, labels)];
    file(vec![value("x", DataType::Float, &[batch, 3, 4, 4])], &properties)
}

/// Ten images each of red, green and blue; one of them is broken.
fn images(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (name, colour) in [("red", [250, 10, 10]), ("green", [10, 250, 10]), ("blue", [10, 10, 250])] {
        std::fs::create_dir(folder.join(name)).unwrap();
        for index in 0..10 {
            let path = folder.join(name).join(format!("{index}.png"));
            RgbImage::from_pixel(8 + index, 9, Rgb(colour)).save(&path).unwrap();
            paths.push(path);
        }
    }
    std::fs::write(folder.join("green/3.png"), b"broken").unwrap();
    paths
}

/// Scores by the mean of each channel; `blind` takes blue for red.
fn look(inputs: &[Tensor], blind: bool) -> Vec<Tensor> {
    let Data::F32(values) = &inputs[0].data else { panic!("f32 input") };
    let mut scores = Vec::new();
    for image in values.chunks(48) {
        let mean = |channel: usize| image[16 * channel..16 * (channel + 1)].iter().sum::<f32>() / 16.0;
        let blue = mean(2);
        let [red, blue] = if blind { [mean(0) + 2.0 * blue, 0.0] } else { [mean(0), blue] };
        scores.extend([red, mean(1), blue, -1.0, -2.0, -3.0]);
    }
    vec![Tensor { name: "logits".into(), shape: vec![inputs[0].shape[0], 6], data: Data::F32(scores) }]
}

fn candidate(file: &ModelFile, blind: bool, fail_at: usize) -> Candidate<'_> {
    let open = move |_: &Path| -> Result<Box<dyn Model>, ModelError> {
        let mut runs = 0;
        Ok(Box::new(Fake::new(move |inputs| {
            runs += 1;
            if runs == fail_at { Err(ModelError::TimedOut("60 s".into())) } else { Ok(look(inputs, blind)) }
        })))
    };
    Candidate::of_file(file, "cpu", Box::new(open))
}

fn evaluate(folder: &Path, candidates: &mut [Candidate<'_>]) -> Report<Evaluation> {
    let classes: Vec<Classes> =
        candidates.iter().map(|candidate| Classes::of(candidate.file.unwrap()).unwrap()).collect();
    let datasets = Dataset::for_models(folder, None, &classes).unwrap();
    let request = Request { datasets: datasets.iter().collect(), batch: 4, exif: Exif::Ignore };
    eval(candidates, &request, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn accuracy_classes_and_broken_images_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let file = model_file(4);
    let found = evaluate(folder.path(), &mut [candidate(&file, true, 99)]);
    let one = &found.candidates[0];
    assert_eq!((found.images, one.images), (30, 29));
    let top1 = one.top1.unwrap();
    assert_eq!((top1.successes, top1.trials), (19, 29));
    assert!(top1.interval[0] < top1.proportion && top1.proportion < top1.interval[1]);
    assert_eq!(one.top5.unwrap().successes, 29);
    assert_eq!(found.broken.len(), 1);
    assert!(found.broken[0].path.ends_with("3.png") && matches!(found.broken[0].reason, Defect::UnknownFormat { .. }));
    let red = &one.classes[0];
    assert_eq!((red.label.as_deref(), red.images, red.right, red.predicted), (Some("red"), 10, 10, 20));
    assert!(one.confusion.contains(&Cell { actual: 2, predicted: 0, images: 10 }));
    assert!(found.time.prepare.decode_s > 0.0 && found.time.images_per_second > 0.0);
}

#[test]
fn two_models_are_compared_image_by_image_even_with_different_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let (first, second) = (model_file(4), model_file(6));
    let found = evaluate(folder.path(), &mut [candidate(&first, false, 99), candidate(&second, true, 99)]);
    let pair = &found.pairs[0];
    assert_eq!((pair.mcnemar.only_first, pair.mcnemar.only_second), (10, 0));
    assert!(pair.mcnemar.difference_shown);
    assert!((pair.agreement.unwrap() - 19.0 / 29.0).abs() < 1e-12);
    assert_eq!(pair.differences.len(), 10);
    assert!(pair.differences.iter().all(|d| d.path.contains("blue") && (d.class, d.first, d.second) == (2, 2, 0)));
    assert_eq!(found.candidates[0].top1.unwrap().proportion, 1.0);
}

#[test]
fn providers_of_one_model_and_a_model_prepared_otherwise_each_see_their_own_images() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let (first, second) = (model_file(4), model_file(6));
    let mut candidates = [candidate(&first, false, 99), candidate(&second, true, 99), candidate(&first, true, 99)];
    let found = evaluate(folder.path(), &mut candidates);
    let right: Vec<usize> = found.candidates.iter().map(|one| one.top1.unwrap().successes).collect();
    assert_eq!((right, found.pairs.len()), (vec![29, 19, 19], 2));
    assert_eq!(found.pairs[1].candidate, 2);
}

#[test]
fn a_provider_that_fails_midway_keeps_its_count_and_the_other_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let file = model_file(4);
    let found = evaluate(folder.path(), &mut [candidate(&file, false, 3), candidate(&file, false, 99)]);
    assert_eq!(found.candidates[0].images, 8);
    assert!(matches!(found.candidates[0].error, Some(ModelError::TimedOut(_))));
    assert_eq!((found.candidates[1].images, found.errors().count()), (29, 1));
    let alone = evaluate(folder.path(), &mut [candidate(&file, false, 1)]);
    assert_eq!(alone.candidates[0].top1, None);
}

#[test]
fn classes_beyond_the_models_are_an_error_not_a_wrong_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.png");
    RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(&path).unwrap();
    let file = model_file(4);
    let dataset = Dataset {
        folder: folder.path().to_owned(),
        images: vec![Labelled { path, class: 6 }],
        notes: vec![],
        supposed: None,
    };
    let request = Request { datasets: vec![&dataset], batch: 4, exif: Exif::Ignore };
    let mut candidates = [candidate(&file, false, 99)];
    let found = eval(&mut candidates, &request, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(found.candidates[0].error.as_ref().unwrap().to_string().contains("6 classes"));
}

#[test]
fn stopping_keeps_what_was_judged() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let file = model_file(4);
    let dataset = Dataset::open(folder.path(), None, &Classes::of(&file).unwrap()).unwrap();
    let request = Request { datasets: vec![&dataset], batch: 4, exif: Exif::Ignore };
    let stop = AtomicBool::new(false);
    let mut candidates = [candidate(&file, false, 99)];
    let found = eval(&mut candidates, &request, &stop, &mut |progress| {
        stop.store(progress.done >= 10, Ordering::Relaxed);
    });
    let found = found.unwrap();
    assert!(found.interrupted && found.candidates[0].images == 10, "{}", found.candidates[0].images);
}

/// As [`candidate`], but `change` has the scores of each image, and the sizes of the batches are kept.
fn changed<'a>(
    file: &'a ModelFile,
    sizes: &'a std::cell::RefCell<Vec<usize>>,
    change: impl Fn(&mut [f32]) + Copy + 'a,
) -> Candidate<'a> {
    let open = move |_: &Path| -> Result<Box<dyn Model + 'a>, ModelError> {
        Ok(Box::new(Fake::new(move |inputs| {
            sizes.borrow_mut().push(inputs[0].shape[0]);
            let mut outputs = look(inputs, false);
            let Data::F32(scores) = &mut outputs[0].data else { panic!("f32 scores") };
            scores.chunks_mut(6).for_each(change);
            Ok(outputs)
        })))
    };
    Candidate::of_file(file, "cpu", Box::new(open))
}

#[test]
fn a_model_that_gives_scores_that_are_not_finite_has_failed_and_has_no_accuracy() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let (file, sizes) = (model_file(4), Default::default());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        // Of blue images alone, and in a class that would not be the best one.
        let spoil = move |scores: &mut [f32]| scores[5] = if scores[2] > 0.5 { bad } else { scores[5] };
        let found = evaluate(folder.path(), &mut [candidate(&file, false, 99), changed(&file, &sizes, spoil)]);
        let (good, failed) = (&found.candidates[0], &found.candidates[1]);
        assert!(found.model_failed() && good.not_finite.is_empty() && good.top1.is_some());
        assert_eq!((failed.images, failed.not_finite.len()), (19, 10), "{bad}");
        assert!(failed.not_finite.iter().all(|path| path.contains("blue")), "{:?}", failed.not_finite);
        assert_eq!((failed.top1, failed.top5, failed.classes.len()), (None, None, 0));
        assert!(found.pairs.is_empty(), "no agreement with a model that failed");
    }
}

#[test]
fn each_model_is_judged_by_its_own_labels_and_agreement_is_by_name() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let (first, sizes) = (model_file(4), Default::default());
    let second = model_of(4, -1, r#"["blue","teal","red","grey","green","pink"]"#);
    let reorder = |scores: &mut [f32]| {
        let [red, green, blue, grey, pink, teal] = scores[..] else { panic!("six scores") };
        scores.copy_from_slice(&[blue, teal, red, grey, green, pink]);
    };
    let mut candidates = [candidate(&first, false, 99), changed(&second, &sizes, reorder), candidate(&first, true, 99)];
    let found = evaluate(folder.path(), &mut candidates);
    assert_eq!(found.candidates[1].top1.unwrap().proportion, 1.0);
    assert_eq!(found.candidates[1].classes[0].label.as_deref(), Some("blue"));
    assert_eq!((found.pairs[0].images, found.pairs[0].agreement), (29, Some(1.0)));
    let mut turned = [changed(&second, &sizes, reorder), candidate(&first, true, 99)];
    let found = evaluate(folder.path(), &mut turned);
    let pair = &found.pairs[0];
    assert_eq!((pair.differences.len(), pair.mcnemar.only_first, pair.mcnemar.only_second), (10, 10, 0));
    let difference = &pair.differences[0];
    assert_eq!(
        (difference.class, difference.first, difference.second),
        (0, 0, 0),
        "blue, and red as the second counts"
    );
    assert!(difference.first_right && !difference.second_right);
}

#[test]
fn a_fixed_batch_is_fed_full_batches_and_only_the_last_is_filled_up() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let (fixed, open) = (model_of(4, 12, LABELS), model_file(4));
    let (of_fixed, of_open) = (Default::default(), Default::default());
    let mut evaluated = 0;
    let mut candidates = [changed(&fixed, &of_fixed, |_| ()), changed(&open, &of_open, |_| ())];
    let found = evaluate(folder.path(), &mut candidates);
    for one in &found.candidates {
        evaluated += one.images;
        assert_eq!(one.top1.unwrap().proportion, 1.0);
    }
    assert_eq!((evaluated, found.pairs[0].images), (58, 29));
    assert_eq!(*of_fixed.borrow(), [12, 12, 12], "29 images");
    assert_eq!(*of_open.borrow(), [4, 4, 4, 4, 4, 4, 4, 1]);
}

#[test]
fn where_no_image_can_be_read_nothing_was_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    for path in images(folder.path()) {
        std::fs::write(path, b"broken").unwrap();
    }
    let file = model_file(4);
    let found = evaluate(folder.path(), &mut [candidate(&file, false, 99)]);
    assert_eq!((found.broken.len(), found.candidates[0].top1), (30, None));
    assert!(found.nothing_read());
    let one = tempfile::tempdir().unwrap();
    images(one.path());
    assert!(!evaluate(one.path(), &mut [candidate(&file, false, 99)]).nothing_read());
}

#[test]
fn a_stop_that_comes_after_the_last_image_interrupts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let file = model_file(4);
    let dataset = Dataset::open(folder.path(), None, &Classes::of(&file).unwrap()).unwrap();
    let request = Request { datasets: vec![&dataset], batch: 4, exif: Exif::Ignore };
    let stop = AtomicBool::new(false);
    let mut candidates = [candidate(&file, false, 99)];
    let found = eval(&mut candidates, &request, &stop, &mut |progress| {
        stop.store(progress.done == progress.total, Ordering::Relaxed);
    });
    assert!(!found.unwrap().interrupted);
}
