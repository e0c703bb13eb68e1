use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use resnext_builder::build::{Destination, Plan as BuildPlan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::variant::Variant;

use super::*;
use crate::model::candidate::Candidate;
use crate::model::demand::Demand;
use crate::model::fake::Fake;
use crate::model::file::ModelFile;
use crate::stats::random::SplitMix64;
use crate::verb::bench::plan::WarmUp;
use crate::verb::compare::difference::Difference;
use crate::verb::tune::files::copy_model;
use crate::verb::tune::result::Out;

/// A small network of two stages: 16 groups of 4 channels, then 16 of 8.
fn network(folder: &Path) -> PathBuf {
    network_of(folder, &[1, 1], true)
}

/// A network of so many blocks in each stage; whether normalisations are folded into its convolutions.
fn network_of(folder: &Path, blocks: &[usize], folded: bool) -> PathBuf {
    let path = folder.join("m.onnx");
    let variant = Variant::parse_with("50_16x4d", blocks).unwrap();
    let mut plan = BuildPlan::new(Some(variant), Weights::Random { seed: 0 }, Destination::File(path.clone()));
    plan.image = Some([Dim::Fixed(32), Dim::Fixed(32)]);
    plan.classes = Some(5);
    plan.force = true;
    plan.lowering.fold_bn = folded;
    build(&plan, &mut |_| {}).unwrap();
    path
}

/// Channels a group of each grouped convolution, read from the file.
fn widths(path: &Path) -> Vec<usize> {
    Model::read(path).unwrap().stages().iter().map(|stage| stage.inputs).collect()
}

/// Whether strided convolutions have become a subsampling and a dense convolution.
fn dense(path: &Path) -> bool {
    let nodes = onnx_file::read::read(path).unwrap().graph.unwrap_or_default().node;
    nodes.iter().any(|node| node.name.ends_with(".subsample"))
}

/// A runtime in which each stage is fastest at a width of its own, and a model with a 32-wide second stage computes
/// something else.
struct Runtime {
    /// Fastest channels a group, by stage.
    fastest: [usize; 2],
    /// Milliseconds more at these widths.
    together: Option<([usize; 2], f64)>,
    /// Instead: time of every model but the original, as a fraction of the original's.
    faster_when_wider: Option<f64>,
    /// Time of a model without strides, as a fraction of one with them.
    dense: f64,
    /// The same of one that is widened as well.
    dense_when_wide: f64,
    /// By how much runs scatter.
    noise: f64,
    /// Models opened so far: every process scatters in its own way.
    opened: Cell<u64>,
}

impl Runtime {
    fn fastest(fastest: [usize; 2]) -> Runtime {
        Runtime {
            fastest,
            together: None,
            faster_when_wider: None,
            dense: 1.0,
            dense_when_wide: 1.0,
            noise: 0.0,
            opened: Cell::new(0),
        }
    }

    fn milliseconds(&self, widths: &[usize]) -> f64 {
        if let Some(fraction) = self.faster_when_wider {
            return if widths == [4, 8] { 10.0 } else { 10.0 * fraction };
        }
        let cost = |at: usize| widths.get(at).map_or(0.0, |&w| (w as f64 / self.fastest[at] as f64).log2().abs());
        let more = self.together.filter(|(at, _)| widths == at).map_or(0.0, |(_, more)| more);
        10.0 + cost(0) + 2.0 * cost(1) + more
    }
}

impl Candidates for Runtime {
    fn of<'a>(&'a self, files: &'a [ModelFile], _: &[Demand]) -> Vec<Candidate<'a>> {
        let candidate = |(number, file): (usize, &'a ModelFile)| {
            let open = Box::new(move |path: &Path| {
                self.opened.set(self.opened.get() + 1);
                let widths = widths(path);
                let fraction = match (dense(path), widths == [4, 8]) {
                    (false, _) => 1.0,
                    (true, true) => self.dense,
                    (true, false) => self.dense_when_wide,
                };
                let milliseconds = self.milliseconds(&widths) * fraction;
                let wrong = widths.get(1) == Some(&32);
                let fake = Fake::new(move |inputs| {
                    let mut output = inputs[0].clone();
                    output.name = "logits".into();
                    if wrong {
                        output.shape.push(1);
                    }
                    Ok(vec![output])
                });
                let mut random = SplitMix64::new(self.opened.get() * 1000 + number as u64);
                let fake = fake.clocked(move |_, block| {
                    let mut run = || milliseconds / 1e3 * (1.0 + self.noise * random.uniform());
                    Ok((0..block.max_runs.min(10)).map(|_| run()).collect())
                });
                Ok(Box::new(fake) as Box<dyn crate::model::opened::Model>)
            });
            Candidate::of_file(file, "cpu", open)
        };
        files.iter().enumerate().map(candidate).collect()
    }
}

fn request(folder: &Path, widths: &[usize]) -> Request {
    let plan = Plan {
        min_runs: 12,
        min_seconds: 0.0,
        processes: Some(6),
        rounds: 12,
        warmup: WarmUp::Runs(0),
        ..Plan::default()
    };
    let output = folder.join("out.onnx");
    let (model, name) = (network(folder), "net.onnx".to_owned());
    Request { model, name, output, widths: widths.to_vec(), shapes: Vec::new(), plan, threads: 1 }
}

#[test]
fn the_fastest_width_of_each_stage_is_found_and_beats_every_fixed_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let stop = AtomicBool::new(false);
    let request = request(folder.path(), &[8, 16, 32]);
    let tuned = tune(&request, &Runtime::fastest([16, 8]), &stop, &mut |progress| seen.push(progress.done)).unwrap();
    assert_eq!(tuned.widths(), [16, 1]);
    assert!(tuned.changed && (tuned.score - 12.0 / 10.0).abs() < 1e-9, "{}", tuned.score);
    let names: Vec<&str> = tuned.rounds.iter().map(|round| round.name.as_str()).collect();
    assert_eq!(names, ["stage-1", "stage-2", "strided-1x1", "all-together"]);
    let last = tuned.rounds.last().unwrap();
    let finalists: Vec<&[usize]> = last.trials.iter().map(|trial| &trial.choice.widths[..]).collect();
    assert_eq!(finalists, [&[1, 1][..], &[16, 1], &[8, 8], &[16, 16], &[32, 32]]);
    let wrong = last.trials.iter().find(|trial| trial.choice.widths == [32, 32]).unwrap();
    assert!(
        wrong.score.is_none()
            && matches!(&wrong.out, Some(Out::Differs { differences }) if matches!(differences[..], [Difference::Shape { .. }])),
        "{wrong:?}"
    );
    assert!(seen.is_sorted() || seen.iter().max() == seen.last(), "{seen:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "candidates are gone");
}

#[test]
fn strided_convolutions_are_made_dense_where_that_is_faster() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    for (fraction, expected) in [(0.9, true), (1.1, false)] {
        let runtime = Runtime { dense: fraction, dense_when_wide: fraction, ..Runtime::fastest([16, 8]) };
        let tuned = tune(&request(folder.path(), &[16]), &runtime, &stop, &mut |_| {}).unwrap();
        assert_eq!((tuned.widths(), tuned.tuning.subsample), (vec![16, 1], expected), "{:?}", tuned.rounds);
        let last = tuned.rounds.last().unwrap();
        assert_eq!(last.trials[0].choice, Choice { widths: vec![1, 1], subsample: false });
        let undone = Choice { widths: vec![16, 1], subsample: false };
        let others = last.trials[1..].iter().filter(|trial| trial.choice != undone);
        assert!(others.map(|trial| trial.choice.subsample).all(|dense| dense == expected), "{:?}", last.trials);
        assert!(last.trials.iter().any(|trial| trial.choice == undone), "{:?}", last.trials);
    }
}

#[test]
fn the_widths_found_are_tried_without_dense_convolutions_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    // Dense convolutions are faster in the original alone.
    let runtime = Runtime { dense: 0.9, dense_when_wide: 1.1, ..Runtime::fastest([16, 8]) };
    let tuned = tune(&request(folder.path(), &[16]), &runtime, &stop, &mut |_| {}).unwrap();
    assert_eq!((tuned.widths(), tuned.tuning.subsample), (vec![16, 1], false), "{:?}", tuned.rounds);
}

#[test]
fn a_model_without_a_width_to_try_is_made_dense_where_that_is_faster() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    for (dense, rounds) in [(0.9, vec!["strided-1x1", "all-together"]), (1.1, vec!["strided-1x1"])] {
        let runtime = Runtime { dense, ..Runtime::fastest([4, 8]) };
        let tuned = tune(&request(folder.path(), &[2]), &runtime, &stop, &mut |_| {}).unwrap();
        let names: Vec<&str> = tuned.rounds.iter().map(|round| round.name.as_str()).collect();
        let faster = dense < 1.0;
        assert_eq!(
            (tuned.changed, tuned.tuning.subsample, tuned.widths(), names),
            (faster, faster, vec![1, 1], rounds)
        );
        let text = crate::report::text::render(&crate::verb::tune::document::document(&tuned), false);
        assert_eq!(text.contains("fastest: strided 1x1 convolutions made dense, "), faster, "{text}");
    }
}

#[test]
fn what_folding_alone_gains_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let runtime = Runtime::fastest([4, 8]);
    let mut plain = request(folder.path(), &[8]);
    let tuned = tune(&plain, &runtime, &stop, &mut |_| {}).unwrap();
    assert!(
        !tuned.notes.iter().any(|note| matches!(note, crate::note::Note::FoldingIncluded { .. })),
        "{:?}",
        tuned.notes
    );
    plain.model = network_of(folder.path(), &[1, 1], false);
    let tuned = tune(&plain, &runtime, &stop, &mut |_| {}).unwrap();
    assert!(
        tuned.notes.iter().any(|note| matches!(note, crate::note::Note::FoldingIncluded { .. })),
        "{:?}",
        tuned.notes
    );
}

#[test]
fn every_line_of_the_table_has_a_field_for_each_column() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let mut tuned = tune(&request(folder.path(), &[8]), &Runtime::fastest([8, 8]), &stop, &mut |_| {}).unwrap();
    tuned.rounds[0].trials[1].rows.clear();
    tuned.rounds[0].trials[1].out = Some(Out::NotMeasured);
    let text = crate::verb::tune::csv::csv(&tuned);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert!(lines.len() > 4 && lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    assert_eq!((&lines[0][9], &lines[2][9]), ("out", "not measured"), "{text}");
}

#[test]
fn a_search_that_is_stopped_ends_soon_and_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for steps in [0, 1, 7, 30] {
        let stop = AtomicBool::new(steps == 0);
        let mut seen = 0;
        let mut progress = |_: &Progress| {
            seen += 1;
            stop.store(seen >= steps, Ordering::Relaxed);
        };
        let error = tune(&request(folder.path(), &[8, 16]), &Runtime::fastest([16, 8]), &stop, &mut progress);
        assert!(matches!(error, Err(TuneError::Interrupted)), "{error:?}");
        assert!(seen <= steps + 1, "{seen} steps, {steps} before the stop");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "candidates are gone");
    }
}

#[test]
fn the_original_wins_where_nothing_is_shown_to_be_faster() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let slower = Runtime::fastest([4, 8]);
    // Every other width is faster by 0.4%, which runs that scatter by 4% do not show.
    let noisy = Runtime { faster_when_wider: Some(0.996), noise: 0.04, ..Runtime::fastest([4, 8]) };
    // Two processes show nothing, however large a difference is.
    let few = Plan { processes: Some(2), ..request(folder.path(), &[8]).plan };
    let short = Request { plan: few, ..request(folder.path(), &[8, 16]) };
    for (runtime, request) in [
        (&slower, request(folder.path(), &[8, 16])),
        (&noisy, request(folder.path(), &[8, 16])),
        (&Runtime::fastest([16, 8]), short),
    ] {
        let tuned = tune(&request, runtime, &stop, &mut |_| {}).unwrap();
        assert_eq!((tuned.changed, tuned.widths(), tuned.score), (false, vec![1, 1], 1.0), "{:?}", tuned.rounds);
        let last = tuned.rounds.last().unwrap();
        assert_eq!(last.trials[0].choice.widths, [1, 1], "the original is in the running");
        let text = crate::report::text::render(&crate::verb::tune::document::document(&tuned), false);
        assert!(text.contains("nothing is shown to be faster than the original"), "{text}");
    }
}

#[test]
fn a_fixed_width_that_beats_the_stages_together_wins() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    // Each stage alone is fastest at 16, but together all of them cost more than all at 8.
    let runtime = Runtime { together: Some(([16, 16], 3.0)), ..Runtime::fastest([16, 16]) };
    let tuned = tune(&request(folder.path(), &[8, 16]), &runtime, &stop, &mut |_| {}).unwrap();
    assert_eq!((tuned.changed, tuned.widths()), (true, vec![8, 8]), "{:?}", tuned.rounds.last());
    let last = tuned.rounds.last().unwrap();
    assert!(last.trials.iter().all(|trial| trial.score.unwrap() <= tuned.score + 1e-12));
}

#[test]
fn a_model_is_copied_byte_for_byte_with_the_files_of_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = network(folder.path());
    let external = folder.path().join("external.onnx");
    let nothing = resnext_builder::passes::Lowering { fold_bn: false, ..Default::default() };
    let always = resnext_builder::build::External::Always;
    Model::read(&path).unwrap().lower(&nothing, &Default::default(), &external, always).unwrap();
    let model = ModelFile::read(&external).unwrap();
    let names: Vec<&str> = onnx_file::outline::data_files(&model.graph).into_iter().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let output = folder.path().join("elsewhere/copy.onnx");
    copy_model(&model, &output).unwrap();
    let same = |a: &Path, b: &Path| std::fs::read(a).unwrap() == std::fs::read(b).unwrap();
    assert!(same(&external, &output));
    assert!(same(&folder.path().join(names[0]), &output.with_file_name(names[0])));
    let beside = folder.path().join("copy.onnx");
    copy_model(&model, &beside).unwrap();
    assert_eq!(widths(&beside), widths(&path), "the files of the weights serve both");
}

#[test]
fn a_model_without_a_choice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let mut request = request(folder.path(), &[2]);
    request.model = network_of(folder.path(), &[1], true);
    let error = tune(&request, &Runtime::fastest([16, 8]), &stop, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("no width asked for is wider"), "{error}");
}
