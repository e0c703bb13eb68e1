//! Judging kept measurements, made up so that the answer is known.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::limits::{Aspect, Limits};
use super::*;
use crate::record::typed_value;
use crate::report::document::Document;
use crate::report::{markdown, text};

/// A row of eight processes that scatter by about half a percent around `ms`.
fn row(model: &str, batch: usize, ms: f64) -> Value {
    let block = |process: usize| {
        let ms = ms * (1.0 + 0.005 * [0.0, 1.0, -1.0, 0.5][process % 4]);
        json!({ "process": process, "samples_ms": [ms, ms * 1.001, ms * 0.999] })
    };
    json!({
        "candidate": 0, "model": model, "provider": "cpu", "batch": batch, "scope": "end-to-end",
        "inputs": [{ "name": "x", "shape": [batch, 3, 96, 96] }], "warmups": [],
        "blocks": (0..8).map(block).collect::<Vec<_>>(),
        "latency_ms": { "median": ms, "median_interval": null, "percentiles": [] },
        "images_per_second": 1.0, "speed_up": null, "error": null
    })
}

fn bench(rows: &[Value]) -> Bench {
    let host = json!({
        "platform": "linux x86_64", "kernel": null, "processor": "Some CPU", "instruction_sets": ["avx2"],
        "usable_processors": 2, "default_threads": 2, "memory_bytes": null, "gpus": []
    });
    let loaded = json!({
        "model": "m.onnx", "provider": "cpu", "library_version": "1.32.0", "options": { "intra_op_num_threads": "2" },
        "placement": {}, "load_seconds": 0.5, "first_run_seconds": 0.0
    });
    let all = json!({
        "environment": { "program_version": "0.1.0", "unix_time_s": 1_700_000_000, "host": host },
        "candidates": [{ "processes": vec![json!({ "loaded": loaded }); 8] }],
        "rows": rows
    });
    typed_value(&all).unwrap()
}

fn limits() -> Limits {
    Limits { max_regress: 0.05, strict: false, allowed: Vec::new() }
}

fn judged(before: &Bench, now: &Bench, limits: &Limits) -> Gated {
    gate((before, Path::new("a.json")), (now, Some(Path::new("b.json"))), limits)
}

fn verdicts(gated: &Gated) -> Vec<RowVerdict> {
    gated.rows.iter().map(|row| row.verdict).collect()
}

fn said(gated: &Gated) -> String {
    let mut document = Document::default();
    document::describe(&mut document, gated);
    assert!(markdown::render(&document).contains("**"));
    text::render(&document, false).to_string()
}

#[test]
fn a_slower_row_is_a_regression_and_the_others_do_not_hide_it() {
    let before = bench(&[row("m.onnx", 1, 10.0), row("m.onnx", 8, 80.0)]);
    let now = bench(&[row("m.onnx", 8, 80.1), row("m.onnx", 1, 11.5)]);
    let gated = judged(&before, &now, &limits());
    assert_eq!(verdicts(&gated), [RowVerdict::WithinLimit, RowVerdict::Regression]);
    assert!(gated.verdict == Verdict::Regression && gated.fails() && !gated.is_refused());
    let text = said(&gated);
    assert!(text.contains("regression: 1 of 2 rows slower by more than 5%") && text.contains("+15.0%"), "{text}");
    assert!(judged(&now, &before, &limits()).verdict == Verdict::WithinLimit);
    assert_eq!(verdicts(&judged(&now, &before, &limits()))[0], RowVerdict::Faster);
}

#[test]
fn what_cannot_be_told_fails_only_where_it_is_to() {
    let before = bench(&[row("m.onnx", 1, 10.0)]);
    let now = bench(&[row("m.onnx", 1, 10.5)]);
    let gated = judged(&before, &now, &limits());
    assert_eq!((gated.verdict, gated.fails()), (Verdict::CannotTell, false));
    assert!(said(&gated).contains("cannot tell: no regression is shown"), "{}", said(&gated));
    assert!(judged(&before, &now, &Limits { strict: true, ..limits() }).fails());
    let mut few = before.clone();
    few.rows[0].blocks.retain(|block| block.process < 3);
    let gated = judged(&few, &bench(&[row("m.onnx", 1, 20.0)]), &limits());
    assert_eq!(gated.verdict, Verdict::CannotTell, "three processes show nothing, be it twice as slow");
    assert!(said(&gated).contains("3 of 4 processes needed on each side"));
}

#[test]
fn a_result_that_is_gone_is_a_regression_and_a_row_that_was_not_measured_is_told() {
    let before = bench(&[row("m.onnx", 1, 10.0), row("m.onnx", 8, 80.0)]);
    let mut now = before.clone();
    now.rows[0].latency_ms = None;
    now.rows[0].blocks.clear();
    now.rows[0].error = Some(json!({ "kind": "crashed", "detail": "signal 9" }));
    let gated = judged(&before, &now, &limits());
    assert_eq!((verdicts(&gated)[0], gated.verdict), (RowVerdict::Lost, Verdict::Regression));
    assert!(said(&gated).contains("no whole result now: signal 9"));
    let fewer = bench(&[row("m.onnx", 1, 10.0), row("m.onnx", 4, 40.0)]);
    let gated = judged(&before, &fewer, &limits());
    let expected = [RowVerdict::WithinLimit, RowVerdict::NotInBaseline, RowVerdict::NotMeasured];
    assert_eq!((verdicts(&gated), gated.verdict), (expected.to_vec(), Verdict::CannotTell));
    let gated = judged(&before, &bench(&[row("m.onnx", 2, 1.0)]), &limits());
    assert!(gated.verdict == Verdict::NothingCompared && gated.is_refused() && !gated.fails());
}

#[test]
fn models_are_the_same_by_path_by_name_or_because_there_is_one() {
    let names = |before: &[&str], now: &[&str]| {
        let rows = |models: &[&str]| bench(&models.iter().map(|model| row(model, 1, 10.0)).collect::<Vec<_>>());
        let (before, now) = (rows(before), rows(now));
        let (pairs, gone) = pairs::of_two_measurements(&before, &now);
        let found = pairs.iter().map(|pair| pair.before.map(|row| row.model.clone()).unwrap_or_default());
        (found.collect::<Vec<_>>(), gone.len())
    };
    assert_eq!(names(&["old/m.onnx"], &["new/m.onnx"]), (vec!["old/m.onnx".into()], 0));
    assert_eq!(names(&["a.onnx"], &["b.onnx"]), (vec!["a.onnx".into()], 0));
    assert_eq!(names(&["x/m.onnx", "y/m.onnx"], &["y/m.onnx"]), (vec!["y/m.onnx".into()], 1));
    assert_eq!(names(&["x/m.onnx", "y/m.onnx"], &["z/m.onnx"]), (vec![String::new()], 2), "either could be meant");
    assert_eq!(names(&["a.onnx", "b.onnx"], &["c.onnx", "b.onnx"]), (vec![String::new(), "b.onnx".into()], 1));
}

#[test]
fn what_must_be_the_same_is_refused_unless_it_is_allowed() {
    let before = bench(&[row("m.onnx", 1, 10.0)]);
    type Change = fn(&mut Bench);
    let changes: [(Aspect, Change); 6] = [
        (Aspect::Hardware, |bench| bench.environment.host.processor = Some("Another CPU".into())),
        (Aspect::Threads, |bench| set(bench, "intra_op_num_threads", "1")),
        (Aspect::Options, |bench| set(bench, "precision", "bf16")),
        (Aspect::Library, |bench| {
            loaded(bench).library_version = "1.33.0".into();
        }),
        (Aspect::Scope, |bench| bench.rows[0].scope = Scope::Device),
        (Aspect::Inputs, |bench| bench.rows[0].inputs.as_mut().unwrap()[0].shape[3] = 32),
    ];
    for (aspect, change) in changes {
        let mut now = before.clone();
        change(&mut now);
        let gated = judged(&before, &now, &limits());
        assert_eq!((gated.verdict, gated.differences.len()), (Verdict::Refused, 1), "{aspect:?}");
        assert!(gated.is_refused() && said(&gated).contains("--allow-different"), "{}", said(&gated));
        let allowed = Limits { allowed: vec![aspect], ..limits() };
        assert_eq!(judged(&before, &now, &allowed).verdict, Verdict::WithinLimit, "{aspect:?}");
    }
    fn loaded(bench: &mut Bench) -> &mut crate::model::opened::Loaded {
        bench.candidates[0].processes[0].loaded.as_mut().unwrap()
    }
    fn set(bench: &mut Bench, key: &str, value: &str) {
        loaded(bench).options.insert(key.into(), value.into());
    }
}

#[test]
fn shapes_of_inputs_are_compared_where_both_tell_them_whatever_the_inputs_are_called() {
    let before = bench(&[row("m.onnx", 1, 10.0)]);
    let mut other = row("m.onnx", 1, 10.0);
    other["inputs"] = json!([{ "name": "x", "shape": [1, 3, 32, 32] }]);
    let text = said(&judged(&before, &bench(&[other.clone()]), &limits()));
    assert!(text.contains("[1, 3, 96, 96]") && text.contains("[1, 3, 32, 32]"), "{text}");
    assert!(text.contains("--allow-different inputs"), "{text}");
    other["inputs"] = json!([{ "name": "renamed", "shape": [1, 3, 96, 96] }]);
    assert_eq!(judged(&before, &bench(&[other.clone()]), &limits()).verdict, Verdict::WithinLimit);
    for untold in [Value::Null, json!("absent")] {
        other["inputs"] = untold.clone();
        if untold.is_string() {
            other.as_object_mut().unwrap().remove("inputs");
        }
        assert_eq!(judged(&before, &bench(&[other.clone()]), &limits()).verdict, Verdict::WithinLimit, "{untold}");
    }
}

#[test]
fn two_models_of_one_measurement_are_compared_turn_by_turn() {
    let mut slower = row("b.onnx", 1, 11.5);
    slower["candidate"] = json!(1);
    let gated = gate_in_turns(&bench(&[row("a.onnx", 1, 10.0), slower]), &limits());
    assert_eq!((verdicts(&gated), gated.verdict), (vec![RowVerdict::Regression], Verdict::Regression));
    assert!(gated.rows[0].change.as_ref().unwrap().in_turns);
    assert_eq!(gated.rows[0].model_before.as_deref(), Some("a.onnx"));
    assert_eq!(gate_in_turns(&bench(&[row("a.onnx", 1, 10.0)]), &limits()).verdict, Verdict::NothingCompared);
}

#[test]
fn an_outlook_tells_what_can_be_shown_and_what_the_limit_takes() {
    let before = bench(&[row("m.onnx", 1, 10.0)]);
    let from = |text: &str| {
        let (_, after) = text.split_once(" from ").unwrap();
        after.split_once('%').unwrap().0.parse::<f64>().unwrap() / 100.0
    };
    let text = |before: &Bench, processes, limit| document::outlook(before, processes, limit).unwrap();
    let enough = text(&before, 8, 0.05);
    assert!(enough.starts_with("8 processes a row, about 4 s: a slow-down from ") && !enough.contains(';'), "{enough}");
    assert!(from(&enough) > 0.05 && enough.contains("shown to be more than 5%, and an unchanged"), "{enough}");
    let more = text(&before, 4, 0.01);
    assert!(from(&more) > 0.02 && more.contains("to be within it from --processes "), "{more}");
    assert!(text(&before, 8, 0.001).contains("cannot be shown to be within it against a baseline of 8 processes"));
    // What was said is what is found: slower by that much is a regression, and by the limit is none.
    let slower = |by: f64| judged(&before, &bench(&[row("m.onnx", 1, 10.0 * (1.0 + by))]), &limits());
    assert_eq!(slower(from(&enough)).verdict, Verdict::Regression);
    let at_the_limit = slower(0.05);
    assert_eq!(at_the_limit.verdict, Verdict::CannotTell);
    let said = said(&at_the_limit);
    let (_, after) = said.split_once("these processes show a regression").unwrap();
    assert!((from(after) - from(&enough)).abs() < 0.002, "{said} {enough}");
    let mut one = before.clone();
    one.rows[0].blocks.retain(|block| block.process < 2);
    assert!(text(&one, 8, 0.05).contains("a verdict needs 4 processes a row"));
}

#[test]
fn old_measurements_are_read() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/results/schema1/bench.json"));
    let bench = Bench::read(&path).unwrap();
    assert!(bench.rows.iter().all(|row| row.images_per_second.is_some() && row.medians_ms().len() == 1));
    let gated = judged(&bench, &bench, &limits());
    assert_eq!(gated.verdict, Verdict::CannotTell, "one process a side");
}
