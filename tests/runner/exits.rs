//! What goes wrong is told on standard error and by the exit code, whatever is asked for as a result.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use onnx_file::proto::{AttributeProto, attribute_proto::AttributeType, tensor_proto::DataType};
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use serde_json::Value;

use crate::common::runner::{
    library, model, node, program, small_network, stderr, stdout, value_info, value_info_of, weight, write,
};

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, Output) {
    let mut command = Command::new(program());
    command.args(arguments).arg("--ort-lib").arg(library(Package::Cpu).path).current_dir(folder);
    let output = command.output().expect("the program starts");
    (output.status.code(), output)
}

/// A model that ends in one node more, of another type.
fn ends_in(folder: &Path, name: &str, last: onnx_file::proto::NodeProto, element: DataType, shape: &[i64]) {
    let nodes = vec![
        node("GlobalAveragePool", &["input"], "p", vec![]),
        node("Flatten", &["p"], "f", vec![]),
        node("Gemm", &["f", "fc"], "logits", vec![]),
        node("ArgMax", &["logits"], "best", vec![int("axis", 1), int("keepdims", 0)]),
        last,
    ];
    let output = value_info_of("y", shape, element);
    write(folder, name, &model(nodes, vec![weight("fc", &[3, 7])], value_info("input", &[-1, 3, 8, 8]), output));
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

fn cast(of: &str, to: DataType) -> onnx_file::proto::NodeProto {
    node("Cast", &[of], "y", vec![int("to", i64::from(to as i32))])
}

fn image(folder: &Path) {
    RgbImage::from_fn(8, 8, |x, y| Rgb([30 * x as u8, 9, 25 * y as u8])).save(folder.join("a.png")).expect("saved");
}

#[test]
fn a_provider_that_gives_no_result_is_told_on_standard_error_with_what_installs_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), "m.onnx", &small_network());
    let short = ["--iterations", "2", "--warmup", "1", "--processes", "1"];
    for (provider, package) in [("openvino", "openvino"), ("cuda", "cuda"), ("tensorrt", "cuda")] {
        let providers = format!("cpu,{provider}");
        let bench =
            [&["bench", "m.onnx", "--ep", &providers, "--export-json", "out.json", "--force"][..], &short].concat();
        for arguments in [&bench[..], &["compare", "m.onnx", "--ep", &providers, "--json"]] {
            let (code, output) = run(folder.path(), arguments);
            let text = stderr(&output);
            assert_eq!(code, Some(4), "{arguments:?}: {text}");
            assert!(text.contains(&format!("error: {provider} ")), "{arguments:?}: {text}");
            assert!(text.contains(&format!("resnext-run setup {package}")), "{arguments:?}: {text}");
            assert_eq!(text.matches("could not be registered").count(), 1, "{arguments:?}: {text}");
        }
    }
}

#[test]
fn an_input_that_is_missing_is_a_bad_input_in_every_verb() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), "m.onnx", &small_network());
    image(folder.path());
    for arguments in [
        &["infer", "no.onnx", "a.png"][..],
        &["infer", "m.onnx", "no.png"],
        &["infer", "m.onnx", "a.png", "--labels", "no.txt"],
        &["infer", "m.onnx", "a.png", "--preprocess", "no.json"],
        &["compare", "no.onnx"],
        &["compare", "m.onnx", "--load-inputs", "no.npz"],
        &["compare", "m.onnx", "--reference", "no.npz"],
        &["compare", "m.onnx", "--images", "no.png"],
        &["bench", "m.onnx", "no.onnx"],
        &["eval", "no.onnx", "."],
        &["eval", "m.onnx", "no"],
        &["eval", "m.onnx", ".", "--image-labels", "no.txt"],
        &["tune", "no.onnx", "-o", "out.onnx"],
        &["calibrate", "no.onnx"],
        &["calibrate", "m.onnx", "--images", "no"],
    ] {
        let (code, output) = run(folder.path(), arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        assert!(format!("{}{}", stdout(&output), stderr(&output)).contains("No such file"), "{arguments:?}");
    }
}

#[test]
fn a_model_that_is_no_classifier_is_a_bad_input_whether_its_file_or_its_run_tells() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    image(folder);
    std::fs::create_dir_all(folder.join("images/0")).expect("a folder");
    std::fs::copy(folder.join("a.png"), folder.join("images/0/a.png")).expect("copied");
    let map = vec![node("Relu", &["input"], "y", vec![])];
    let (input, output) = (value_info("input", &[-1, 3, 8, 8]), value_info("y", &[-1, 3, 8, 8]));
    write(folder, "map.onnx", &model(map, vec![], input, output));
    ends_in(folder, "texts.onnx", cast("logits", DataType::String), DataType::String, &[-1, 7]);
    ends_in(folder, "bools.onnx", cast("logits", DataType::Bool), DataType::Bool, &[-1, 7]);
    for name in ["map.onnx", "texts.onnx", "bools.onnx"] {
        for arguments in [&["infer", name, "a.png"][..], &["eval", name, "images"]] {
            let (code, output) = run(folder, arguments);
            assert_eq!(code, Some(3), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
            assert!(stderr(&output).contains("its outputs are: y"), "{arguments:?}: {}", stderr(&output));
        }
    }
    let (code, output) = run(folder, &["infer", "bools.onnx", "a.png", "--use-output", "y"]);
    assert!(code == Some(3) && stderr(&output).contains("the type of output 'y'"), "{}", stderr(&output));
}

#[test]
fn classes_as_i32_are_read_as_those_of_i64_are_and_what_is_not_read_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    image(folder);
    ends_in(folder, "i32.onnx", cast("best", DataType::Int32), DataType::Int32, &[-1]);
    ends_in(folder, "i64.onnx", cast("best", DataType::Int64), DataType::Int64, &[-1]);
    let infer = |name: &str| -> Value {
        let (code, output) = run(folder, &["infer", name, "a.png", "--json"]);
        assert_eq!(code, Some(0), "{name}: {}{}", stdout(&output), stderr(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let (narrow, wide) = (infer("i32.onnx"), infer("i64.onnx"));
    assert_eq!(narrow["output"]["meaning"], "classes");
    assert_eq!(narrow["images"][0]["top"], wide["images"][0]["top"]);
    assert!(narrow["images"][0]["top"][0]["index"].is_u64(), "{narrow}");
    let (code, output) = run(folder, &["compare", "i32.onnx", "--json"]);
    assert_eq!(code, Some(0), "{}{}", stdout(&output), stderr(&output));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/classifiers");
    let (code, output) = run(&fixtures, &["infer", "texts.onnx", "image.png"]);
    assert_eq!(code, Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("of types that are not read: words other [?, 10]"), "{}", stdout(&output));
}
