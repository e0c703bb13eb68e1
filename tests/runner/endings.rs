//! What is left when the program ends in the middle: no process, no temporary copy; and what it never runs.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image::RgbImage;
use onnx_file::proto::{
    AttributeProto, GraphProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType,
};
use resnext_runner::backend::onnxruntime::runtime::package::Package;

use crate::common::runner::{self, library, model, node, program, stderr, value_info, value_info_of, weight};

/// What a child has to end in after its parent did; the promise is a second.
const SOON: Duration = Duration::from_secs(2);

/// A classifier whose run does not end: 2^63 - 1 steps of a loop that does nothing.
fn endless() -> Vec<u8> {
    let body = GraphProto {
        name: "body".to_owned(),
        node: vec![node("Identity", &["go"], "still", vec![]), node("Identity", &["carried"], "kept", vec![])],
        input: vec![
            value_info_of("step", &[], DataType::Int64),
            value_info_of("go", &[], DataType::Bool),
            value_info("carried", &[]),
        ],
        output: vec![value_info_of("still", &[], DataType::Bool), value_info("kept", &[])],
        ..GraphProto::default()
    };
    let body = AttributeProto {
        name: "body".to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(body),
        ..Default::default()
    };
    let steps = TensorProto {
        name: "steps".to_owned(),
        data_type: DataType::Int64 as i32,
        int64_data: vec![i64::MAX],
        ..TensorProto::default()
    };
    let go = TensorProto {
        name: "start".to_owned(),
        data_type: DataType::Bool as i32,
        int32_data: vec![1],
        ..Default::default()
    };
    let zero = TensorProto {
        name: "zero".to_owned(),
        data_type: DataType::Float as i32,
        float_data: vec![0.0],
        ..Default::default()
    };
    let nodes = vec![
        node("Loop", &["steps", "start", "zero"], "end", vec![body]),
        node("GlobalAveragePool", &["input"], "pooled", vec![]),
        node("Flatten", &["pooled"], "flat", vec![]),
        node("Gemm", &["flat", "fc"], "scores", vec![]),
        node("Add", &["scores", "end"], "logits", vec![]),
    ];
    let initializers = vec![steps, go, zero, weight("fc", &[3, 4])];
    model(nodes, initializers, value_info("input", &[-1, 3, 8, 8]), value_info("logits", &[-1, 4]))
}

/// Processes that this one started, by their ids.
fn children_of(parent: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The fourth field; the second, the name, may hold blanks, and ends in a parenthesis.
    let parent_of = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    ids.filter(|id| parent_of(id) == Some(parent)).collect()
}

/// Clock ticks that a process has computed for; none where it is gone or waits to be reaped.
fn ticks(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    (fields[0] != "Z").then(|| fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0))
}

fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args(["-s", name, &id.to_string()]).status().expect("kill runs").success());
}

/// Starts a verb on the endless model and waits until its worker is in the run.
fn in_the_run(folder: &Path, verb: &[&str]) -> (Child, u32) {
    let library = library(Package::Cpu);
    let mut command = Command::new(program());
    command.arg(verb[0]).arg(runner::write(folder, "endless.onnx", &endless())).args(&verb[1..]);
    command.arg("--ort-lib").arg(&library.path).env("TMPDIR", folder).current_dir(folder);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut worker = None;
    until("a worker computes", Duration::from_secs(60), || {
        worker = children_of(child.id()).into_iter().find(|&id| ticks(id).is_some_and(|ticks| ticks > 60));
        worker.is_some()
    });
    (child, worker.expect("a worker"))
}

fn image(folder: &Path) {
    RgbImage::from_pixel(8, 8, image::Rgb([9, 99, 200])).save(folder.join("a.png")).expect("saved");
}

#[test]
fn a_worker_whose_run_never_ends_ends_with_its_parent_however_that_dies() {
    for (verb, signals, code) in [
        (&["infer", "a.png"][..], &["KILL"][..], None),
        (&["infer", "a.png"], &["TERM"], Some(143)),
        (&["bench"], &["HUP"], Some(129)),
        (&["compare", "--ep", "cpu"], &["INT"], Some(130)),
        (&["bench"], &["INT", "INT"], Some(130)),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        image(folder.path());
        let (mut parent, worker) = in_the_run(folder.path(), verb);
        for name in signals {
            signal(name, parent.id());
            std::thread::sleep(Duration::from_millis(300));
        }
        let ended = parent.wait().expect("waited for");
        assert_eq!(ended.code(), code, "{verb:?} after {signals:?}");
        until(&format!("{verb:?} after {signals:?}: the worker ends"), SOON, || ticks(worker).is_none());
    }
}

#[test]
fn a_stopped_worker_ends_with_its_parent() {
    let folder = tempfile::tempdir().expect("folder");
    image(folder.path());
    let (mut parent, worker) = in_the_run(folder.path(), &["infer", "a.png"]);
    signal("STOP", worker);
    parent.kill().expect("killed");
    parent.wait().expect("waited for");
    until("the worker ends", SOON, || ticks(worker).is_none());
}

#[test]
fn a_signal_leaves_no_temporary_copy() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().expect("folder");
        image(folder.path());
        let (mut parent, _) = in_the_run(folder.path(), &["calibrate", "--images", "a.png"]);
        let copies = || {
            let names = fs::read_dir(folder.path()).expect("folder").map(|entry| entry.expect("entry").file_name());
            names.filter(|name| name.to_string_lossy().starts_with("resnext-layers-")).count()
        };
        assert_eq!(copies(), 1, "the copy that is being run");
        // The first interrupt waits for the run in progress, which does not end.
        for _ in 0..if name == "INT" { 2 } else { 1 } {
            signal(name, parent.id());
            std::thread::sleep(Duration::from_millis(300));
        }
        let code = parent.wait().expect("waited for").code();
        assert_eq!((code, copies()), (Some(if name == "INT" { 130 } else { 143 }), 0), "{name}");
    }
}

#[test]
fn pip_ends_with_its_parent() {
    let (pip, root) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let body = "#!/bin/sh\ncase \"$*\" in *--version*) exit 0;; esac\nexec /bin/sleep 98765\n";
    runner::script(&pip.path().join("python3"), body);
    let mut command = Command::new(program());
    command.args(["setup", "cpu", "--dir"]).arg(root.path()).env_clear().env("PATH", pip.path());
    let mut parent = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let sleeping = |id: &u32| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.ends_with(b"98765\0"));
    let mut child = None;
    until("pip runs", Duration::from_secs(30), || {
        child = children_of(parent.id()).into_iter().find(sleeping);
        child.is_some()
    });
    parent.kill().expect("killed");
    parent.wait().expect("waited for");
    until("pip ends", SOON, || ticks(child.expect("pip")).is_none());
}

#[test]
fn nothing_of_the_current_folder_is_run_or_loaded() {
    let folder = tempfile::tempdir().expect("folder");
    let here = folder.path();
    let owned = here.join("OWNED");
    let python = format!("open({:?}, \"a\").write(__name__ + \"\\n\")\n", owned.display().to_string());
    for name in
        ["pip", "ssl", "json", "runpy", "sitecustomize", "usercustomize", "logging", "locale", "tomllib", "encodings"]
    {
        fs::write(here.join(format!("{name}.py")), &python).expect("planted");
    }
    let shell = format!("#!/bin/sh\necho \"$0\" >> '{}'\n", owned.display());
    for name in ["python3", "python", "py", "pip", "pip3", "nvidia-smi"] {
        runner::script(&here.join(name), &shell);
    }
    for name in ["libonnxruntime.so", "libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so"] {
        fs::write(here.join(name), "not a library").expect("planted");
    }
    let path = std::env::var("PATH").expect("PATH");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(here).env("PATH", format!(":.:{path}")).env("PYTHONPATH", ".");
        command.env("LD_LIBRARY_PATH", ":.").env("HOME", here.join("home"));
        command.output().expect("it starts")
    };
    let output = run(&["setup", "cpu", "--dir", "root"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = run(&["doctor", "--ort-lib", "root"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!owned.exists(), "{}", fs::read_to_string(&owned).unwrap_or_default());
}
