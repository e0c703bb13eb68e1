//! Which multiplications of other people's quantized models run in integers.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::runner::{launcher, library, program, spec, stderr};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::model::coverage::{Coverage, FloatReason};
use resnext_runner::model::opened::Model;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/fixtures/quantized/{name}.onnx"))
}

fn coverage(path: &Path, options: &[(&str, &str)]) -> Coverage {
    let mut spec = spec(library(Package::Cpu), Kind::Cpu, path);
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    spec.session.config.extend(options);
    let mut model = launcher().load(&spec).expect("it loads");
    model.coverage().expect("it can be looked at").expect("the CPU provider tells")
}

/// Name, multiply-adds and reason of every node that multiplies in floating point.
fn floats(found: &Coverage) -> Vec<(&str, Option<u64>, &FloatReason)> {
    found.float().map(|(node, reason)| (node.name.as_str(), node.multiply_adds, reason)).collect()
}

/// Of 8 x 8 pixels: 16 x 27 + 32 x 16 + 32 x 72 + 32 x 32 + 32 x 16, and 10 x 32.
const ALL: u64 = 64 * (16 * 27 + 32 * 16 + 32 * 72 + 32 * 32 + 32 * 16) + 320;

#[test]
fn every_form_of_onnxruntimes_quantizer_is_counted() {
    for name in ["qdq", "qoperator"] {
        let found = coverage(&fixture(name), &[]);
        assert_eq!((found.share, found.multiply_adds, found.integer_nodes), (1.0, Some(ALL), 6), "{name}: {found:?}");
        let names: Vec<&str> = found.nodes.iter().map(|node| node.name.as_str()).collect();
        let plain = |wanted: &str| names.contains(&wanted) || names.contains(&format!("{wanted}_quant").as_str());
        assert!(["stem", "conv1", "conv2", "conv3", "down", "fc"].iter().all(|name| plain(name)), "{names:?}");
    }
    // Without names nodes are counted, and called by their weights.
    let found = coverage(&fixture("qdq_nameless"), &[]);
    assert_eq!((found.share, found.integer_nodes, found.nodes.len()), (1.0, 6, 6), "{found:?}");
    assert_eq!((found.multiply_adds, found.nodes[0].name.as_str()), (None, "stem.w_quantized"));
}

#[test]
fn a_float_convolution_is_found_with_its_multiply_adds_and_the_reason() {
    let found = coverage(&fixture("qoperator_float_conv2"), &[]);
    let conv2 = 64 * 32 * 72;
    assert_eq!(floats(&found), [("conv2", Some(conv2), &FloatReason::ValuesNotQuantized)]);
    assert_eq!(found.multiply_adds, Some(ALL));
    assert!((found.share - (ALL - conv2) as f64 / ALL as f64).abs() < 1e-12, "{found:?}");
}

#[test]
fn files_that_say_8_bits_and_run_in_floating_point_are_told_apart_with_the_reason() {
    let found = coverage(&fixture("qdq_signed"), &[]);
    let differ = |reason: &FloatReason| matches!(reason, FloatReason::TypesDiffer { .. });
    assert!(found.integer_nodes < 6 && found.float().all(|(_, reason)| differ(reason)), "{found:?}");
    // The same file with the option that keeps signed values as they are.
    let found = coverage(&fixture("qdq_signed"), &[("session.qdqisint8allowed", "1")]);
    assert_eq!(found.share, 1.0, "{found:?}");
    let found = coverage(&fixture("qdq_16"), &[]);
    assert_eq!((found.share, found.float().count()), (0.0, 6));
    assert!(found.float().all(|(_, reason)| matches!(reason, FloatReason::NoKernel { .. })), "{found:?}");
    let found = coverage(&fixture("qdq"), &[("session.disable_quant_qdq", "1")]);
    assert!(found.float().count() == 6 && found.sentences(1)[0].contains("disable_quant_qdq=1"), "{found:?}");
}

#[test]
fn bench_shows_what_of_a_quantized_model_runs_in_integers() {
    let run = |more: &[&str]| {
        let mut command = Command::new(program());
        let model = fixture("qoperator_float_conv2");
        command.arg("bench").arg(model).args(["--warmup", "1", "--iterations", "3", "--processes", "1"]).args(more);
        let output = command.arg("--ort-lib").arg(library(Package::Cpu).path).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let found: Value = serde_json::from_str(&run(&["--json"])).expect("JSON");
    let found = &found["rows"][0]["int8_coverage"];
    assert_eq!(found["integer_nodes"].as_u64(), Some(5), "{found}");
    assert_eq!(found["nodes"].as_array().map(Vec::len), Some(6), "{found}");
    let text = run(&[]);
    assert!(text.contains("5 of 6") && text.contains("conv2: the values that it takes are not quantized"), "{text}");
}
