//! Targets and tuning files, as the program runs them; `optimize` gives what building gives.

use crate::common::models::{SMALL, build, export, groups, meaning, metadata, read, subsampled};
use crate::common::program::{fail, run, succeed, text};
use onnx_file::proto::ModelProto;

#[test]
fn targets_that_change_nothing_write_the_portable_graph_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let portable = build(folder.path(), "portable.onnx", &[]);
    assert_eq!(metadata(&portable, "resnext.target"), Some("portable"));
    assert_eq!(metadata(&portable, "resnext.lowering"), None);
    for target in ["openvino", "cuda", "tensorrt"] {
        let model = build(folder.path(), &format!("{target}.onnx"), &["--target", target]);
        assert_eq!(model.graph, portable.graph, "{target}");
        assert_eq!(metadata(&model, "resnext.target"), Some(target));
        let reason = metadata(&model, "resnext.lowering").unwrap();
        assert!(reason.contains("measured"), "{reason}");
        assert_eq!(reason.contains("(unmeasured"), target != "openvino", "{reason}");
    }
}

#[test]
fn the_cpu_targets_widen_to_the_kernels_blocks_and_cpu_is_one_of_them_or_portable() {
    let folder = tempfile::tempdir().unwrap();
    for (target, expected) in [("cpu-avx512", &[8, 16, 32, 32][..]), ("cpu-avx2", &[16, 32, 32, 32])] {
        let model = build(folder.path(), &format!("{target}.onnx"), &["--target", target]);
        assert_eq!(groups(&model), expected, "{target}");
        let dense = if target == "cpu-avx512" { 3 } else { 0 };
        assert_eq!(subsampled(&model).len(), dense, "{target}");
    }
    let cpu = build(folder.path(), "cpu.onnx", &["--target", "cpu"]);
    let resolved = metadata(&cpu, "resnext.target").unwrap();
    assert!(["cpu-avx512", "cpu-avx2", "portable"].contains(&resolved), "{resolved}");
    let same = build(folder.path(), "same.onnx", &["--target", resolved]);
    assert_eq!(cpu, same);
    let summary = run(folder.path(), &[&SMALL[..], &["-o", "again.onnx", "--target", "cpu-avx2"]].concat());
    assert!(text(&summary.stderr).contains("target cpu-avx2\n  groups in multiples of 8"), "{}", text(&summary.stderr));
}

#[test]
fn optimizing_the_portable_file_gives_what_building_for_the_target_gives() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "portable.onnx", &[]);
    build(folder.path(), "unfolded.onnx", &["--no-fold-bn"]);
    build(folder.path(), "apart.onnx", &["--external-data", "always"]);
    for target in ["cpu-avx512", "cpu-avx2"] {
        let built = build(folder.path(), &format!("{target}.onnx"), &["--target", target]);
        for source in ["portable.onnx", "unfolded.onnx", "apart.onnx"] {
            succeed(folder.path(), &["optimize", source, "-o", "o.onnx", "--target", target, "--force", "-q"]);
            let optimized = read(&folder.path().join("o.onnx"));
            let (optimized_meaning, built_meaning) = (meaning(&optimized), meaning(&built));
            assert_eq!(optimized_meaning.len(), built_meaning.len(), "{source} {target}");
            for ((node, weights), (expected, numbers)) in optimized_meaning.iter().zip(&built_meaning) {
                assert_eq!(node.attribute, expected.attribute, "{}", node.name);
                assert_eq!(weights, numbers, "{source} {target} {}", node.name);
            }
            assert_eq!(metadata(&optimized, "resnext.target"), Some(target));
            assert_eq!(metadata(&optimized, "resnext.variant"), metadata(&built, "resnext.variant"));
        }
    }
}

#[test]
fn the_pixels_of_strided_pointwise_convolutions_are_taken_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let built = build(folder.path(), "b.onnx", &["--subsample"]);
    let shortcuts = ["layer2.0.downsample.0", "layer3.0.downsample.0", "layer4.0.downsample.0"];
    assert_eq!(subsampled(&built), shortcuts);
    let path = export("resnext_torchscript.onnx").display().to_string();
    let args = ["optimize", &path, "-o", "o.onnx", "--subsample", "--json"];
    let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
    let after = read(&folder.path().join("o.onnx"));
    let told: Vec<&str> = done["rewritten"].as_array().unwrap().iter().map(|r| r["node"].as_str().unwrap()).collect();
    assert_eq!(subsampled(&after), told);
    assert_eq!(done["rewritten"][0]["from"], "one group, stride 2");
    assert_eq!(done["rewritten"][0]["to"], "one group, stride 1");
    let again = ["optimize", "o.onnx", "-o", "again.onnx", "--subsample", "--json"];
    let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &again)).unwrap();
    assert_eq!(done["rewritten"].as_array().unwrap().len(), 0, "{done}");
    assert_eq!(read(&folder.path().join("again.onnx")).graph, after.graph);
}

#[test]
fn optimizing_an_f16_file_gives_what_building_it_for_the_target_gives() {
    let folder = tempfile::tempdir().unwrap();
    let half = ["--dtype", "f16", "--keep-f32", "layer2.0.conv2,fc"];
    for more in [&[][..], &["--no-fold-bn"], &["--keep-io-types"], &["--external-data", "always"]] {
        let flags = [&half[..], more, &["--force"]].concat();
        build(folder.path(), "m.onnx", &flags);
        let built = build(folder.path(), "built.onnx", &[&flags[..], &["--target", "cpu-avx512"]].concat());
        succeed(folder.path(), &["optimize", "m.onnx", "-o", "o.onnx", "--target", "cpu-avx512", "--force", "-q"]);
        let optimized = read(&folder.path().join("o.onnx"));
        assert_eq!(groups(&optimized), [8, 16, 32, 32], "{more:?}");
        assert_eq!(meaning(&optimized), meaning(&built), "{more:?}");
        let types = |model: &ModelProto| -> Vec<i32> {
            let mut all: Vec<i32> = model.graph.iter().flat_map(|g| &g.initializer).map(|t| t.data_type).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(types(&optimized), types(&built), "{more:?}");
    }
}

#[test]
fn a_tuning_file_is_replayed_and_refused_for_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let stage = |channels: usize, width: usize| {
        format!(r#"{{"channels":{channels},"groups":32,"inputs":{},"convolutions":1,"width":{width}}}"#, channels / 32)
    };
    let stages = [stage(128, 16), stage(256, 1), stage(512, 32), stage(1024, 1)].join(",");
    let tuning = format!(
        r#"{{"schema_version":1,"kind":"tuning","provider":"cpu","library_version":"1.32.0","processor":"X","threads":2,"batches":[1],"stages":[{stages}]}}"#
    );
    std::fs::write(folder.path().join("t.json"), tuning).unwrap();
    let tuned = build(folder.path(), "tuned.onnx", &["--tuning", "t.json"]);
    assert_eq!(groups(&tuned), [8, 32, 16, 32]);
    assert_eq!(metadata(&tuned, "resnext.target"), Some("tuned for cpu"));
    let listed = build(folder.path(), "listed.onnx", &["--group-width", "16,1,32,1"]);
    assert_eq!(meaning(&tuned), meaning(&listed));
    build(folder.path(), "portable.onnx", &[]);
    succeed(folder.path(), &["optimize", "portable.onnx", "-o", "o.onnx", "--tuning", "t.json", "-q"]);
    assert_eq!(groups(&read(&folder.path().join("o.onnx"))), [8, 32, 16, 32]);
    let other = ["--variant", "50_32x4d", "--tuning", "t.json", "-o", "other.onnx"];
    fail(folder.path(), &other, 2, &["1 x 32 groups of 4", "3 x 32 groups of 4", "tune this one"]);
    let list = ["--variant", "50_32x4d", "--tuning", "none.json", "-o", "other.onnx"];
    fail(folder.path(), &list, 3, &["none.json"]);
    let both = ["--variant", "50_32x4d", "--tuning", "t.json", "--target", "cpu", "-o", "other.onnx"];
    fail(folder.path(), &both, 2, &["--tuning", "--target"]);
}

#[test]
fn tuning_and_calibration_files_of_schema_1_are_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("{}/../tests/{name}", env!("CARGO_MANIFEST_DIR"));
    let (weights, tuning) = (file("trained/shapes.pth"), file("fixtures/results/schema1/tuning.json"));
    let (tune, calibration) =
        (file("fixtures/results/schema1/tune.json"), file("fixtures/results/schema1/calibrate.json"));
    for tuning in [&tuning, &tune] {
        let args =
            ["--weights", &weights, "--tuning", tuning, "--image-size", "64", "-o", "tuned.onnx", "--force", "-q"];
        succeed(folder.path(), &args);
        let tuned = read(&folder.path().join("tuned.onnx"));
        assert_eq!(metadata(&tuned, "resnext.target"), Some("tuned for cpu"), "{tuning}");
    }
    let args = ["--weights", &weights, "--dtype", "f16", "--image-size", "64", "--calibration", &calibration];
    succeed(folder.path(), &[&args[..], &["-o", "half.onnx", "-q"]].concat());
    let half = read(&folder.path().join("half.onnx"));
    let checked = metadata(&half, "resnext.f16_activations").unwrap();
    assert!(checked.contains("on 6 images, headroom"), "{checked}");
    // Of another network, by its checkpoint's digest.
    let other = ["--weights", &file("trained/shapes.safetensors"), "--dtype", "f16", "--calibration", &calibration];
    fail(folder.path(), &[&other[..], &["-o", "other.onnx"]].concat(), 3, &["SHA-256 30e2", "SHA-256 84e3"]);
}
