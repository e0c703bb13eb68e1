//! The evaluation as a whole, on pictures whose colour is their class and models that look at the colour.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use onnx_file::proto::tensor_proto::DataType;

use super::*;
use crate::fake::Fake;
use crate::metadata::ModelFile;
use crate::metadata::tests::{file, value};
use crate::tensor::{Data, Tensor};

fn model_file(resize: u32) -> ModelFile {
    let preprocess =
        format!(r#"{{"resize":{resize},"crop":4,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}}"#);
    let labels = r#"["red","green","blue","grey","pink","teal"]"#;
    let properties = [("resnext.preprocess", preprocess.as_str()), ("resnext.labels", labels)];
    file(vec![value("x", DataType::Float, &[-1, 3, 4, 4])], &properties)
}

/// Ten pictures each of red, green and blue; one of them is broken.
fn pictures(folder: &Path) -> Vec<PathBuf> {
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
    for picture in values.chunks(48) {
        let mean = |channel: usize| picture[16 * channel..16 * (channel + 1)].iter().sum::<f32>() / 16.0;
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
    Candidate { file, provider: "cpu".into(), open: Box::new(open) }
}

fn evaluate(folder: &Path, candidates: &mut [Candidate<'_>]) -> Evaluation {
    let classes = Classes::of(candidates[0].file).unwrap();
    let dataset = Dataset::open(folder, None, &classes).unwrap();
    let request = Request { dataset: &dataset, batch: 4 };
    eval(candidates, &request, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn accuracy_classes_and_broken_pictures_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    let file = model_file(4);
    let found = evaluate(folder.path(), &mut [candidate(&file, true, 99)]);
    let one = &found.candidates[0];
    assert_eq!((found.pictures, one.pictures), (30, 29));
    let top1 = one.top1.unwrap();
    assert_eq!((top1.successes, top1.trials), (19, 29));
    assert!(top1.interval[0] < top1.proportion && top1.proportion < top1.interval[1]);
    assert_eq!(one.top5.unwrap().successes, 29);
    assert_eq!(found.broken.len(), 1);
    assert!(found.broken[0].path.ends_with("3.png") && found.broken[0].reason.contains("not a JPEG"));
    let red = &one.classes[0];
    assert_eq!((red.label.as_deref(), red.pictures, red.right, red.predicted), (Some("red"), 10, 10, 20));
    assert!(one.confusion.contains(&Cell { actual: 2, predicted: 0, pictures: 10 }));
    assert!(found.time.prepare.decode_s > 0.0 && found.time.pictures_per_second > 0.0);
}

#[test]
fn two_models_are_compared_picture_by_picture_even_with_different_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
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
fn providers_of_one_model_and_a_model_prepared_otherwise_each_see_their_own_pictures() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
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
    pictures(folder.path());
    let file = model_file(4);
    let found = evaluate(folder.path(), &mut [candidate(&file, false, 3), candidate(&file, false, 99)]);
    assert_eq!(found.candidates[0].pictures, 8);
    assert!(matches!(found.candidates[0].error, Some(ModelError::TimedOut(_))));
    assert_eq!((found.candidates[1].pictures, found.errors().count()), (29, 1));
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
        pictures: vec![dataset::Labelled { path, class: 6 }],
        notes: vec![],
    };
    let request = Request { dataset: &dataset, batch: 4 };
    let mut candidates = [candidate(&file, false, 99)];
    let found = eval(&mut candidates, &request, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(found.candidates[0].error.as_ref().unwrap().to_string().contains("6 classes"));
}

#[test]
fn stopping_keeps_what_was_judged() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    let file = model_file(4);
    let dataset = Dataset::open(folder.path(), None, &Classes::of(&file).unwrap()).unwrap();
    let request = Request { dataset: &dataset, batch: 4 };
    let stop = AtomicBool::new(false);
    let mut candidates = [candidate(&file, false, 99)];
    let found = eval(&mut candidates, &request, &stop, &mut |progress| {
        stop.store(progress.done >= 10, Ordering::Relaxed);
    });
    let found = found.unwrap();
    assert!(found.interrupted && found.candidates[0].pictures == 10, "{}", found.candidates[0].pictures);
}
