//! The JSON of every verb: which fields, of which types. Programs read it, so that a change is one on purpose.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::common::models::{SMALL, export};
use crate::common::program::{fail, succeed};
use crate::common::snapshot::assert_as_kept;
use onnx_file::digest;

fn fixture(name: &str) -> String {
    export("../checkpoints").join(name).display().to_string()
}

/// Each field as a path with its type. Elements of a list are taken together; keys of `metadata` and of counts by
/// name are data.
fn shape(value: &Value, path: &str, lines: &mut BTreeSet<String>) {
    let by_name = ["metadata", "operators", "element_types", "opsets", "grouped_convolutions"];
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let is_data = by_name.iter().any(|name| path == *name || path.ends_with(&format!(".{name}")));
                let key = if is_data { "*" } else { key };
                shape(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, lines);
            }
        }
        Value::Array(items) if items.is_empty() => drop(lines.insert(format!("{path}[]: (empty)"))),
        Value::Array(items) => items.iter().for_each(|item| shape(item, &format!("{path}[]"), lines)),
        Value::Null => drop(lines.insert(format!("{path}: null"))),
        Value::Bool(_) => drop(lines.insert(format!("{path}: bool"))),
        Value::Number(_) => drop(lines.insert(format!("{path}: number"))),
        Value::String(_) => drop(lines.insert(format!("{path}: string"))),
    }
}

fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_slice(&succeed(folder, args)).expect("JSON")
}

#[test]
fn the_fields_of_every_output_are_as_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, exported) = (fixture("resnext_zip.pth"), export("resnext_unfolded.onnx").display().to_string());
    let build = ["--weights", &weights, "--image-size", "64", "--json", "--force", "-o", "m.onnx"];
    let outputs: [(&str, Vec<&str>); 8] = [
        ("build", [&build[..], &["--verify"]].concat()),
        (
            "build, f16",
            [&build[..], &["--dtype", "f16", "--target", "cpu-avx512", "--external-data", "always"]].concat(),
        ),
        ("verify", vec!["verify", "m.onnx", "--weights", &weights, "--json"]),
        ("optimize", vec!["optimize", &exported, "-o", "o.onnx", "--group-width", "8", "--preprocess", "v2", "--json"]),
        ("list", vec!["list", "--json"]),
        ("inspect, checkpoint", vec!["inspect", &weights, "--tensors", "--json"]),
        ("inspect, model", vec!["inspect", "o.onnx", "--sha256", "--json"]),
        ("inspect, unknown", vec!["inspect", "two.onnx", "--json"]),
    ];
    std::fs::write(folder.path().join("two.onnx"), crate::optimize::two_convolutions(|_| ())).expect("written");
    let mut kept = String::new();
    for (name, args) in outputs {
        let mut lines = BTreeSet::new();
        shape(&json(folder.path(), &args), "", &mut lines);
        let lines: Vec<String> = lines.into_iter().collect();
        kept += &format!("## {name}\n{}\n\n", lines.join("\n"));
    }
    assert_as_kept("builder-json", kept.trim_end());
}

#[test]
fn a_build_says_what_it_left_and_how_to_check_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = [&SMALL[..], &["--json", "-o", "m.onnx", "--external-data", "always", "--seed", "3"]].concat();
    let found = json(folder.path(), &args);
    assert_eq!((&found["kind"], &found["schema_version"]), (&"build".into(), &1.into()));
    let files = found["files"].as_array().expect("files");
    assert_eq!((files.len(), files[1]["path"].as_str()), (2, Some("m.onnx")));
    let mut bytes = 0;
    for file in files {
        let content = std::fs::read(folder.path().join(file["path"].as_str().expect("a path"))).expect("a file");
        assert_eq!(file["bytes"], content.len());
        assert_eq!(file["sha256"].as_str(), Some(digest::hex(&digest::sha256(&content[..]).expect("read")).as_str()));
        bytes += content.len();
    }
    assert_eq!(found["bytes"], bytes);
    assert_eq!(found["metadata"]["resnext.variant"], found["variant"]);
    fail(folder.path(), &[&SMALL[..], &["--json", "-o", "-"]].concat(), 2, &["--json"]);
}
