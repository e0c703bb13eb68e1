//! Kept measurements against earlier ones: verdicts, exit codes, and what is refused.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::runner::{parsed, program, run_in, small_network, stderr, stdout, write};

/// A measurement whose every run takes `factor` times as long as in `kept`.
fn times(kept: &Value, factor: f64) -> Value {
    let mut slower = kept.clone();
    for row in slower["rows"].as_array_mut().expect("rows") {
        for block in row["blocks"].as_array_mut().expect("blocks") {
            for sample in block["samples_ms"].as_array_mut().expect("samples") {
                *sample = json!(sample.as_f64().expect("a number") * factor);
            }
        }
    }
    slower
}

/// Runs the program in `folder` without any library: what is kept needs none.
fn bare(folder: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let output = Command::new(program()).args(arguments).current_dir(folder).output().expect("the program starts");
    (output.status.code(), output)
}

fn keep(folder: &Path, name: &str, value: &Value) {
    std::fs::write(folder.join(name), value.to_string()).expect("written");
}

#[test]
fn a_measurement_is_judged_by_an_earlier_one_kept_or_just_made() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    write(folder, "m.onnx", &small_network());
    let short = ["--warmup", "2", "--iterations", "40", "--processes", "4", "--intra-op-threads", "1"];
    let bench = |more: &[&str]| run_in(folder, &[&["bench", "m.onnx"][..], &short, more].concat());
    let (code, output) = bench(&["--export-json", "a.json"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.join("a.json")).expect("kept")).expect("JSON");
    // So much slower, or faster, that no noise of a busy machine hides it.
    keep(folder, "slow.json", &times(&kept, 1e6));

    let gate = |arguments: &[&str]| bare(folder, &[&["gate"][..], arguments].concat()).0;
    assert_eq!(gate(&["a.json", "slow.json"]), Some(1));
    assert_eq!(gate(&["slow.json", "a.json", "--strict"]), Some(0), "faster");
    assert_eq!(gate(&["a.json", "a.json", "--max-regress", "0%"]), Some(0), "what cannot be told is no failure");
    assert_eq!(gate(&["a.json", "a.json", "--max-regress", "0%", "--strict"]), Some(1), "unless it is to be");
    let (_, output) = bare(folder, &["gate", "a.json", "slow.json", "--export-markdown", "-"]);
    let text = stdout(&output);
    assert!(
        text.contains("| verdict |") && text.contains("**regression: 1 of 1 rows slower by more than 5%**"),
        "{text}"
    );
    let (_, output) = bare(folder, &["gate", "a.json", "slow.json", "--json"]);
    let json = parsed(&output);
    assert_eq!((json["kind"].as_str(), json["verdict"].as_str()), (Some("gate"), Some("regression")));

    let (code, output) = bench(&["--baseline", "slow.json", "--json"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("4 processes a row, about "), "{}", stderr(&output));
    assert_eq!(parsed(&output)["gate"]["rows"][0]["verdict"], "faster");
    keep(folder, "fast.json", &times(&kept, 1e-6));
    assert_eq!(bench(&["--baseline", "fast.json", "-q"]).0, Some(1));
    assert_eq!(bench(&["--baseline", "slow.json", "-q", "-b", "2"]).0, Some(2), "no row in common");

    let mut elsewhere = kept.clone();
    elsewhere["environment"]["host"]["processor"] = json!("Another CPU");
    keep(folder, "elsewhere.json", &elsewhere);
    assert_eq!(gate(&["elsewhere.json", "a.json"]), Some(2));
    assert_ne!(gate(&["elsewhere.json", "a.json", "--allow-different", "hardware"]), Some(2));
    let (code, output) = bench(&["--baseline", "elsewhere.json"]);
    assert!(code == Some(2) && stderr(&output).contains("is of another machine (processor: Another CPU before"));
    assert_eq!(bench(&["--max-regress", "5%"]).0, Some(2), "nothing to compare with");
}

#[test]
fn measurements_of_every_version_are_judged_and_other_files_are_refused() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/results");
    let at = |name: &str| results.join(name).display().to_string();
    let folder = tempfile::tempdir().expect("temporary folder");
    let gate = |before: &str, now: &str, more: &[&str]| {
        let (code, output) = bare(folder.path(), &[&["gate", before, now][..], more].concat());
        (code, stderr(&output) + &stdout(&output))
    };
    for version in ["schema1/bench.json", "schema2/bench.json"] {
        let (code, text) = gate(&at(version), &at(version), &["-q"]);
        assert!(code == Some(0) && text.contains("cannot tell"), "{version}: {text}");
    }
    for (name, why) in [
        ("schema2/eval.json", "it is no result of `bench`"),
        ("schema1/README.md", "it is no JSON"),
        ("schema1", "it is a folder"),
        ("none.json", "cannot read"),
    ] {
        let (code, text) = gate(&at("schema2/bench.json"), &at(name), &[]);
        assert!(code == Some(3) && text.contains(why), "{name}: {text}");
    }
}

#[test]
fn the_only_measurement_of_a_page_is_judged_and_others_are_refused_by_what_they_are() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/results/schema2");
    let kept = |name: &str| results.join(name).display().to_string();
    let folder = tempfile::tempdir().expect("temporary folder");
    let page = |name: &str, files: &[&str]| {
        let (code, output) = bare(folder.path(), &[&["report", "-o", name, "-q"][..], files].concat());
        assert_eq!(code, Some(0), "{}", stderr(&output));
    };
    let (bench, eval) = (kept("bench.json"), kept("eval.json"));
    page("one.html", &[&eval, &bench]);
    page("two.html", &[&bench, &bench]);
    page("none.html", &[&eval]);
    let mut long: Value = serde_json::from_slice(&std::fs::read(&bench).expect("bench")).expect("JSON");
    long["rows"][0]["blocks"][0]["samples_ms"] =
        json!((0..300_000).map(|at| 1.0 + f64::from(at % 7)).collect::<Vec<_>>());
    keep(folder.path(), "long.json", &long);
    page("long.html", &["long.json"]);
    for (name, code, why) in [
        ("one.html", 0, "cannot tell"),
        ("two.html", 3, "this page holds 2 results of `bench`"),
        ("none.html", 3, "it is no result of `bench`"),
        ("long.html", 3, "it holds no raw samples; give long.json"),
    ] {
        let (found, output) = bare(folder.path(), &["gate", name, &bench]);
        let text = stderr(&output) + &stdout(&output);
        assert!(found == Some(code) && text.contains(why), "{name}: {text}");
    }
}
