//! Kept results judged again: by the same limits as they were, by others as far as they prove it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::runner::{parsed, program, stderr, stdout};

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let output = Command::new(program()).args(arguments).current_dir(folder).output().expect("the program starts");
    (output.status.code(), output)
}

fn fixture_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/results").join(name);
    std::fs::read_to_string(path).expect("a fixture")
}

fn fixture(name: &str) -> Value {
    serde_json::from_str(&fixture_text(name)).expect("JSON")
}

#[test]
fn a_comparison_is_judged_by_other_tolerances_as_far_as_it_proves() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let mut kept = fixture("schema2/compare.json");
    let output = &mut kept["rows"][1]["outputs"][0];
    (output["max_abs"], output["max_rel"], output["beyond_tolerance"]) = (json!(1e-3), json!(0.9), json!(5));
    kept["rows"][1]["status"] = json!("differs");
    kept["rows"][1]["failures"] = json!([{ "code": "beyond-tolerance", "text": "logits: 5 of 48 elements differ" }]);
    std::fs::write(folder.join("c.json"), kept.to_string()).expect("written");
    let code = |more: &[&str]| run(folder, &[&["recheck", "c.json", "-q"][..], more].concat()).0;
    assert_eq!(code(&[]), Some(1), "as it was judged");
    assert_eq!(code(&["--atol", "0.001"]), Some(0), "no element differs by more");
    assert_eq!(code(&["--atol", "1e-9"]), Some(1));
    assert_eq!(code(&["--atol", "0.0009", "--rtol", "0"]), Some(1), "one differs by 0.001");
    assert_eq!(code(&["--atol", "0.0009"]), Some(0), "it may be a large one");
    assert_eq!(code(&["--atol", "0.0009", "--strict"]), Some(1));
    kept["rows"][1]["failures"] = json!([{ "code": "missing", "text": "features: missing" }]);
    kept["rows"][1]["outputs"][0]["beyond_tolerance"] = json!(0);
    std::fs::write(folder.join("c.json"), kept.to_string()).expect("written");
    assert_eq!(code(&["--atol", "1000"]), Some(1), "no tolerance brings an output");
}

#[test]
fn results_of_every_version_and_pages_give_the_same_bytes_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    for version in ["schema1", "schema2"] {
        for name in ["bench", "compare", "eval", "calibrate", "infer", "tune", "gate"] {
            if (version, name) == ("schema1", "gate") {
                continue;
            }
            let kept = fixture(&format!("{version}/{name}.json"));
            std::fs::write(folder.join("r.json"), kept.to_string()).expect("written");
            let (code, first) = run(folder, &["recheck", "r.json", "--json"]);
            assert_eq!(code, Some(0), "{version} {name}: {}", stderr(&first));
            assert_eq!(run(folder, &["report", "r.json", "-o", "p.html", "--force", "-q"]).0, Some(0));
            let (_, again) = run(folder, &["recheck", "p.html", "--json"]);
            assert_eq!(stdout(&first), stdout(&again), "{version} {name}");
        }
    }
}

#[test]
fn times_and_accuracy_are_judged_by_limits_that_come_later() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let mut bench = fixture("schema2/bench.json");
    for block in bench["rows"][2]["blocks"].as_array_mut().expect("blocks") {
        block["samples_ms"] = json!([1e3, 1e3]);
    }
    std::fs::write(folder.join("b.json"), bench.to_string()).expect("written");
    let (code, output) = run(folder, &["recheck", "b.json", "--max-regress", "5%", "--json"]);
    let json = parsed(&output);
    assert_eq!((code, json["results"][0]["items"][0]["verdict"].as_str()), (Some(1), Some("fails")), "{json}");
    let mut eval = fixture("schema2/eval.json");
    std::fs::write(folder.join("e.json"), eval.to_string()).expect("written");
    assert_eq!(run(folder, &["recheck", "e.json", "--max-loss", "1"]).0, Some(1), "six images prove no such bound");
    assert_eq!(run(folder, &["recheck", "e.json", "--max-loss", "50"]).0, Some(0));
    eval["candidates"][0]["not_finite"] = json!(["a.png"]);
    std::fs::write(folder.join("e.json"), eval.to_string()).expect("written");
    assert_eq!(run(folder, &["recheck", "e.json"]).0, Some(1));
    assert_eq!(run(folder, &["recheck", "none.json"]).0, Some(3));
}

#[test]
fn a_gate_is_judged_by_its_own_limits_to_the_byte_and_by_others_anew() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let text = fixture_text("schema2/gate.json").replace(r#""verdict": "cannot-tell""#, r#""verdict": "within-limit""#);
    let mut kept: Value = serde_json::from_str(&text).expect("JSON");
    for row in kept["rows"].as_array_mut().expect("rows") {
        // One of the bounds that a parser rounds to a neighbour unless it takes care.
        row["change"]["interval"] = json!([0.960_180_612_498_112_7, 1.049_999_999_999_999_8]);
    }
    std::fs::write(folder.join("g.json"), kept.to_string()).expect("written");
    let judged = |more: &[&str]| {
        let (code, output) = run(folder, &[&["recheck", "g.json", "--json"][..], more].concat());
        (code, parsed(&output)["results"][0].clone())
    };
    let (code, same) = judged(&[]);
    assert_eq!(
        (code, same["verdict"].as_str(), same["kept_verdict"].as_str()),
        (Some(0), Some("passes"), Some("passes"))
    );
    for field in ["verdict", "limits", "before", "now", "differences", "rows"] {
        assert_eq!(same["gate"][field].to_string(), kept[field].to_string(), "{field}");
    }
    let (code, other) = judged(&["--max-regress", "4%"]);
    assert_eq!(
        (code, other["verdict"].as_str(), other["kept_verdict"].as_str()),
        (Some(0), Some("cannot-tell"), Some("passes"))
    );
    assert_eq!(judged(&["--max-regress", "4%", "--strict"]).0, Some(1));
    kept["rows"][0]["change"]["interval"] = json!([1.07, 1.09]);
    std::fs::write(folder.join("g.json"), kept.to_string()).expect("written");
    assert_eq!([judged(&[]).0, judged(&["--max-regress", "10%"]).0], [Some(1), Some(0)]);
    kept["differences"] =
        json!([{ "aspect": "threads", "what": "threads", "before": "1", "now": "2", "allowed": false }]);
    std::fs::write(folder.join("g.json"), kept.to_string()).expect("written");
    assert_eq!(judged(&["--max-regress", "10%"]).0, Some(2), "refused, as `gate` does");
    assert_eq!(judged(&["--max-regress", "10%", "--allow-different", "threads"]).0, Some(0));
}

#[test]
fn what_a_comparison_proves_is_used() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let mut kept = fixture("schema2/compare.json");
    kept["rows"][1]["status"] = json!("differs");
    kept["rows"][1]["failures"] = json!([{ "code": "beyond-tolerance", "text": "logits: 5 of 48 elements differ" }]);
    let output = &mut kept["rows"][1]["outputs"][0];
    (output["max_abs"], output["max_rel"], output["beyond_tolerance"]) = (json!(1e-2), json!(1e-3), json!(5));
    let code = |kept: &Value, more: &[&str]| {
        std::fs::write(folder.join("c.json"), kept.to_string()).expect("written");
        run(folder, &[&["recheck", "c.json", "-q"][..], more].concat()).0
    };
    assert_eq!(code(&kept, &["--atol", "0", "--rtol", "0.0011", "--strict"]), Some(0), "by the largest relative one");
    assert_eq!(code(&kept, &["--atol", "0", "--rtol", "0.0001"]), Some(1), "stricter in one, equal in the other");
    // 48 elements of this root mean square are below 12: none may differ by 0.01.
    assert_eq!(code(&kept, &["--atol", "0", "--rtol", "0.0009"]), Some(0), "may be a large one");
    assert_eq!(code(&kept, &["--atol", "0.002", "--rtol", "0.0005"]), Some(1), "no element is large enough");
    kept["rows"][1]["status"] = json!("not-repeatable");
    kept["rows"][1]["failures"] =
        json!([{ "code": "not-repeatable", "text": "two runs differ", "output": "logits", "max_abs": 0.5 }]);
    assert_eq!(code(&kept, &["--atol", "0.4", "--rtol", "0"]), Some(1), "its runs differ by more");
    assert_eq!(code(&kept, &["--atol", "0.5", "--rtol", "0"]), Some(0));
    // Version 1 says sentences alone.
    kept["rows"][1]["failures"] = json!(["two runs differ"]);
    assert_eq!(code(&kept, &[]), Some(1));
    assert_eq!(code(&kept, &["--atol", "9"]), Some(0), "of what, it does not say");
    assert_eq!(code(&kept, &["--atol", "9", "--strict"]), Some(1));
    kept["rows"][1]["outputs"][0]["nan"] = json!([1, 0]);
    assert_eq!(code(&kept, &["--atol", "9"]), Some(1));
    kept["rows"][1]["error"] = json!({ "kind": "fallback", "detail": "12 nodes would run elsewhere" });
    kept["rows"][1]["status"] = json!("no-result");
    assert_eq!(code(&kept, &["--atol", "9"]), Some(5), "as `compare` ends");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    std::fs::write(folder.join("c.json"), fixture_text("schema1/compare.json")).expect("written");
    std::fs::write(folder.join("cut.json"), &fixture_text("schema2/compare.json")[..300]).expect("written");
    std::fs::write(folder.join("bare.json"), r#"{"kind":"compare","schema_version":2}"#).expect("written");
    std::fs::write(folder.join("page.html"), "<!doctype html><p>no report</p>").expect("written");
    let said = |arguments: &[&str]| {
        let (code, output) = run(folder, &[&["recheck"][..], arguments].concat());
        (code, stderr(&output))
    };
    for limit in ["NaN", "-1", "inf", "x", ""] {
        assert_eq!(said(&["c.json", &format!("--atol={limit}")]).0, Some(2), "{limit}");
        assert_eq!(said(&["c.json", &format!("--max-regress={limit}%")]).0, Some(2), "{limit}");
    }
    for file in ["cut.json", "bare.json", "page.html", "none.json", "."] {
        let (code, text) = said(&[file]);
        assert_eq!(code, Some(3), "{file}: {text}");
        assert!(text.contains(file), "{text}");
    }
    for limit in ["--max-regress=5%", "--max-loss=1", "--allow-different=threads"] {
        let (code, text) = said(&["c.json", limit]);
        assert_eq!(code, Some(2), "{limit} is for nothing here: {text}");
    }
    assert_eq!(said(&["c.json", "--export-json", "c.json", "--force"]).0, Some(2), "never over what is read");
}
