//! Files that somebody else made, given to the runner: nothing hangs, nothing fills the memory, nothing is read that the
//! model may not name, and nothing of the user's is lost.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use image::RgbImage;
use onnx_file::proto::{
    AttributeProto, ModelProto, StringStringEntryProto, TensorProto, attribute_proto::AttributeType,
    tensor_proto::DataType,
};
use prost::Message as _;
use resnext_runner::backend::onnxruntime::runtime::package::Package;

use crate::common::runner::{library, model, node, program, small_network, stderr, stdout, value_info, weight, write};

/// Longer than any refusal takes, on a machine with much else to do.
const LONG: Duration = Duration::from_secs(60);

/// Runs it in `folder` with at most `mib` of memory for each process; what does not end fails the test.
fn bounded(folder: &Path, mib: u64, args: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {}; exec \"$0\" \"$@\"", mib << 10)]).arg(program()).args(args);
    shell.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = shell.spawn().unwrap();
    let id = child.id();
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || give.send(child.wait_with_output()));
    take.recv_timeout(LONG).map(Result::unwrap).unwrap_or_else(|_| {
        Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
        panic!("{args:?} does not end")
    })
}

/// Runs it with 2 GiB of memory and expects this exit code and a message that holds `part`.
#[track_caller]
fn refused(folder: &Path, code: i32, args: &[&str], part: &str) {
    let output = bounded(folder, 2048, args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(message.contains(part), "{args:?} should mention '{part}': {message}");
    assert!(!message.contains("panicked"), "{message}");
}

fn image(path: &Path) {
    RgbImage::from_pixel(8, 8, image::Rgb([9, 99, 199])).save(path).unwrap();
}

fn text(name: &str, value: &str) -> AttributeProto {
    let (name, s) = (name.to_owned(), value.as_bytes().to_vec().into());
    AttributeProto { name, r#type: AttributeType::String as i32, s, ..AttributeProto::default() }
}

/// A classifier whose only node is a graph compiled for a provider, which lies in the file `context`.
fn compiled(context: &str) -> Vec<u8> {
    let mode = AttributeProto { name: "embed_mode".into(), r#type: AttributeType::Int as i32, ..Default::default() };
    let attributes = vec![mode, text("ep_cache_context", context), text("source", "OpenVINOExecutionProvider")];
    let mut node = node("EPContext", &["input"], "logits", attributes);
    node.domain = "com.microsoft".to_owned();
    model(vec![node], vec![], value_info("input", &[-1, 3, 32, 32]), value_info("logits", &[-1, 10]))
}

/// The small network with the data of its last weight at `location`.
fn with_data_at(location: &str) -> Vec<u8> {
    let mut model = ModelProto::decode(small_network().as_slice()).unwrap();
    let entry = StringStringEntryProto { key: "location".into(), value: location.into() };
    let bias = model.graph.as_mut().unwrap().initializer.last_mut().unwrap();
    *bias = TensorProto {
        data_location: 1,
        external_data: vec![entry],
        raw_data: Vec::new().into(),
        ..weight("fc.bias", &[10])
    };
    model.encode_to_vec()
}

#[test]
fn a_model_names_files_of_its_own_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("models")).unwrap();
    fs::write(at("secret"), [0; 40]).unwrap();
    symlink("..", at("models/up")).unwrap();
    image(&at("a.png"));
    for (name, model) in [
        ("compiled.onnx", compiled("../secret")),
        ("linked.onnx", compiled("up/secret")),
        ("data.onnx", with_data_at("../secret")),
        ("linked-data.onnx", with_data_at("up/secret")),
    ] {
        let model = write(&at("models"), name, &model);
        let (model, output) = (model.to_str().unwrap(), at("models/o.onnx"));
        let output = output.to_str().unwrap();
        for args in [
            &["infer", model, "a.png"][..],
            &["infer", "-e", "openvino", model, "a.png"],
            &["compare", model],
            &["bench", model],
            &["eval", model, "."],
            &["calibrate", model],
            &["tune", model, "-o", output],
        ] {
            refused(folder.path(), 3, args, "outside the model's folder");
        }
    }
    assert!(!at("models/o.onnx").exists());
}

#[test]
fn an_output_is_never_an_input_and_no_two_outputs_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("set/0")).unwrap();
    let data = weight("fc.bias", &[10]).raw_data;
    fs::write(at("bias.data"), &data).unwrap();
    write(folder.path(), "m.onnx", &with_data_at("bias.data"));
    image(&at("set/0/a.png"));
    fs::write(at("set/labels.csv"), "0/a.png,0\n").unwrap();
    fs::write(at("x.npy"), "x").unwrap();
    fs::hard_link(at("m.onnx"), at("hard.json")).unwrap();
    symlink("m.onnx", at("soft.csv")).unwrap();
    let before = |name: &str| fs::read(at(name)).unwrap();
    let preprocess = r#"{"resize":8,"crop":8,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#;
    for (name, held) in [
        ("l.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"),
        ("p.json", preprocess),
        ("config.json", "{}"),
        ("preprocessor_config.json", "{}"),
        ("set/map_clsloc.txt", "n02119789 1 kit_fox\n"),
    ] {
        fs::write(at(name), held).unwrap();
    }
    fs::create_dir(at("others")).unwrap();
    image(&at("others/b.png"));
    let inputs = [
        "m.onnx",
        "bias.data",
        "set/0/a.png",
        "set/labels.csv",
        "x.npy",
        "l.txt",
        "p.json",
        "config.json",
        "preprocessor_config.json",
        "set/map_clsloc.txt",
        "others/b.png",
    ];
    let kept = inputs.map(before);
    for args in [
        &["infer", "m.onnx", "set", "--export-json", "m.onnx"][..],
        &["infer", "m.onnx", "set/0/a.png", "--export-csv", "set/0/a.png"],
        &["infer", "m.onnx", "set", "--export-markdown", "set/0/../0/a.png"],
        &["bench", "m.onnx", "--export-json", "hard.json"],
        &["bench", "m.onnx", "--export-csv", "soft.csv"],
        &["bench", "m.onnx", "--export-markdown", "bias.data"],
        &["eval", "m.onnx", "set", "--export-csv", "set/labels.csv"],
        &["calibrate", "m.onnx", "--images", "set", "--export-json", "set/0/a.png"],
        &["compare", "m.onnx", "--load-inputs", "x.npy", "--save-outputs", "x.npy"],
        &["compare", "m.onnx", "--reference", "x.npy", "--save-inputs", "./x.npy"],
        &["tune", "m.onnx", "-o", "o.onnx", "--export-json", "m.onnx"],
        &["tune", "m.onnx", "-o", "bias.data", "--force"],
        &["infer", "m.onnx", "set", "--labels", "l.txt", "--export-csv", "l.txt", "--force"],
        &["infer", "m.onnx", "set", "--preprocess", "p.json", "--export-json", "p.json", "--force"],
        &["eval", "m.onnx", "set", "--labels", "l.txt", "--export-csv", "l.txt", "--force"],
        &["eval", "m.onnx", "set", "--preprocess", "p.json", "--export-json", "p.json", "--force"],
        &["eval", "m.onnx", "set", "--export-csv", "set/map_clsloc.txt", "--force"],
        &["calibrate", "m.onnx", "--preprocess", "p.json", "-o", "p.json", "--force"],
        &["infer", "m.onnx", "set", "--export-json", "preprocessor_config.json", "--force"],
        &["bench", "m.onnx", "--export-json", "config.json", "--force"],
        &["quantize", "m.onnx", "-o", "o.onnx", "--images", "set", "--eval", "others", "--export-csv", "others/b.png"],
    ] {
        refused(folder.path(), 2, args, "which this run reads");
    }
    for args in [
        &["bench", "m.onnx", "--export-json", "r", "--export-csv", "./r"][..],
        &["compare", "m.onnx", "--save-inputs", "r.npy", "--save-outputs", "r.npy"],
        &["tune", "m.onnx", "-o", "o.onnx", "--export-json", "o.tuning.json"],
    ] {
        refused(folder.path(), 2, args, "name the same file");
    }
    for args in [
        &["compare", "m.onnx", "--save-outputs", "r.txt"][..],
        &["compare", "m.onnx", "--save-inputs", "-"],
        &["compare", "m.onnx", "--save-outputs", "-"],
    ] {
        // Refused before anything runs: there is no provider here.
        refused(folder.path(), 2, &[args, &["--ort-lib", "none"]].concat(), "arrays are kept in .npz");
    }
    assert_eq!(inputs.map(before), kept);
}

/// A classifier with three labels, and its nodes and outputs, that hold `text`.
fn speaking(text: &str) -> Vec<u8> {
    let output = format!("logits{text}");
    let mut last = node("Flatten", &["pooled"], &output, vec![]);
    last.name = format!("flatten{text}");
    let nodes = vec![node("GlobalAveragePool", &["input"], "pooled", vec![]), last];
    let bytes = model(nodes, vec![], value_info("input", &[-1, 3, 8, 8]), value_info(&output, &[-1, 3]));
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let labels = serde_json::to_string(&[format!("=a{text}"), format!("=b{text}"), format!("=c{text}")]).unwrap();
    model.metadata_props.push(StringStringEntryProto { key: "resnext.labels".into(), value: labels });
    model.encode_to_vec()
}

#[test]
fn nothing_that_a_model_or_a_file_says_is_obeyed_by_a_terminal_or_a_spreadsheet() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\nerror: x";
    write(folder.path(), "m.onnx", &speaking(hostile));
    write(folder.path(), "bad.onnx", &compiled(&format!("no{hostile}")));
    let name = format!("{hostile}.png").replace('/', "");
    image(&at(&name));
    fs::write(at(&format!("broken{name}")), "x").unwrap();
    let library = library(Package::Cpu).path;
    let library = library.to_str().unwrap();
    let quiet = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let is_bad = |c: char| onnx_file::text::is_control(c) && c != '\n';
        assert!(!text.chars().any(is_bad), "{text:?}");
        text
    };
    let exports = ["--export-csv", "r.csv", "--export-markdown", "r.md", "--force", "--ort-lib", library];
    for (args, code) in [
        (&["infer", "m.onnx", "."][..], 3),
        (&["infer", "m.onnx", ".", "--json"], 3),
        (&["infer", "m.onnx", ".", "-v"], 3),
        (&["compare", "m.onnx"], 0),
        (&["calibrate", "m.onnx"], 0),
    ] {
        let output = bounded(folder.path(), 8192, &[args, &exports].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        quiet(&output.stdout);
        let message = quiet(&output.stderr);
        assert!(!message.lines().any(|line| line.starts_with("error: x")), "{args:?}: {message}");
        quiet(&fs::read(at("r.md")).unwrap());
        let table = quiet(&fs::read(at("r.csv")).unwrap());
        assert!(!table.lines().flat_map(|line| line.split(',')).any(|cell| cell.starts_with('=')), "{table}");
        assert!(!table.contains("\nerror: x"), "{table}");
    }
    for args in [&["infer", "bad.onnx", "."][..], &["infer", &format!("none{hostile}"), "."], &["infer", "-x", hostile]]
    {
        let output = bounded(folder.path(), 8192, args);
        assert!(!quiet(&output.stderr).is_empty() && quiet(&output.stdout).is_empty());
    }
}

#[test]
fn a_pipe_or_an_endless_device_in_any_place_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(folder.path(), "m.onnx", &speaking(""));
    fs::create_dir_all(at("set/0")).unwrap();
    image(&at("set/0/a.png"));
    let library = library(Package::Cpu).path;
    let library = ["--ort-lib", library.to_str().unwrap()];
    for extension in ["png", "npz", "npy", "safetensors", "csv", "onnx", "whl"] {
        let pipe = at(&format!("pipe.{extension}"));
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        symlink("/dev/zero", at(&format!("zero.{extension}"))).unwrap();
    }
    for odd in ["pipe", "zero"] {
        let of = |extension: &str| format!("{odd}.{extension}");
        let (model, wheel, csv) = (of("onnx"), of("whl"), of("csv"));
        for args in [
            &["infer", &model, "set"][..],
            &["tune", &model, "-o", "o.onnx"],
            &["compare", "m.onnx", "--load-inputs", &of("npz")],
            &["compare", "m.onnx", "--load-inputs", &of("npy")],
            &["compare", "m.onnx", "--reference", &of("safetensors")],
            &["eval", "m.onnx", "set", "--labels", &csv],
        ] {
            refused(folder.path(), 3, args, "regular file");
        }
        refused(folder.path(), 3, &["setup", "cpu", "--dir", "runtime", "--from", &wheel], "regular file");
        let output = bounded(folder.path(), 8192, &[&["infer", "m.onnx", &of("png"), "set"][..], &library].concat());
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("regular file") && text.contains("set/0/a.png"), "{text}");
    }
}

/// A classifier of images of any size that say how they are prepared.
fn asking_for(preprocess: &str) -> Vec<u8> {
    let nodes =
        vec![node("GlobalAveragePool", &["input"], "pooled", vec![]), node("Flatten", &["pooled"], "logits", vec![])];
    let bytes = model(nodes, vec![], value_info("input", &[-1, 3, -1, -1]), value_info("logits", &[-1, 3]));
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let entry = StringStringEntryProto { key: "resnext.preprocess".into(), value: preprocess.into() };
    model.metadata_props.push(entry);
    model.encode_to_vec()
}

/// A classifier whose run makes 8 GiB of numbers on the way.
fn greedy() -> Vec<u8> {
    let extent = TensorProto {
        name: "extent".into(),
        dims: vec![1],
        data_type: DataType::Int64 as i32,
        int64_data: vec![1 << 31],
        ..TensorProto::default()
    };
    let axes = AttributeProto { name: "keepdims".into(), r#type: AttributeType::Int as i32, ..Default::default() };
    let nodes = vec![
        // Depends on the input, so that it is not computed while the model is loaded.
        node("Shape", &["input"], "shape", vec![]),
        node("ReduceMax", &["shape"], "most", vec![axes]),
        node("Mul", &["extent", "most"], "many", vec![]),
        node("Div", &["many", "most"], "count", vec![]),
        node("ConstantOfShape", &["count"], "large", vec![]),
        node("ReduceMax", &["large"], "zero", vec![]),
        node("GlobalAveragePool", &["input"], "pooled", vec![]),
        node("Flatten", &["pooled"], "flat", vec![]),
        node("Add", &["flat", "zero"], "logits", vec![]),
    ];
    model(nodes, vec![extent], value_info("input", &[-1, 3, 8, 8]), value_info("logits", &[-1, 3]))
}

#[test]
fn a_few_bytes_do_not_cost_gigabytes() {
    let folder = tempfile::tempdir().unwrap();
    image(&folder.path().join("a.png"));
    let library = library(Package::Cpu).path;
    let common = ["--ort-lib", library.to_str().unwrap(), "--max-memory", "1G"];
    let large = r#"{"resize":16384,"crop":16384,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#;
    write(folder.path(), "crop.onnx", &asking_for(large));
    let nodes =
        vec![node("GlobalAveragePool", &["input"], "pooled", vec![]), node("Flatten", &["pooled"], "logits", vec![])];
    let sided =
        |extents: &[i64]| model(nodes.clone(), vec![], value_info("input", extents), value_info("logits", &[-1, 3]));
    write(folder.path(), "side.onnx", &sided(&[-1, 3, 16_384, 16_384]));
    write(folder.path(), "batch.onnx", &sided(&[1 << 20, 3, 8, 8]));
    for file in ["crop.onnx", "side.onnx", "batch.onnx"] {
        for args in [&["infer", file, "a.png"][..], &["compare", file], &["calibrate", file]] {
            refused(folder.path(), 3, &[args, &common].concat(), "--max-memory");
        }
    }
}

#[test]
fn a_worker_that_needs_too_much_is_a_row_that_says_so_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "greedy.onnx", &greedy());
    write(folder.path(), "modest.onnx", &speaking(""));
    let library = library(Package::Cpu).path;
    let common = ["--ort-lib", library.to_str().unwrap(), "--max-memory", "1G", "--json", "--duration", "0.2"];
    let bench = |args: &[&str]| {
        let output = bounded(folder.path(), 32_768, &[&["bench"], args, &common].concat());
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = found["rows"].as_array().unwrap().clone();
        let error = |row: &serde_json::Value| (row["error"]["kind"].clone(), row["error"]["detail"].to_string());
        rows.iter().map(error).collect::<Vec<_>>()
    };
    let rows = bench(&["greedy.onnx", "modest.onnx"]);
    assert_eq!(rows[0].0, "out-of-memory", "{rows:?}");
    assert!(rows[0].1.contains("--max-memory") && rows[1].0.is_null(), "{rows:?}");
    write(
        folder.path(),
        "open.onnx",
        &asking_for(r#"{"resize":512,"crop":512,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#),
    );
    let rows = bench(&["open.onnx", "-b", "1,65536"]);
    assert!(rows[0].0.is_null() && rows[1].0 == "out-of-memory", "{rows:?}");
}
