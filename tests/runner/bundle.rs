//! From a bundle back: digests first, then its golden cases, then what was asked for.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::runner::{parsed, run_in, stderr, write};
use onnx_file::bundle::{SUMS, sums_text};
use onnx_file::digest;
use resnext_builder::build::{Destination, LabelsChoice, Plan, PreprocessChoice, Weights, build};
use resnext_builder::bundle;
use resnext_builder::variant::Variant;

/// A bundle `b` of a small network in `folder`.
fn bundled(folder: &Path) {
    let variant = Variant::parse_with("50_32x4d", &[1, 1, 1, 1]).expect("a network");
    let model = folder.join("m.onnx");
    let mut plan = Plan::new(Some(variant), Weights::Random { seed: 3 }, Destination::File(model.clone()));
    plan.image = Some([resnext_builder::graph::Dim::Fixed(32), resnext_builder::graph::Dim::Fixed(32)]);
    plan.classes = Some(7);
    build(&plan, &mut |_| {}).expect("built");
    let plan = bundle::Plan {
        model,
        output: folder.join("b"),
        name: None,
        formats: vec![bundle::Format::Onnx],
        f16: None,
        int8: None,
        results: Vec::new(),
        labels: LabelsChoice::Known,
        preprocess: PreprocessChoice::Known,
        force: false,
        files: Vec::new(),
    };
    bundle::bundle(&plan).expect("bundled");
}

/// Lists the digests of what is there now: what somebody does who changes more than a file.
fn list_again(bundle: &Path) {
    let text = fs::read_to_string(bundle.join(SUMS)).unwrap();
    let names = text.lines().map(|line| line.split_once("  ").unwrap().1.to_owned());
    let sums: BTreeMap<String, String> =
        names.map(|name| (name.clone(), digest::file(&bundle.join(&name)).unwrap())).collect();
    fs::write(bundle.join(SUMS), sums_text(&sums)).unwrap();
}

#[test]
fn a_bundle_is_run_like_a_model_and_one_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    bundled(folder.path());
    write(folder.path(), "i.ppm", b"P3 2 2 255 1 2 3 4 5 6 7 8 9 250 251 252\n");
    let infer = ["infer", "b", "i.ppm", "--json"];
    let (code, output) = run_in(folder.path(), &infer);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    let found = parsed(&output);
    assert_eq!(found["images"][0]["top"].as_array().map(Vec::len), Some(5), "{found}");
    let compared = ["compare", "b", "m.onnx", "--json"];
    assert_eq!(run_in(folder.path(), &compared).0, Some(0));
    let golden = folder.path().join("b/onnx/test_data_set_1/output_0.pb");
    let mut content = fs::read(&golden).unwrap();
    // The sign and exponent of the last number.
    *content.last_mut().unwrap() ^= 0x82;
    let changed = |content: &[u8]| fs::write(&golden, content).unwrap();
    changed(&content);
    let (code, output) = run_in(folder.path(), &infer);
    assert_eq!(code, Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("onnx/test_data_set_1/output_0.pb: its content is not what"),
        "{}",
        stderr(&output)
    );
    list_again(&folder.path().join("b"));
    let (code, output) = run_in(folder.path(), &["bench", "b", "--iterations", "1", "--warmup", "0"]);
    assert_eq!(code, Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("golden case onnx/test_data_set_1: output 'logits'"), "{}", stderr(&output));
}
