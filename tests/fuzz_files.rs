//! Fuzzing the small files that flags name, and the places where a model says that its data lies. No input may panic,
//! take a minute or a gigabyte; and no name may reach a file outside the model's folder.

mod common {
    pub(crate) mod fuzzing;
    #[allow(dead_code, reason = "the tests of the checkpoint reader use the rest")]
    pub(crate) mod memory;
}

use std::path::Path;

use clap::Parser as _;
use common::fuzzing;
use onnx_file::metadata::{Provenance, Weights};
use onnx_file::proto::{StringStringEntryProto, TensorProto};
use onnx_file::read::load_external;
use resnext_builder::architecture::{Options, build};
use resnext_builder::build::LabelsChoice;
use resnext_builder::calibration::Calibration;
use resnext_builder::cli::Cli;
use resnext_builder::tuning::Tuning;
use resnext_builder::variant::Variant;

/// JSON's own words, numbers at the edges, and keys of the files.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"0.0",
    b"1e308",
    b"1e999",
    b"-0.0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"65537",
    b"\\u0000",
    b"\\ud800",
    b"\x1b]0;x\x07",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\"width\":8",
    b"\"max_abs\":1e9",
    b"\"schema_version\":1",
    b"n01440764 tench",
];

/// Fuzzes what `read` makes of a file at the path that it is given.
fn files(target: &str, corpus: &[&[u8]], mut read: impl FnMut(&Path) -> Option<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fuzzed");
    let corpus = corpus.iter().map(|input| input.to_vec()).collect();
    fuzzing::run(target, corpus, PIECES, <[u8]>::to_vec, |file| {
        std::fs::write(&path, file).unwrap();
        read(&path)
    });
}

#[test]
fn the_tuning_reader() {
    let file = br#"{"schema_version":1,"kind":"tuning","provider":"cpu","library_version":"1.32.0","processor":null,"threads":2,"batches":[1,8],"stages":[{"channels":128,"groups":32,"inputs":4,"convolutions":3,"width":8}],"subsample":true,"tried":[]}"#;
    files("tuning", &[file], |path| {
        let tuning = Tuning::read(path).ok()?;
        let widths = tuning.lowering().group_widths.len();
        assert!(widths == tuning.stages.len() && tuning.rationale().stages.len() == widths);
        Some(())
    });
}

#[test]
fn the_calibration_reader() {
    let variant = Variant::parse_with("29_2x1d", &[1, 1]).unwrap();
    let graph = build(&variant, &Options::classifier(&variant)).unwrap();
    let asked = Provenance { variant: Some("v".into()), weights: Some(Weights::Random { seed: 1 }) };
    let values: Vec<String> = graph
        .nodes
        .iter()
        .map(|node| format!(r#"{{"name":"{0}","node":"{0}","op":"Conv","max_abs":4.5,"non_finite":0}}"#, node.name))
        .collect();
    let file = format!(
        r#"{{"schema_version":1,"kind":"calibration","model":{{"file":"m.onnx","sha256":"00","variant":"v","source_sha256":null,"random_seed":1}},"inputs":{{"source":"images","count":3,"seed":null}},"values":[{{"name":"input","node":null,"op":null,"max_abs":2.5}},{}]}}"#,
        values.join(",")
    );
    files("calibration", &[file.as_bytes()], |path| {
        let calibration = Calibration::read(path).ok()?;
        let mut names: Vec<&str> = calibration.values.iter().map(|range| range.name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a value has one range");
        let _ = calibration.check_origin(&asked).map_err(|error| error.to_string());
        let _ = calibration.check(&graph).map_err(|error| error.to_string());
        Some(())
    });
}

#[test]
fn the_preprocessing_reader() {
    let file =
        br#"{"resize":232,"crop":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#;
    files("preprocess", &[file], |path| {
        let args = ["resnext-build", "--variant", "50_32x4d", "-o", "m.onnx", "--preprocess", path.to_str().unwrap()];
        Cli::try_parse_from(args).unwrap().build.plan().map_err(|error| error.to_string()).ok().map(drop)
    });
}

#[test]
fn the_labels_reader() {
    files("labels", &[b"cat\ndog\n", b"n01440764 tench\nn01443537 goldfish\n"], |path| {
        let args = ["resnext-build", "--variant", "50_32x4d", "-o", "m.onnx", "--labels", path.to_str().unwrap()];
        let plan = Cli::try_parse_from(args).unwrap().build.plan().ok()?;
        let LabelsChoice::Given(labels) = plan.labels else { panic!("labels were given") };
        assert!(labels.ids.is_empty() || labels.ids.len() == labels.names.len());
        assert!(labels.names.iter().all(|name| !name.contains('\n')));
        Some(())
    });
}

/// Names on the way out of a folder, and in it.
const NAMES: &[&[u8]] = &[
    b"..",
    b"/",
    b"./",
    b"../",
    b"sub/",
    b"up/",
    b"linked",
    b"w.data",
    b"secret",
    b"\0",
    b"\\",
    b"%2e%2e",
    b"\n",
    b"4",
    b"8",
    b"18446744073709551615",
    b"-1",
    b"//",
    b"sub/../",
    b"C:\\",
];

#[cfg(unix)]
#[test]
fn the_place_of_external_data() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("models/sub")).unwrap();
    std::fs::write(at("secret"), [0xaa; 64]).unwrap();
    std::fs::write(at("models/m.onnx"), "").unwrap();
    std::fs::write(at("models/w.data"), [1; 64]).unwrap();
    std::fs::write(at("models/sub/w.data"), [1; 64]).unwrap();
    symlink("../..", at("models/sub/up")).unwrap();
    symlink("..", at("models/up")).unwrap();
    symlink("../secret", at("models/linked")).unwrap();
    symlink("w.data", at("models/inner")).unwrap();
    let absolute = at("secret").display().to_string();
    let corpus: Vec<Vec<u8>> = [
        "w.data\n0\n8",
        "sub/w.data\n4\n",
        "./sub/../w.data\n\n8",
        "up/secret\n0\n8",
        "linked\n0\n8",
        &absolute,
        "inner",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    let model = at("models/m.onnx");
    fuzzing::run("external", corpus, NAMES, <[u8]>::to_vec, |file| {
        let text = String::from_utf8_lossy(file);
        let values = ["location", "offset", "length"].into_iter().zip(text.split('\n'));
        let entry = |(key, value): (&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
        let mut tensor = TensorProto {
            name: "w".into(),
            dims: vec![2],
            data_type: 1,
            data_location: 1,
            external_data: values.filter(|(_, value)| !value.is_empty()).map(entry).collect(),
            ..Default::default()
        };
        load_external(&model, &mut tensor).map_err(|error| error.to_string()).ok()?;
        assert_eq!(tensor.raw_data[..], [1; 8], "{text:?} was read from outside");
        Some(())
    });
}
