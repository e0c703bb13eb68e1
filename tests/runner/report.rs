//! Report pages: what stands in them, what they never do, and that they hold their results.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::runner::{program, stderr};

fn report(folder: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(program());
    command.arg("report").args(arguments).current_dir(folder);
    let output = command.output().expect("the program starts");
    (output.status.code(), output)
}

fn fixtures(version: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/results").join(version);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("one").path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    files.sort();
    files.iter().map(|path| path.display().to_string()).collect()
}

fn page(folder: &Path, name: &str, files: &[&str]) -> String {
    let (code, output) = report(folder, &[files, &["-o", name, "--force", "-q"]].concat());
    assert_eq!(code, Some(0), "{}", stderr(&output));
    std::fs::read_to_string(folder.join(name)).expect("a page")
}

#[test]
fn the_results_of_every_version_are_one_page_that_asks_for_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for version in ["schema1", "schema2"] {
        let files = fixtures(version);
        assert!(files.len() >= 7, "{files:?}");
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let text = page(folder.path(), "a.html", &files);
        assert!(text.len() < 1_000_000, "{}", text.len());
        for asks in ["src=", "url(", "@import", "<script>", "onload", "<iframe", "<object"] {
            assert!(!text.contains(asks), "{version}: {asks}");
        }
        let links = text.split("href=\"").skip(1).filter(|link| !link.starts_with('#') && !link.starts_with("data:,"));
        assert_eq!(links.count(), 0);
        assert!(text.contains("default-src 'none'"));
        // The JSON's numbers stand in the page, as text and as data.
        let bench: Value = serde_json::from_slice(&std::fs::read(files[0]).expect("bench")).expect("JSON");
        for row in bench["rows"].as_array().expect("rows") {
            let median = row["latency_ms"]["median"].as_f64().expect("a median");
            let digits = format!("{median:.*}", if median < 1.0 { 4 } else { 3 });
            assert!(text.contains(&format!(">{digits}<")), "{version}: {digits}");
        }
        assert_eq!(text.matches("type=\"application/json\"").count(), files.len());
        assert_eq!(text.matches("role=\"img\"").count(), text.matches("<svg").count(), "every plot has a name");
        assert_eq!(page(folder.path(), "b.html", &files), text, "the same results, the same bytes");
        assert_eq!(page(folder.path(), "c.html", &["a.html"]), text, "a page holds its results");
    }
}

#[test]
fn text_of_others_is_no_markup_and_many_samples_are_no_longer_page() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bench = fixtures("schema2").into_iter().find(|path| path.ends_with("bench.json")).expect("bench");
    let mut bench: Value = serde_json::from_slice(&std::fs::read(bench).expect("bench")).expect("JSON");
    let hostile = "</script><script>alert(1)</script><img src=x onerror=y>.onnx";
    bench["rows"][0]["model"] = json!(hostile);
    let samples: Vec<f64> = (0..200_000).map(|at| 0.2 + f64::from(at % 997) * 1e-3).collect();
    bench["rows"][0]["blocks"][0]["samples_ms"] = json!(samples);
    std::fs::write(folder.path().join("<i>.json"), bench.to_string()).expect("written");
    let text = page(folder.path(), "a.html", &["<i>.json"]);
    assert!(!text.contains("<script>alert") && !text.contains("<img") && !text.contains("<i>"), "it is markup");
    assert!(text.contains("&lt;img src=x onerror=y&gt;"));
    assert!(text.len() < 1_000_000 && text.contains("without the raw samples"), "{}", text.len());
    let again = page(folder.path(), "b.html", &["a.html"]);
    assert_eq!(again.matches("application/json").count(), 1);
    assert!(again.contains("without the raw samples") && !again.contains("raw samples included"));
}

#[test]
fn a_calibration_whose_histograms_are_long_has_a_page_without_them() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let kept = fixtures("schema2").into_iter().find(|path| path.ends_with("calibrate.json")).expect("calibrate");
    let mut kept: Value = serde_json::from_slice(&std::fs::read(kept).expect("calibrate")).expect("JSON");
    let counts: Vec<u32> = (0..200_000).collect();
    let keep = |kept: &Value| std::fs::write(folder.path().join("c.json"), kept.to_string()).expect("written");
    kept["values"][0]["histogram"] = json!({ "zeros": 0, "counts": counts });
    keep(&kept);
    for (name, file) in [("a.html", "c.json"), ("b.html", "a.html")] {
        let text = page(folder.path(), name, &[file]);
        assert!(text.contains("without the histograms of calibrations, which") && text.contains("<svg"), "{file}");
        assert!(text.len() < 1_000_000 && !text.contains("\"counts\""), "{file}: {}", text.len());
    }
    // What is too long in itself: the advice is one that can be followed.
    kept["values"][0]["name"] = json!("x".repeat(1_000_000));
    keep(&kept);
    let (code, output) = report(folder.path(), &["c.json", "-o", "c.html"]);
    let text = stderr(&output);
    assert!(code == Some(2) && text.contains("c.json: this result needs a page of more than"), "{text}");
}

#[test]
fn plots_are_files_on_request_and_what_is_no_result_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let files = fixtures("schema2");
    let bench = files.iter().find(|path| path.ends_with("bench.json")).expect("bench").as_str();
    let (code, output) = report(folder.path(), &[bench, "--export-svg", "plots"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    for name in ["latency", "throughput", "speed-up"] {
        let svg = std::fs::read_to_string(folder.path().join(format!("plots/1-bench-{name}.svg"))).expect("a plot");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
    let refused = |arguments: &[&str]| {
        let (code, output) = report(folder.path(), arguments);
        (code, stderr(&output))
    };
    assert_eq!(refused(&[bench]).0, Some(2), "report.html exists");
    assert_eq!(refused(&[bench, "-o", "new.html", "--export-svg", "plots"]).0, Some(2), "the plots exist");
    std::fs::write(folder.path().join("other.html"), "<!doctype html><p>x").expect("written");
    for (arguments, code, why) in [
        (["none.json", "-o", "x.html"], 3, "cannot read none.json"),
        (["other.html", "-o", "x.html"], 3, "no report of this program"),
        ([bench, "-o", "none/x.html"], 6, "make it first"),
    ] {
        let (found, text) = refused(&arguments);
        assert!(found == Some(code) && text.contains(why), "{arguments:?}: {text}");
    }
}

/// Where a browser is installed, it says nothing against a page and shows it.
#[test]
fn a_browser_shows_the_page_without_a_word() {
    let browsers = ["/usr/lib/chromium/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let Some(browser) = browsers.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("no browser is installed: nothing was looked at");
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let files = fixtures("schema2");
    page(folder.path(), "a.html", &files.iter().map(String::as_str).collect::<Vec<_>>());
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    let output = command.arg(folder.path().join("a.html")).output().expect("the browser starts");
    let (dom, said) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(!said.contains("CONSOLE"), "{said}");
    assert_eq!(dom.matches("<svg").count(), dom.matches("</figure>").count(), "{said}");
    assert!(dom.contains("</html>") && dom.matches("<svg").count() >= 6);
}
