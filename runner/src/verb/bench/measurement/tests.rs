//! The benchmark as a whole, against models whose clock is a closure.

mod processes;

use std::cell::RefCell;
use std::path::Path;

use onnx_file::proto::tensor_proto::DataType;

use super::*;
use crate::model::fake::Fake;
use crate::model::file::ModelFile;
use crate::model::file::tests::{file, value};
use crate::model::opened::{Block, Scope};
use crate::verb::bench::plan::WarmUp;

fn model_file() -> ModelFile {
    file(vec![value("x", DataType::Float, &[-1, 3, 2, 2])], &[])
}

/// A log of blocks: provider, batch size, runs asked for.
type Log = RefCell<Vec<(String, usize, usize)>>;

/// A provider whose run takes `seconds(batch, number of the run)`.
fn candidate<'a>(
    file: &'a ModelFile,
    provider: &'a str,
    log: &'a Log,
    seconds: impl Fn(usize, usize) -> Result<f64, ModelError> + Copy + 'a,
) -> Candidate<'a> {
    let open = move |_: &Path| -> Result<Box<dyn Model + 'a>, ModelError> {
        let mut runs = 0;
        let clock = move |inputs: &[Tensor], block: Block| {
            let batch = inputs[0].shape[0];
            log.borrow_mut().push((provider.to_owned(), batch, block.max_runs));
            let (mut samples, mut elapsed) = (Vec::new(), 0.0);
            while samples.len() < block.max_runs && elapsed < block.max_seconds {
                runs += 1;
                samples.push(seconds(batch, runs)?);
                elapsed += samples[samples.len() - 1];
            }
            Ok(samples)
        };
        Ok(Box::new(Fake::new(|_| Ok(vec![])).on(provider).clocked(clock)))
    };
    Candidate::of_file(file, provider, Box::new(open))
}

fn jitter(run: usize) -> f64 {
    1.0 + 0.004 * ((run * 7919 % 101) as f64 / 101.0)
}

fn short() -> Plan {
    Plan { min_runs: 70, min_seconds: 0.0, warmup: WarmUp::Runs(3), processes: Some(1), ..Plan::default() }
}

fn run(candidates: &mut [Candidate<'_>], plan: &Plan) -> Report<Bench> {
    bench(candidates, plan, &AtomicBool::new(false), &mut |_| {})
}

#[test]
fn a_model_that_has_no_file_here_is_measured_on_the_input_that_it_declares() {
    let shapes = RefCell::new(std::collections::BTreeSet::new());
    let seen = &shapes;
    let open = move |model: &Path| -> Result<Box<dyn Model + '_>, ModelError> {
        assert_eq!(model, Path::new("resnext"), "the name that its server has for it");
        let clock = move |inputs: &[Tensor], block: Block| {
            seen.borrow_mut().insert((inputs[0].name.clone(), inputs[0].shape.clone()));
            Ok(vec![0.01; block.max_runs])
        };
        Ok(Box::new(Fake::new(|_| Ok(vec![])).declaring("image", [None, Some(3), Some(8), None]).clocked(clock)))
    };
    let candidate = Candidate { model: "resnext".into(), file: None, provider: "kserve".into(), open: Box::new(open) };
    let found = run(&mut [candidate], &Plan { batches: vec![1, 2], ..short() });
    assert!(found.rows.iter().all(|row| row.error.is_none() && row.latency_ms.is_some()), "{:?}", found.rows[0].error);
    assert_eq!((found.rows[0].model.as_str(), &found.candidates[0].model_sha256), ("resnext", &None));
    let expected = [1, 2].map(|batch| ("image".to_owned(), vec![batch, 3, 8, 224]));
    assert_eq!(shapes.into_inner(), expected.into());
}

#[test]
fn every_candidate_and_batch_is_a_row_with_as_many_samples_as_asked_for() {
    let (file, log) = (model_file(), Log::default());
    let mut candidates = [
        candidate(&file, "cpu", &log, |batch, run| Ok(0.010 * batch as f64 * jitter(run))),
        candidate(&file, "openvino", &log, |batch, run| Ok(0.008 * batch as f64 * jitter(run))),
    ];
    let found = run(&mut candidates, &Plan { batches: vec![1, 4], ..short() });
    let rows: Vec<(&str, usize, usize)> =
        found.rows.iter().map(|row| (row.provider.as_str(), row.batch, row.latency_ms.as_ref().unwrap().n)).collect();
    assert_eq!(rows, [("cpu", 1, 70), ("cpu", 4, 70), ("openvino", 1, 70), ("openvino", 4, 70)]);
    assert!(found.rows.iter().all(|row| row.error.is_none() && row.blocks.len() == 10));
    assert!((found.rows[1].latency_ms.as_ref().unwrap().median - 40.0).abs() < 0.2);
    let throughput = found.rows[1].images_per_second.unwrap();
    assert!((throughput - 100.0).abs() < 0.5, "{throughput}");
}

#[test]
fn a_speed_up_is_against_the_first_candidate_at_the_same_batch_size() {
    let (file, log) = (model_file(), Log::default());
    let mut candidates = [
        candidate(&file, "cpu", &log, |_, run| Ok(0.010 * jitter(run))),
        candidate(&file, "openvino", &log, |batch, run| Ok(0.010 / batch as f64 * jitter(run))),
    ];
    let found = run(&mut candidates, &Plan { batches: vec![1, 2], processes: Some(4), ..short() });
    assert!(found.rows[0].speed_up.is_none() && found.rows[1].speed_up.is_none());
    let equal = found.rows[2].speed_up.as_ref().unwrap();
    assert!(!equal.ratio.difference_shown && equal.against == 0, "{equal:?}");
    let twice = found.rows[3].speed_up.as_ref().unwrap();
    assert!(twice.ratio.difference_shown && twice.against == 1);
    assert!((twice.ratio.ratio - 2.0).abs() < 0.02, "{twice:?}");
}

#[test]
fn rows_take_turns_in_an_order_that_differs_by_round_and_repeats_by_seed() {
    let order = |seed| {
        let (file, log) = (model_file(), Log::default());
        let mut candidates = ["a", "b", "c", "d"].map(|name| candidate(&file, name, &log, |_, _| Ok(0.2)));
        run(&mut candidates, &Plan { min_runs: 6, rounds: 6, warmup: WarmUp::Runs(0), seed, ..short() });
        drop(candidates);
        // A run of 0.2 s is settled only the first time, when nothing is known of it.
        log.into_inner().into_iter().map(|(provider, ..)| provider).skip(8).collect::<Vec<_>>()
    };
    let first = order(1);
    assert_eq!(first.len(), 20);
    for round in first.chunks(4) {
        let mut sorted = round.to_vec();
        sorted.sort();
        assert_eq!(sorted, ["a", "b", "c", "d"], "every row once a round");
    }
    assert!(first.chunks(4).any(|round| round != &first[..4]), "{first:?}");
    assert_eq!(first, order(1));
    assert_ne!(first, order(2));
}

#[test]
fn the_run_that_refills_the_caches_is_left_out() {
    let (file, log) = (model_file(), Log::default());
    let mut candidates = ["a", "b"].map(|name| candidate(&file, name, &log, |_, _| Ok(0.001)));
    let found = run(&mut candidates, &Plan { min_runs: 20, ..short() });
    assert!(found.rows.iter().all(|row| row.blocks.iter().all(|block| block.settled)));
    assert_eq!(found.rows[0].latency_ms.as_ref().unwrap().n, 20);
    let mut alone = [candidate(&file, "a", &log, |_, _| Ok(0.001))];
    let found = run(&mut alone, &short());
    assert!(found.rows[0].blocks.iter().all(|block| !block.settled), "alone, the caches stay warm");
}

#[test]
fn a_provider_that_dies_midway_keeps_its_samples_and_the_others_finish() {
    let (file, log) = (model_file(), Log::default());
    let dies = |_, run| if run > 40 { Err(ModelError::Crashed("signal 9".into())) } else { Ok(0.001) };
    let mut candidates =
        [candidate(&file, "cuda", &log, dies), candidate(&file, "cpu", &log, |_, run| Ok(0.001 * jitter(run)))];
    let found = run(&mut candidates, &short());
    assert_eq!(found.rows[0].error, Some(ModelError::Crashed("signal 9".into())));
    let kept = found.rows[0].latency_ms.as_ref().unwrap().n;
    assert!((10..40).contains(&kept), "{kept}");
    assert_eq!(found.rows[1].latency_ms.as_ref().unwrap().n, 70);
    assert!(found.rows[1].error.is_none());
    assert_eq!(found.errors().count(), 1);
}

#[test]
fn a_batch_that_fails_does_not_take_the_others_along() {
    let (file, log) = (model_file(), Log::default());
    let no_memory = |batch, _| if batch == 32 { Err(ModelError::Failed("out of memory".into())) } else { Ok(0.001) };
    let found = run(&mut [candidate(&file, "cuda", &log, no_memory)], &Plan { batches: vec![32, 1], ..short() });
    assert!(matches!(found.rows[0].error, Some(ModelError::Failed(_))));
    assert_eq!(found.rows[1].latency_ms.as_ref().unwrap().n, 70);
}

#[test]
fn a_provider_that_cannot_be_opened_is_a_row_that_says_why() {
    let (file, log) = (model_file(), Log::default());
    let open = |_: &Path| Err(ModelError::Unavailable("libcudnn.so.9 missing".into()));
    let absent = Candidate::of_file(&file, "cuda", Box::new(open));
    let mut candidates = [absent, candidate(&file, "cpu", &log, |_, _| Ok(0.001))];
    let found = run(&mut candidates, &short());
    assert!(matches!(found.rows[0].error, Some(ModelError::Unavailable(_))));
    assert!(found.rows[0].latency_ms.is_none() && found.candidates[0].processes[0].loaded.is_none());
    assert!(found.rows[1].speed_up.is_none(), "the first with samples is the one compared with");
}

#[test]
fn a_fixed_batch_size_refuses_others() {
    let log = Log::default();
    let file = file(vec![value("x", DataType::Float, &[2, 3, 2, 2])], &[]);
    let mut candidates = [candidate(&file, "cpu", &log, |_, _| Ok(0.001))];
    let found = run(&mut candidates, &Plan { batches: vec![1, 2], ..short() });
    assert!(found.rows[0].error.as_ref().unwrap().to_string().contains("fixed at 2"));
    assert!(found.rows[1].error.is_none());
    let inputs = vec![value("x", DataType::Float, &[1, 3, 2, 2]), value("table", DataType::Float, &[5])];
    let several = crate::model::file::tests::file(inputs, &[]);
    let mut candidates = [candidate(&several, "cpu", &log, |_, _| Ok(0.001))];
    let found = run(&mut candidates, &Plan { batches: vec![1, 8], ..short() });
    assert!(found.rows[0].error.is_none(), "{:?}", found.rows[0].error);
    assert!(found.rows[1].error.as_ref().unwrap().to_string().contains("fixed at 1"), "a batch that nothing takes");
}

#[test]
fn stopping_keeps_what_was_measured() {
    let (file, log) = (model_file(), Log::default());
    let stop = AtomicBool::new(false);
    let mut candidates = ["a", "b"].map(|name| candidate(&file, name, &log, |_, _| Ok(0.001)));
    let mut steps = 0;
    let found = bench(&mut candidates, &short(), &stop, &mut |progress| {
        steps += usize::from(progress.phase == Phase::Measuring);
        stop.store(steps > 5, Ordering::Relaxed);
    });
    assert!(found.interrupted);
    let samples: usize = found.rows.iter().map(|row| row.latency_ms.as_ref().map_or(0, |summary| summary.n)).sum();
    assert_eq!(samples, 6 * 7, "the block begun before the stop is finished");
}

/// What is said of a measurement whose runs take these milliseconds; 3 runs of warm-up come first.
fn warned(milliseconds: impl Fn(usize) -> f64 + Copy) -> Vec<String> {
    let (file, log) = (model_file(), Log::default());
    let clock = move |_, run: usize| Ok(milliseconds(run) / 1e3);
    run(&mut [candidate(&file, "cpu", &log, clock)], &short()).rows[0]
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn runs_that_scatter_by_more_than_the_threshold_are_warned_of() {
    let alternating = |by: f64| warned(move |run| if run % 2 == 0 { 1.0 + by } else { 1.0 - by });
    assert_eq!(alternating(0.0246), [""; 0]);
    assert_eq!(alternating(0.0254), ["runs scatter by 2.6% (coefficient of variation)"]);
}

#[test]
fn a_median_that_moves_is_warned_of_in_either_direction() {
    let sloping = |slope: f64| warned(move |run| 1.0 + slope * run as f64);
    assert_eq!(sloping(0.0009), [""; 0]);
    assert_eq!(sloping(0.0012), ["the median moved by +5.8% while it was measured"]);
    assert_eq!(sloping(-0.0009), [""; 0]);
    assert_eq!(sloping(-0.0011), ["the median moved by -5.5% while it was measured"]);
}

#[test]
fn outliers_are_counted_and_kept() {
    let with = |slow: &'static [usize]| warned(|run| jitter(run) + if slow.contains(&run) { 0.1 } else { 0.0 });
    assert_eq!(with(&[]), [""; 0]);
    assert_eq!(with(&[30]), ["1 outlier, kept"]);
    assert_eq!(with(&[30, 50]), ["2 outliers, kept"]);
}

#[test]
fn a_speed_up_compares_rows_of_one_scope() {
    let file = model_file();
    let of = |name: &'static str, milliseconds: [f64; 2]| {
        let open = move |_: &Path| -> Result<Box<dyn Model>, ModelError> {
            let clock = move |_: &[Tensor], block: Block| {
                let run = match block.scope {
                    Scope::EndToEnd => milliseconds[0],
                    Scope::Device => milliseconds[1],
                };
                Ok(vec![run / 1e3; block.max_runs])
            };
            Ok(Box::new(Fake::new(|_| Ok(vec![])).on(name).clocked(clock)))
        };
        Candidate::of_file(&file, name, Box::new(open))
    };
    let plan = Plan { scopes: vec![Scope::EndToEnd, Scope::Device], ..short() };
    let found = run(&mut [of("cpu", [10.0, 8.0]), of("cuda", [5.0, 2.0])], &plan);
    let speed_ups: Vec<Option<(usize, f64)>> =
        found.rows.iter().map(|row| row.speed_up.as_ref().map(|found| (found.against, found.ratio.ratio))).collect();
    assert_eq!(speed_ups, [None, None, Some((0, 2.0)), Some((1, 4.0))]);
}

#[test]
fn no_slice_of_a_block_is_longer_than_what_is_left_of_it() {
    let file = model_file();
    let asked = RefCell::new(Vec::new());
    let open = |_: &Path| -> Result<Box<dyn Model + '_>, ModelError> {
        let clock = |_: &[Tensor], block: Block| {
            asked.borrow_mut().push(block.max_seconds);
            Ok(vec![0.25; (block.max_seconds / 0.25).ceil() as usize])
        };
        Ok(Box::new(Fake::new(|_| Ok(vec![])).clocked(clock)))
    };
    let plan = Plan { min_runs: 1, min_seconds: 2.5, rounds: 1, warmup: WarmUp::Runs(0), ..short() };
    let found = run(&mut [Candidate::of_file(&file, "cpu", Box::new(open))], &plan);
    assert_eq!(found.rows[0].wall_s, 2.5);
    assert_eq!(*asked.borrow(), [1.0, 1.0, 0.5]);
}

#[test]
fn a_crash_is_told_in_every_row_of_the_candidate() {
    let (file, log) = (model_file(), Log::default());
    let dies = |batch, _| if batch == 1 { Err(ModelError::Crashed("signal 9".into())) } else { Ok(0.001) };
    let plan = Plan { batches: vec![1, 4, 8], ..short() };
    let found =
        run(&mut [candidate(&file, "cuda", &log, dies), candidate(&file, "cpu", &log, |_, _| Ok(0.001))], &plan);
    for row in &found.rows[..3] {
        assert_eq!(row.error, Some(ModelError::Crashed("signal 9".into())), "batch {}", row.batch);
    }
    assert_eq!(found.errors().count(), 3);
}

#[test]
fn few_rounds_show_nothing_not_even_of_a_file_beside_itself() {
    let (file, log) = (model_file(), Log::default());
    let mut candidates = ["a", "b"].map(|name| candidate(&file, name, &log, |_, _| Ok(0.001)));
    candidates[1] = candidate(&file, "b", &log, |_, _| Ok(0.0005));
    let found = run(&mut candidates, &Plan { min_runs: 1, rounds: 1, ..short() });
    let speed_up = found.rows[1].speed_up.as_ref().unwrap();
    assert_eq!((speed_up.ratio.interval, speed_up.ratio.difference_shown), (None, false));
    let text = crate::report::text::render(&crate::verb::bench::document::document(&found), false);
    assert!(text.contains("not enough samples (1 of 6 rounds)"), "{text}");
}

#[test]
fn another_baseline_than_the_first_candidate_is_told() {
    let (file, log) = (model_file(), Log::default());
    let no_memory = |batch, _| if batch == 32 { Err(ModelError::Failed("out of memory".into())) } else { Ok(0.001) };
    let mut candidates = ["cuda", "openvino", "cpu"].map(|name| candidate(&file, name, &log, |_, _| Ok(0.001)));
    candidates[0] = candidate(&file, "cuda", &log, no_memory);
    let found = run(&mut candidates, &Plan { batches: vec![1, 32], ..short() });
    let told: Vec<String> =
        found.notes.iter().map(ToString::to_string).filter(|note| note.contains("speed-ups")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("at batch 32 end-to-end are against openvino"), "{told:?}");
    assert!(told[0].contains("since cuda"), "{told:?}");
}

#[test]
fn a_stop_is_noticed_within_a_long_block_and_one_after_the_end_interrupts_nothing() {
    let (file, log) = (model_file(), Log::default());
    let stop = AtomicBool::new(false);
    let clock = |_, run: usize| {
        stop.store(run > 50, Ordering::Relaxed);
        Ok(0.1)
    };
    let plan = Plan { min_runs: 1, min_seconds: 600.0, rounds: 1, warmup: WarmUp::Runs(0), ..short() };
    let found = bench(&mut [candidate(&file, "cpu", &log, clock)], &plan, &stop, &mut |_| {});
    let runs = found.rows[0].latency_ms.as_ref().unwrap().n;
    assert!(found.interrupted && (50..100).contains(&runs), "{runs}");
    let stop = AtomicBool::new(false);
    let last = |_, run: usize| {
        stop.store(run == 73, Ordering::Relaxed);
        Ok(0.001)
    };
    let found = bench(&mut [candidate(&file, "cpu", &log, last)], &short(), &stop, &mut |_| {});
    assert!(stop.load(Ordering::Relaxed) && !found.interrupted, "3 to warm up, then the last of 70");
}
