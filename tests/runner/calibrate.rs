//! `calibrate` as the program runs it: ranges against torch's, the f16 verdict and its flags, exit codes, what is left.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::runner::{library, model, node, program, stderr, stdout, value_info_of, weight, write};
use half::f16;
use image::RgbImage;
use onnx_file::proto::{ModelProto, TensorProto, tensor_proto::DataType};
use prost::Message;
use resnext_builder::build::{Destination, External, Plan, PreprocessChoice, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::variant::Variant;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::input::arrays;
use resnext_runner::model::tensor::Data;
use serde_json::Value;

fn trained(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/trained").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The trained network, for images whose shorter side is brought to `resize`.
fn shapes(folder: &Path, resize: usize) -> PathBuf {
    let path = folder.join("shapes.onnx");
    let mut plan = Plan::new(None, Weights::File(trained("shapes.safetensors")), Destination::File(path.clone()));
    plan.image = Some([Dim::Fixed(64), Dim::Fixed(64)]);
    let preprocess = fs::read_to_string(trained("preprocess.json")).expect("preprocess.json");
    let preprocess = preprocess.replace("72", &resize.to_string());
    plan.preprocess = PreprocessChoice::Given(serde_json::from_str(&preprocess).expect("preprocessing"));
    build(&plan, &mut |_| {}).expect("built");
    path
}

/// A small network of random weights.
fn random(path: &Path, external: External) {
    let variant = Variant::parse_with("50_32x4d", &[1, 1]).expect("a variant");
    let mut plan = Plan::new(Some(variant), Weights::Random { seed: 7 }, Destination::File(path.to_owned()));
    plan.image = Some([Dim::Fixed(32), Dim::Fixed(32)]);
    plan.classes = Some(10);
    plan.external = external;
    build(&plan, &mut |_| {}).expect("built");
}

/// Multiplies the elements of a weight.
fn scale(path: &Path, name: &str, factor: f32) {
    let mut model = ModelProto::decode(fs::read(path).expect("a model").as_slice()).expect("ONNX");
    let graph = model.graph.as_mut().expect("a graph");
    let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == name).expect("the weight");
    let elements = tensor.raw_data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes")));
    tensor.raw_data = elements.flat_map(|element| (element * factor).to_le_bytes()).collect::<Vec<u8>>().into();
    fs::write(path, model.encode_to_vec()).expect("written");
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("calibrate").args(arguments).arg("--ort-lib").arg(library(Package::Cpu).path);
    command
}

fn calibrate(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

#[track_caller]
fn parsed(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The bundled images as files without loss.
fn bundled(folder: &Path) -> PathBuf {
    let images = folder.join("images");
    fs::create_dir(&images).expect("created");
    let pixels = arrays::load(&trained("bundled-pixels.npy")).expect("pixels").remove(0);
    let Data::U8(levels) = pixels.data else { panic!("8 bits a level") };
    for (index, levels) in levels.chunks(64 * 64 * 3).enumerate() {
        let image = RgbImage::from_raw(64, 64, levels.to_vec()).expect("64x64");
        image.save(images.join(format!("{index:02}.png"))).expect("saved");
    }
    images
}

#[test]
fn the_ranges_of_the_trained_network_are_torchs_whatever_the_batch() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (model, images) = (shapes(folder.path(), 64), bundled(folder.path()));
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(trained("ranges.json")).expect("ranges.json")).expect("JSON");
    for batch in ["1", "5"] {
        let found = parsed(&calibrate(&[text(&model), "--images", text(&images), "-b", batch, "--json"]), 0);
        assert_eq!((&found["inputs"]["source"], &found["inputs"]["count"]), (&"images".into(), &16.into()));
        let values = found["values"].as_array().expect("values");
        // Flattening is no module of its own, and torch's ranges are those of modules, not of the input.
        let of_torch = |value: &&Value| {
            let name = value["name"].as_str().expect("a name").replace("flatten", "avgpool");
            !expected["min_max"][&name].is_null()
        };
        let (values, input): (Vec<&Value>, Vec<&Value>) = values.iter().partition(of_torch);
        assert_eq!((values.len(), input.len()), (59, 1), "every node of the graph, and its input");
        for value in values {
            // Flattening is no module of its own.
            let name = value["name"].as_str().expect("a name").replace("flatten", "avgpool");
            let bounds = &expected["min_max"][&name];
            for (side, at) in [("min", 0), ("max", 1)] {
                let (found, expected) = (value[side].as_f64().expect(&name), bounds[at].as_f64().expect(&name));
                assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{side} of {name}: {found}, not {expected}");
            }
            let magnitude = |side: &str| value[side].as_f64().expect("a number").abs();
            assert_eq!(magnitude("max_abs"), magnitude("min").max(magnitude("max")), "{name}");
            assert_eq!(value["non_finite"], 0, "{name}");
        }
        assert_eq!(found["verdict"]["f16_safe"], true);
        assert!(strings(&found["verdict"]["overflowing"]).is_empty());
    }
}

#[test]
fn the_held_out_images_give_torchs_logits_but_for_the_decoder_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let model = shapes(folder.path(), 72);
    let broken = write(folder.path(), "broken.jpg", b"no image");
    let images = trained("heldout");
    let arguments = [text(&model), "--images", text(&images), text(&broken), "--json"];
    let found = parsed(&calibrate(&arguments), 0);
    assert_eq!(found["inputs"]["count"], 300);
    let named = found["inputs"]["broken"].as_array().expect("broken images");
    assert_eq!(named.len(), 1);
    assert_eq!(named[0]["path"], text(&broken));
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(trained("expected.json")).expect("expected.json")).expect("JSON");
    let images = expected["images"].as_array().expect("images");
    let logits = images.iter().flat_map(|image| image["logits"].as_array().expect("logits"));
    let logits: Vec<f64> = logits.map(|logit| logit.as_f64().expect("a number")).collect();
    let (low, high) = logits.iter().fold((0.0_f64, 0.0_f64), |(low, high), &logit| (low.min(logit), high.max(logit)));
    let value = found["values"].as_array().expect("values").last().expect("logits");
    assert_eq!((&value["name"], &value["node"], &value["op"]), (&"logits".into(), &"fc".into(), &"Gemm".into()));
    for (side, expected) in [("min", low), ("max", high)] {
        let found = value[side].as_f64().expect("a number");
        assert!((found - expected).abs() < 0.25, "{side}: {found}, not {expected}");
    }
    let few = parsed(&calibrate(&[&arguments[..], &["--count", "12"]].concat()), 0);
    assert_eq!(few["inputs"]["count"], 12);
    let told = stdout(&calibrate(&[text(&model), "--images", text(&broken), text(&trained("heldout/ring"))]));
    assert!(told.contains("broken.jpg: ") && told.contains("25 images on cpu"), "{told}");
}

#[test]
fn an_overflow_exits_1_and_prints_the_flags_that_keep_its_nodes_in_f32() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = shapes(folder.path(), 72);
    // The normalisation is folded, so what follows the convolution grows with it; 3e5 times about 10.
    scale(&path, "layer2.1.conv2.weight", 3e5);
    let output = calibrate(&[text(&path), "--count", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = stdout(&output);
    let found = parsed(&calibrate(&[text(&path), "--count", "2", "--json"]), 1);
    let verdict = &found["verdict"];
    assert_eq!(verdict["f16_safe"], false);
    assert!(verdict["headroom"].as_f64() < Some(1.0) && verdict["largest"].as_f64() > Some(65_504.0), "{verdict}");
    let too_large = |value: &&Value| value["max_abs"].as_f64() > Some(65_504.0);
    let nodes: Vec<&str> = found["values"]
        .as_array()
        .expect("values")
        .iter()
        .filter(too_large)
        .filter_map(|v| v["node"].as_str())
        .collect();
    assert_eq!(strings(&verdict["overflowing"]), nodes);
    assert_eq!(nodes[0], "layer2.1.conv2");
    let keep = strings(&verdict["keep_f32"]);
    assert!(nodes.iter().all(|node| keep.contains(node)));
    // The logits are among what is too large.
    assert_eq!((nodes.last(), &verdict["keep_io_types"]), (Some(&"fc"), &true.into()));
    let nodes = keep.iter().map(|node| format!("--keep-f32 {node}"));
    let flags: Vec<String> = std::iter::once("--keep-io-types".to_owned()).chain(nodes).collect();
    assert!(told.contains(&format!("resnext-build --dtype f16 {}", flags.join(" "))), "{told}");
    assert!(told.contains("f16 is not safe"), "{told}");
}

#[test]
fn what_is_not_finite_exits_1_and_no_flag_is_offered_for_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    random(&path, External::Never);
    let safe = parsed(&calibrate(&[text(&path), "--count", "1", "--json"]), 0);
    assert_eq!(
        (&safe["model"]["variant"], &safe["model"]["random_seed"]),
        (&"32x4d blocks 1,1 planes 64".into(), &7.into())
    );
    assert!(safe["model"]["source_sha256"].is_null());
    scale(&path, "fc.bias", f32::INFINITY);
    let found = parsed(&calibrate(&[text(&path), "--count", "1", "--json"]), 1);
    assert_eq!(strings(&found["verdict"]["overflowing"]), ["fc"]);
    assert_eq!(found["values"].as_array().and_then(|values| values.last()).expect("logits")["non_finite"], 10);
    assert_eq!(strings(&found["weights"]["not_finite"]), ["fc.bias"]);
    assert!(strings(&found["verdict"]["keep_f32"]).is_empty());
    let told = stdout(&calibrate(&[text(&path), "--count", "1"]));
    assert!(!told.contains("--keep-f32") && told.contains("f32 does not fix it"), "{told}");
}

#[test]
fn in_a_model_of_f16_an_overflow_shows_as_infinity() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let half = |name: &str, dims: &[i64], factor: f32| -> TensorProto {
        let tensor = weight(name, dims);
        let elements = tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
        let raw: Vec<u8> = elements.flat_map(|element| f16::from_f32(element * factor).to_le_bytes()).collect();
        TensorProto { data_type: DataType::Float16 as i32, raw_data: raw.into(), ..tensor }
    };
    for (factor, code) in [(1.0, 0), (60_000.0, 1)] {
        let nodes = vec![
            node("Conv", &["input", "w"], "c", vec![]),
            node("Relu", &["c"], "r", vec![]),
            node("GlobalAveragePool", &["r"], "logits", vec![]),
        ];
        let input = value_info_of("input", &[-1, 3, 8, 8], DataType::Float16);
        let output = value_info_of("logits", &[-1, 4, 1, 1], DataType::Float16);
        let bytes = model(nodes, vec![half("w", &[4, 3, 3, 3], factor)], input, output);
        let path = write(folder.path(), "half.onnx", &bytes);
        let found = parsed(&calibrate(&[text(&path), "--json"]), code);
        assert_eq!(found["values"].as_array().map(Vec::len), Some(4));
        assert_eq!(found["verdict"]["f16_safe"], code == 0);
        if code == 1 {
            assert!(found["values"][1]["non_finite"].as_u64() > Some(0), "{found}");
            assert_eq!(strings(&found["verdict"]["keep_f32"]), ["node_c", "node_r"]);
        }
    }
}

#[test]
fn the_exported_file_has_the_fields_that_the_builder_reads() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (path, file, table) =
        (shapes(folder.path(), 72), folder.path().join("calibration.json"), folder.path().join("values.csv"));
    let exports = ["--export-json", text(&file), "--export-csv", text(&table)];
    let output = calibrate(&[&[text(&path), "--count", "3", "--seed", "5"], &exports[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("3 synthetic inputs, seed 5"), "{}", stdout(&output));
    let found: Value = serde_json::from_slice(&fs::read(&file).expect("written")).expect("JSON");
    let top = [
        "elements",
        "environment",
        "inputs",
        "interrupted",
        "kind",
        "loaded",
        "model",
        "notes",
        "provider",
        "schema_version",
        "values",
        "verdict",
        "weights",
    ];
    assert_eq!(keys(&found), top);
    assert_eq!(
        (&found["schema_version"], &found["kind"], &found["provider"]),
        (&2.into(), &"calibration".into(), &"cpu".into())
    );
    assert_eq!(keys(&found["model"]), ["file", "random_seed", "sha256", "source_sha256", "variant"]);
    assert_eq!(keys(&found["inputs"]), ["broken", "count", "seed", "source"]);
    assert_eq!(keys(&found["values"][0]), ["histogram", "max", "max_abs", "min", "name", "node", "non_finite", "op"]);
    assert_eq!(
        keys(&found["verdict"]),
        ["f16_safe", "headroom", "keep_f32", "keep_io_types", "largest", "overflowing"]
    );
    assert_eq!((&found["inputs"]["source"], &found["inputs"]["seed"]), (&"seeded".into(), &5.into()));
    assert_eq!(found["model"]["file"], "shapes.onnx");
    let digest = |path: &Path| onnx_file::digest::file(path).expect("readable");
    assert_eq!(found["model"]["sha256"], digest(&path));
    assert_eq!(found["model"]["source_sha256"], digest(&trained("shapes.safetensors")));
    assert_eq!(fs::read_to_string(&table).expect("written").lines().count(), 61, "a heading and a line for each value");
}

#[test]
fn no_copy_of_the_model_is_left_behind_even_where_its_weights_lie_beside_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let temporary = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    random(&path, External::Always);
    let names = |folder: &Path| -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let before = names(folder.path());
    assert!(before.len() > 1, "weights beside the model: {before:?}");
    let output = command(&[text(&path), "--count", "2"]).env("TMPDIR", temporary.path()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!((names(folder.path()), names(temporary.path())), (before, vec![]));
}

#[test]
fn requests_without_an_answer_are_refused_with_the_codes_of_the_other_verbs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    random(&path, External::Never);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("created");
    let broken = write(folder.path(), "broken.jpg", b"");
    let cut = write(folder.path(), "cut.onnx", &fs::read(&path).expect("a model")[..1000]);
    for (arguments, code, message) in [
        (&[text(&path), "--ep", "cpu,openvino"][..], 2, "one --ep"),
        (&[text(&path), "--count", "0"], 2, "a number from 1 on"),
        (&[text(&path), "--images", text(&empty)], 3, "hold no images"),
        (&[text(&path), "--images", "/nowhere.png"], 3, "/nowhere.png"),
        (&[text(&path), "--images", text(&broken)], 3, "none of the 1 images can be read"),
        (&[text(&cut)], 3, "cut.onnx"),
        (&[text(&path), "--count", "1", "--export-json", "/dev/null/c.json"], 6, "/dev/null/c.json"),
    ] {
        let output = calibrate(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty() || code == 6, "{arguments:?}: {}", stdout(&output));
    }
    let mut command = Command::new(program());
    command.args(["calibrate", text(&path), "--ort-lib", "/nowhere"]);
    assert_eq!(command.output().expect("the program starts").status.code(), Some(4));
}

#[test]
fn an_interrupt_keeps_the_ranges_of_the_inputs_seen() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    random(&path, External::Never);
    // Later and later, until an input was through: before that it ends as interrupted, and prints nothing.
    let mut wait = Duration::from_millis(500);
    let output = loop {
        let mut command = command(&[text(&path), "--count", "1000000000", "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        std::thread::sleep(wait);
        let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(interrupt.expect("kill runs").success());
        let output = child.wait_with_output().expect("it ends");
        // Without a code it had not come so far as to answer interrupts.
        if !matches!(output.status.code(), Some(130) | None) {
            break output;
        }
        assert!(output.stdout.is_empty(), "{}", stdout(&output));
        wait *= 2;
        assert!(wait < Duration::from_secs(200), "no input was through: {}", stderr(&output));
    };
    let found = parsed(&output, 0);
    assert_eq!(found["interrupted"], true);
    assert!(found["inputs"]["count"].as_u64() > Some(0), "{}", found["inputs"]);
    assert!(found["values"][0]["max"].is_number());
}
