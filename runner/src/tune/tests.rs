use std::path::Path;

use resnext_builder::build::{Destination, Plan as BuildPlan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::variant::Variant;

use super::*;
use crate::bench::WarmUp;
use crate::fake::Fake;

/// A small network of two stages: 16 groups of 4 channels, then 16 of 8.
fn network(folder: &Path) -> PathBuf {
    let path = folder.join("m.onnx");
    let variant = Variant::parse_with("50_16x4d", &[1, 1]).unwrap();
    let mut plan = BuildPlan::new(Some(variant), Weights::Random { seed: 0 }, Destination::File(path.clone()));
    plan.image = Some([Dim::Fixed(32), Dim::Fixed(32)]);
    plan.classes = Some(5);
    build(&plan, &mut |_| {}).unwrap();
    path
}

/// Channels a group of each grouped convolution, read from the file.
fn widths(path: &Path) -> Vec<usize> {
    Model::read(path).unwrap().stages().iter().map(|stage| stage.inputs).collect()
}

/// A runtime in which the first stage is fastest at 16 channels a group and the second as it is, and a model with a
/// 32-wide second stage computes something else.
struct Runtime;

impl Candidates for Runtime {
    fn of<'a>(&'a self, files: &'a [ModelFile], _: &[usize]) -> Vec<Candidate<'a>> {
        let candidate = |file: &'a ModelFile| Candidate {
            file,
            provider: "cpu".into(),
            open: Box::new(|path: &Path| {
                let widths = widths(path);
                let cost =
                    |at: usize, best: usize| widths.get(at).map_or(0.0, |&w| (w as f64 / best as f64).log2().abs());
                let milliseconds = 10.0 + cost(0, 16) + 2.0 * cost(1, 8);
                let wrong = widths.get(1) == Some(&32);
                let fake = Fake::new(move |inputs| {
                    let mut output = inputs[0].clone();
                    output.name = "logits".into();
                    if wrong {
                        output.shape.push(1);
                    }
                    Ok(vec![output])
                });
                let fake = fake.clocked(move |_, block| Ok(vec![milliseconds / 1e3; block.max_runs.min(10)]));
                Ok(Box::new(fake) as Box<dyn crate::model::Model>)
            }),
        };
        files.iter().map(candidate).collect()
    }
}

fn request(folder: &Path, widths: &[usize]) -> Request {
    let plan = Plan { min_runs: 4, min_seconds: 0.0, rounds: 4, warmup: WarmUp::Runs(0), ..Plan::default() };
    let output = folder.join("out.onnx");
    Request { model: network(folder), output, widths: widths.to_vec(), plan, threads: 1 }
}

#[test]
fn the_fastest_width_of_each_stage_is_found_and_beats_every_fixed_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let stop = AtomicBool::new(false);
    let request = request(folder.path(), &[8, 16, 32]);
    let tuned = tune(&request, &Runtime, &stop, &mut |progress| seen.push(progress.done)).unwrap();
    assert_eq!(tuned.widths(), [16, 1]);
    assert!((tuned.score - 12.0 / 10.0).abs() < 1e-9, "{}", tuned.score);
    let names: Vec<&str> = tuned.rounds.iter().map(|round| round.name.as_str()).collect();
    assert_eq!(names, ["stage 1", "stage 2", "all stages"]);
    let last = tuned.rounds.last().unwrap();
    let finalists: Vec<&[usize]> = last.trials.iter().map(|trial| &trial.widths[..]).collect();
    assert_eq!(finalists, [&[1, 1][..], &[16, 1], &[8, 8], &[16, 16], &[32, 32]]);
    let wrong = last.trials.iter().find(|trial| trial.widths == [32, 32]).unwrap();
    assert!(wrong.score.is_none() && wrong.out.as_ref().unwrap().contains("shape"), "{wrong:?}");
    assert!(seen.is_sorted() || seen.iter().max() == seen.last(), "{seen:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "candidates are gone");
}

#[test]
fn a_search_that_is_stopped_keeps_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(true);
    let tuned = tune(&request(folder.path(), &[16]), &Runtime, &stop, &mut |_| {}).unwrap();
    assert!(tuned.interrupted);
    assert_eq!(tuned.widths(), [1, 1]);
}

#[test]
fn a_model_without_a_choice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let error = tune(&request(folder.path(), &[2]), &Runtime, &stop, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("no width asked for is wider"), "{error}");
}

#[test]
fn widths_that_give_the_same_model_are_tried_once() {
    let stage = Stage { channels: 32, groups: 8, inputs: 4, convolutions: 1 };
    assert_eq!(choices(&stage, &[64, 8, 5, 16, 32, 1, 4]), [5, 16, 32], "8 is 5 again, and 64 dense as 32 is");
    let wide = Stage { channels: 512, groups: 128, inputs: 4, convolutions: 1 };
    assert_eq!(choices(&wide, &[64, 128]), [64], "32 times the arithmetic is not tried");
}
