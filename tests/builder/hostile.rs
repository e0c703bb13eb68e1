//! Files that somebody else made: nothing hangs, nothing fills the memory, nothing of the reader's is taken or lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension,
    type_proto,
};
use prost::Message as _;

use super::common::models::{SMALL, read};
use super::common::program::{fail, names, program, succeed, text};

/// Longer than any refusal takes, on a machine with much else to do.
const LONG: Duration = Duration::from_secs(60);

/// Runs it with at most `kib` of memory; what waits for ever fails the test.
fn bounded(folder: &Path, kib: u64, args: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_resnext-build")]).args(args);
    let mut child =
        shell.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > LONG {
            child.kill().unwrap();
            panic!("{args:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// Runs it with 2 GiB of memory and expects a refusal of its input that mentions `part`.
#[track_caller]
fn refused(folder: &Path, args: &[&str], part: &str) {
    let output = bounded(folder, 2 << 20, args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{args:?}: {message}");
    assert!(message.contains(part), "{args:?} should mention '{part}': {message}");
    assert!(!message.contains("panicked"), "{message}");
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn fixture(folder: &Path) -> &'static str {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/resnext.safetensors");
    fs::copy(from, folder.join("w.safetensors")).unwrap();
    "w.safetensors"
}

/// A model of one initializer whose data lies at `location`.
fn external(location: &str, dims: &[i64]) -> Vec<u8> {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    let weight = TensorProto {
        name: "w".into(),
        dims: dims.to_vec(),
        data_type: 1,
        data_location: 1,
        external_data: vec![entry("location", location)],
        ..Default::default()
    };
    model(GraphProto { initializer: vec![weight], ..Default::default() })
}

fn fixed(extent: i64) -> Dimension {
    Dimension { value: Some(dimension::Value::DimValue(extent)), ..Default::default() }
}

fn model(graph: GraphProto) -> Vec<u8> {
    let opset_import = vec![OperatorSetIdProto { version: 17, ..Default::default() }];
    ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }.encode_to_vec()
}

#[test]
fn a_pipe_or_an_endless_device_in_any_place_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    mkfifo(&at("pipe"));
    symlink("/dev/zero", at("zero")).unwrap();
    let weights = fixture(folder.path());
    succeed(folder.path(), &["--weights", weights, "-o", "m.onnx", "-q"]);
    for odd in ["pipe", "zero"] {
        fs::write(at("x.onnx"), external(odd, &[2])).unwrap();
        let build = ["--weights", weights, "-o", "o.onnx"];
        for args in [
            &["inspect", odd][..],
            &["optimize", odd, "-o", "o.onnx"],
            &["optimize", "m.onnx", "-o", "o.onnx", "--tuning", odd],
            &["verify", odd, "--weights", weights],
            &["verify", "m.onnx", "--weights", odd],
            &["--weights", odd, "-o", "o.onnx"],
            &[&build[..], &["--labels", odd]].concat(),
            &[&build[..], &["--preprocess", odd]].concat(),
            &[&build[..], &["--tuning", odd]].concat(),
            &[&build[..], &["--dtype", "f16", "--calibration", odd]].concat(),
        ] {
            refused(folder.path(), args, "regular file");
        }
        for args in [&["optimize", "x.onnx", "-o", "o.onnx"][..], &["verify", "x.onnx", "--weights", weights]] {
            // The link leads out of the model's folder, which is told first.
            refused(folder.path(), args, if odd == "pipe" { "regular file" } else { "outside" });
        }
    }
    assert_eq!(names(folder.path()), ["m.onnx", "pipe", "w.safetensors", "x.onnx", "zero"]);
}

#[test]
fn data_of_a_model_comes_from_its_own_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["models/sub", "elsewhere", "blobs", "snapshots"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for name in ["models/w", "elsewhere/secret", "blobs/w"] {
        fs::write(at(name), 42f32.to_le_bytes().repeat(9)).unwrap();
    }
    symlink("../elsewhere", at("models/out")).unwrap();
    symlink("../elsewhere/secret", at("models/secret")).unwrap();
    let weights = fixture(folder.path());
    for location in ["out/secret", "secret", "../elsewhere/secret", "sub/../out/secret", "/etc/hostname"] {
        fs::write(at("models/m.onnx"), external(location, &[3, 3])).unwrap();
        refused(folder.path(), &["optimize", "models/m.onnx", "-o", "o.onnx"], "'w'");
        refused(folder.path(), &["verify", "models/m.onnx", "--weights", weights], "'w'");
        assert!(!at("o.onnx").exists());
    }
    fs::write(at("blobs/m"), external("w.data", &[3, 3])).unwrap();
    symlink("../blobs/m", at("snapshots/m.onnx")).unwrap();
    symlink("../blobs/w", at("snapshots/w.data")).unwrap();
    for (model, location) in [("models/m.onnx", "./w"), ("models/m.onnx", "sub/../w"), ("snapshots/m.onnx", "w.data")] {
        if model == "models/m.onnx" {
            fs::write(at(model), external(location, &[3, 3])).unwrap();
        }
        succeed(folder.path(), &["optimize", model, "-o", "o.onnx", "--force", "-q"]);
        let weight = &read(&at("o.onnx")).graph.unwrap().initializer[0];
        assert_eq!(weight.raw_data[..4], 42f32.to_le_bytes(), "{location}");
    }
}

#[test]
fn a_small_file_that_asks_for_much_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let weights = fixture(folder.path());
    let attributes = NodeProto { attribute: vec![AttributeProto::default(); 1 << 19], ..Default::default() };
    fs::write(at("a.onnx"), model(GraphProto { node: vec![attributes], ..Default::default() })).unwrap();
    fs::write(
        at("t.onnx"),
        model(GraphProto { initializer: vec![TensorProto::default(); 1 << 19], ..Default::default() }),
    )
    .unwrap();
    fs::File::create(at("big")).unwrap().set_len(1 << 40).unwrap();
    fs::write(at("s.onnx"), external("big", &[1 << 19, 1 << 19])).unwrap();
    // Each of them would do.
    let one = external("big", &[1 << 26]);
    let one = ModelProto::decode(&one[..]).unwrap().graph.unwrap().initializer.remove(0);
    let many = (0..64).map(|index| TensorProto { name: format!("w{index}"), ..one.clone() }).collect();
    fs::write(at("n.onnx"), model(GraphProto { initializer: many, ..Default::default() })).unwrap();
    for file in ["a.onnx", "t.onnx", "s.onnx", "n.onnx"] {
        refused(folder.path(), &["optimize", file, "-o", "o.onnx", "--max-memory", "1G"], "memory");
        refused(folder.path(), &["verify", file, "--weights", weights, "--max-memory", "1G"], "memory");
    }
    refused(folder.path(), &["inspect", "a.onnx"], "memory");
    // A grouped convolution of 65,536 channels has a weight of 2.3 MB, and widened wholly one of 154 GB.
    let numbers = |name: &str, ints: &[i64]| AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: ints.to_vec(),
        ..Default::default()
    };
    let group = AttributeProto { name: "group".into(), r#type: 2, i: 65_536, ..Default::default() };
    let wide = TensorProto {
        name: "w".into(),
        dims: vec![65_536, 1, 3, 3],
        data_type: 1,
        raw_data: vec![0; 65_536 * 9 * 4].into(),
        ..Default::default()
    };
    let convolution = NodeProto {
        op_type: "Conv".into(),
        input: vec!["x".into(), "w".into()],
        output: vec!["y".into()],
        attribute: vec![group, numbers("kernel_shape", &[3, 3]), numbers("pads", &[1, 1, 1, 1])],
        ..Default::default()
    };
    let shaped = |name: &str| ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: 1,
                shape: Some(TensorShapeProto { dim: [1, 65_536, 8, 8].map(fixed).to_vec() }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let graph = GraphProto {
        node: vec![convolution],
        initializer: vec![wide],
        input: vec![shaped("x")],
        output: vec![shaped("y")],
        ..Default::default()
    };
    fs::write(at("w.onnx"), model(graph)).unwrap();
    let widen = ["optimize", "w.onnx", "-o", "o.onnx", "--group-width", "65536", "--max-memory", "1G"];
    refused(folder.path(), &widen, "the rewritten model needs");
    succeed(folder.path(), &["--weights", weights, "-o", "p.onnx", "-q", "--image-size", "4096"]);
    refused(folder.path(), &["verify", "p.onnx", "--weights", weights, "--max-memory", "256M"], "--max-memory");
}

#[test]
fn two_initializers_of_one_name_are_refused_by_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture(folder.path());
    let twice = TensorProto { name: "twice".into(), dims: vec![0], data_type: 1, ..Default::default() };
    let graph = GraphProto { initializer: vec![twice.clone(), twice], ..Default::default() };
    fs::write(folder.path().join("m.onnx"), model(graph)).unwrap();
    refused(folder.path(), &["inspect", "m.onnx"], "'twice'");
    refused(folder.path(), &["optimize", "m.onnx", "-o", "o.onnx"], "'twice'");
    refused(folder.path(), &["verify", "m.onnx", "--weights", weights], "'twice'");
}

const FORGED: &str = "\u{1b}]0;owned\u{7}x\nnote: forged\u{9b}31m\u{202e}\u{7f}\r";

/// Fails where a terminal would obey any of `bytes`, or read a line that was forged.
#[track_caller]
fn assert_harmless(bytes: &[u8], what: &str) {
    let text = std::str::from_utf8(bytes).expect("text");
    assert!(!text.chars().any(|c| c != '\n' && onnx_file::text::is_control(c)), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("note: forged")), "{what}: {text}");
}

#[test]
fn nothing_in_a_file_or_its_name_reaches_the_terminal_as_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let name = || FORGED.to_owned();
    let node = NodeProto { name: name(), op_type: name(), domain: name(), output: vec![name()], ..Default::default() };
    let entry = StringStringEntryProto { key: format!("resnext.{FORGED}"), value: name() };
    let value = ValueInfoProto { name: name(), ..Default::default() };
    let tensor = TensorProto { name: name(), dims: vec![1], data_type: 1, ..Default::default() };
    let graph = GraphProto {
        name: name(),
        node: vec![node, NodeProto { op_type: "BatchNormalization".into(), name: name(), ..Default::default() }],
        input: vec![value.clone()],
        output: vec![value],
        initializer: vec![tensor],
        ..Default::default()
    };
    let hostile = ModelProto {
        producer_name: name(),
        opset_import: vec![OperatorSetIdProto { domain: name(), version: 17 }],
        metadata_props: vec![entry],
        ..ModelProto::decode(&model(graph)[..]).unwrap()
    };
    let file = format!("{FORGED}.onnx");
    fs::write(at(&file), hostile.encode_to_vec()).unwrap();
    let weights = fixture(folder.path());
    fs::write(at("t.json"), format!("{{\"kind\": {}}}", serde_json::to_string(FORGED).unwrap())).unwrap();
    fs::write(at("p.json"), format!("{{{}: 1}}", serde_json::to_string(FORGED).unwrap())).unwrap();
    let mut shown = 0;
    for args in [
        &["inspect", &file][..],
        &["inspect", &file, "--json"],
        &["optimize", &file, "-o", "o.onnx", "--force"],
        &["optimize", &file, "-o", "o.onnx", "--force", "--json"],
        &["optimize", &file, "-o", &format!("o{file}"), "--force"],
        &["optimize", "none\u{1b}[2J", "-o", "o.onnx", "--force"],
        &["inspect", &file, "another\u{1b}[2J"],
        &["verify", &file, "--weights", weights],
        &["--weights", &file, "-o", "o.onnx", "--force"],
        &["--weights", weights, "-o", "o.onnx", "--force", "--tuning", "t.json"],
        &["--weights", weights, "-o", "o.onnx", "--force", "--preprocess", "p.json"],
        &["--weights", weights, "-o", &format!("w{file}"), "--external-data", "always"],
    ] {
        let output = program().args(args).current_dir(folder.path()).output().unwrap();
        assert_harmless(&output.stdout, &format!("{args:?}"));
        assert_harmless(&output.stderr, &format!("{args:?}"));
        shown += [output.stdout, output.stderr].iter().filter(|bytes| text(bytes).contains("\\u")).count();
    }
    assert!(shown >= 9, "{shown}: the names should be shown, escaped");
    let json = succeed(folder.path(), &["inspect", &file, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["producer"], FORGED.trim_end(), "JSON holds what the file holds");
}

#[test]
fn an_output_is_never_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let weights = fixture(folder.path());
    let build = ["--weights", weights, "--num-classes", "5", "--force"];
    fs::write(at("labels"), "a\nb\nc\nd\ne\n").unwrap();
    let recipe = r#"{"resize":64,"crop":64,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#;
    fs::write(at("prep.json"), recipe).unwrap();
    succeed(folder.path(), &["--weights", weights, "-o", "m.onnx", "--external-data", "always", "-q"]);
    let data = names(folder.path()).into_iter().find(|name| name.ends_with(".data")).unwrap();
    fs::hard_link(at("labels"), at("hard")).unwrap();
    symlink("prep.json", at("soft")).unwrap();
    fs::copy(at("m.onnx"), at(".n.onnx.partial")).unwrap();
    let inputs = |folder: &Path| -> Vec<Vec<u8>> {
        names(folder).iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
    };
    let before = inputs(folder.path());
    for args in [
        &[&build[..], &["--labels", "labels", "-o", "labels"]].concat()[..],
        &[&build[..], &["--labels", "labels", "-o", "hard"]].concat(),
        &[&build[..], &["--preprocess", "prep.json", "-o", "soft"]].concat(),
        &[&build[..], &["-o", weights]].concat(),
        &["optimize", "m.onnx", "-o", "./m.onnx", "--force"],
        &["optimize", "m.onnx", "-o", &data, "--force"],
        &["optimize", ".n.onnx.partial", "-o", "n.onnx", "--force"],
    ] {
        fail(folder.path(), args, 2, &["another -o"]);
    }
    assert_eq!(inputs(folder.path()), before);
}

#[test]
fn a_build_whose_messages_nobody_can_read_is_still_a_build() {
    let folder = tempfile::tempdir().unwrap();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let build = program().args(SMALL).args(["-o", "m.onnx"]).current_dir(folder.path()).stderr(full()).status();
    assert_eq!(build.unwrap().code(), Some(0));
    let args = ["optimize", "m.onnx", "-o", "o.onnx"];
    let optimize = program().args(args).current_dir(folder.path()).stderr(full()).status();
    assert_eq!(optimize.unwrap().code(), Some(0));
    read(&folder.path().join("o.onnx"));
    for args in [&["--help"][..], &["--version"], &["optimize", "--help"]] {
        let output = program().args(args).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{args:?}");
        assert_eq!(program().args(args).output().unwrap().status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_limit_of_the_size_of_files_is_a_failed_write_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "ulimit -f 100; trap - XFSZ; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_resnext-build")]).args(SMALL).args(["-o", "m.onnx", "-q"]);
    let output = shell.current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}

#[test]
fn a_model_that_only_its_owner_could_read_stays_so_and_its_data_too() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-o", "m.onnx", "-q", "--force", "--external-data", "always", "--seed"];
    let build = |seed: &'static str| [&SMALL[..], &flags, &[seed]].concat();
    succeed(folder.path(), &build("1"));
    let model = folder.path().join("m.onnx");
    fs::set_permissions(&model, fs::Permissions::from_mode(0o600)).unwrap();
    let old = names(folder.path());
    succeed(folder.path(), &build("2"));
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    let new: Vec<String> = names(folder.path()).into_iter().filter(|name| !old.contains(name)).collect();
    assert_eq!((mode("m.onnx"), new.len(), mode(&new[0])), (0o600, 1, 0o600));
}

#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_that_the_starter_ignores_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_resnext-build")]);
    shell.args(["--variant", "50_32x4d", "-o", "m.onnx", "-q"]).current_dir(folder.path());
    let mut child = shell.spawn().unwrap();
    while !folder.path().join(".m.onnx.partial").exists() && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
