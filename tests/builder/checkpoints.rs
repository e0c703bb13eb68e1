//! `resnext-build` on checkpoints: what it infers, what it says, what it refuses.

use std::path::Path;

use crate::common::program::{fail, names, run, succeed, text};
use crate::common::snapshot::assert_as_kept;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name).display().to_string()
}

fn initializers(path: &Path) -> Vec<(String, Vec<u8>)> {
    let graph = onnx_file::read::read(path).unwrap().graph.unwrap();
    graph.initializer.iter().map(|t| (t.name.clone(), t.raw_data.to_vec())).collect()
}

#[test]
fn zip_legacy_safetensors_and_channels_last_give_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |name: &str| {
        succeed(folder.path(), &["--weights", &fixture(name), "-o", "m.onnx", "--force"]);
        initializers(&folder.path().join("m.onnx"))
    };
    let zip = weights("resnext_zip.pth");
    for name in ["resnext_legacy.pth", "resnext.safetensors", "resnext_channels_last.pth"] {
        assert!(weights(name) == zip, "{name}");
    }
    let half = weights("resnext_f16.pth");
    for name in ["resnext_data_parallel.pth", "resnext_nested.pth", "resnext_parameters.pth", "resnext_no_counters.pth"]
    {
        assert!(weights(name) == half, "{name}");
    }
}

#[test]
fn the_summary_says_what_was_found_and_assumed() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--weights", &fixture("resnext_nested.pth"), "-o", "m.onnx"]);
    let said = text(&output.stderr);
    for part in ["under the key 'state_dict'", "prefix 'module.' removed", "v1 stored", "4x2d blocks 1,1,1,1 planes 2"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let quiet = run(folder.path(), &["--weights", &fixture("resnext_nested.pth"), "-o", "n.onnx", "-q"]);
    assert!(quiet.stderr.is_empty() && quiet.stdout.is_empty());
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let resnext = fixture("resnext_zip.pth");
    let shape = ["--blocks", "1,1,1,1", "--planes", "2", "-o", "m.onnx"];
    let asked = |extra: &[&'static str]| [&["--weights", resnext.as_str()], extra, &shape[..]].concat();
    // The right one passes, then one number is wrong at a time.
    succeed(folder.path(), &asked(&["--variant", "50_4x64d"]));
    std::fs::remove_file(folder.path().join("m.onnx")).unwrap();
    fail(
        folder.path(),
        &asked(&["--variant", "50_8x32d"]),
        3,
        &["4x2d blocks 1,1,1,1 planes 2", "cardinality 4 instead of 8"],
    );
    fail(folder.path(), &["--variant", "50_32x4d", "--weights", &resnext, "-o", "m.onnx"], 3, &["not 50_32x4d"]);
    fail(folder.path(), &["--weights", &resnext, "--num-classes", "6", "-o", "m.onnx"], 3, &["5 classes, not 6"]);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_name_of_torchvisions_table_must_keep_its_promise() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("resnext50_32x4d-7cdf4587.pth");
    std::fs::copy(fixture("resnext_zip.pth"), &named).unwrap();
    let args = ["--weights", "resnext50_32x4d-7cdf4587.pth", "-o", "m.onnx"];
    fail(folder.path(), &args, 3, &["starts with 7cdf4587", "fetch it again"]);
    let external = [&args[..], &["--external-data", "always"]].concat();
    fail(folder.path(), &external, 3, &["starts with 7cdf4587"]);
    fail(folder.path(), &["--weights", "resnext50_32x4d-7cdf4587.pth", "-o", "-"], 3, &["starts with 7cdf4587"]);
    assert_eq!(names(folder.path()), ["resnext50_32x4d-7cdf4587.pth"], "no output, no data file, no partial");
}

#[test]
fn a_late_failure_leaves_the_old_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("resnext_zip.pth"), folder.path().join("resnext50_32x4d-7cdf4587.pth")).unwrap();
    std::fs::write(folder.path().join("m.onnx"), "old").unwrap();
    let args = ["--weights", "resnext50_32x4d-7cdf4587.pth", "-o", "m.onnx", "--force"];
    fail(folder.path(), &args, 3, &["starts with 7cdf4587"]);
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).unwrap(), b"old");
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn a_checkpoint_of_three_stages_gives_its_last_feature_map() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["--weights", &fixture("cifar.pth"), "--no-top", "-o", "m.onnx"]);
    let graph = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap().graph.unwrap();
    assert_eq!(graph.output[0].name, "c4");
}

/// The fixture in safetensors as `w.safetensors`, each tensor's bytes as `change` leaves them; `false` drops it.
fn changed(folder: &Path, change: impl Fn(&str, &mut Vec<u8>) -> bool) {
    use safetensors::tensor::{SafeTensors, TensorView};
    let file = std::fs::read(fixture("resnext.safetensors")).unwrap();
    let mut kept = Vec::new();
    for (name, view) in SafeTensors::deserialize(&file).unwrap().tensors() {
        let mut data = view.data().to_vec();
        if change(&name, &mut data) {
            kept.push((name, view.dtype(), view.shape().to_vec(), data));
        }
    }
    let view = kept
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(folder.join("w.safetensors"), safetensors::serialize(view, None).unwrap()).unwrap();
}

#[test]
fn a_normalisation_whose_scale_is_0_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    // As torch writes with zero_init_residual.
    changed(folder.path(), |name, data| {
        if name.ends_with("bn3.weight") {
            data.fill(0);
        }
        true
    });
    succeed(folder.path(), &["--weights", "w.safetensors", "-o", "m.onnx"]);
    succeed(folder.path(), &["verify", "m.onnx", "--weights", "w.safetensors"]);
}

#[test]
fn a_checkpoint_without_its_classifier_is_accepted_with_no_top_alone() {
    let folder = tempfile::tempdir().unwrap();
    changed(folder.path(), |name, _| !name.starts_with("fc."));
    fail(folder.path(), &["--weights", "w.safetensors", "-o", "m.onnx"], 3, &["fc", "--no-top"]);
    succeed(folder.path(), &["--weights", "w.safetensors", "--no-top", "-o", "m.onnx"]);
    let graph = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap().graph.unwrap();
    assert_eq!(graph.output[0].name, "c5");
}

#[test]
fn a_missing_tensor_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    changed(folder.path(), |name, _| name != "layer2.0.bn1.running_mean");
    fail(folder.path(), &["--weights", "w.safetensors", "-o", "m.onnx"], 3, &["layer2.0.bn1.running_mean"]);
    assert_eq!(names(folder.path()), ["w.safetensors"]);
}

#[test]
fn the_output_may_not_be_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("resnext_zip.pth"), folder.path().join("w.pth")).unwrap();
    let before = std::fs::read(folder.path().join("w.pth")).unwrap();
    fail(folder.path(), &["--weights", "w.pth", "-o", "./w.pth", "--force"], 2, &["the checkpoint itself"]);
    assert_eq!(std::fs::read(folder.path().join("w.pth")).unwrap(), before);
}

#[test]
fn metadata_holds_the_checkpoints_name_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["--weights", &fixture("resnext_zip.pth"), "-o", "m.onnx"]);
    let report = text(&succeed(folder.path(), &["inspect", "m.onnx"]));
    let checkpoint = text(&succeed(folder.path(), &["inspect", &fixture("resnext_zip.pth")]));
    let digest = checkpoint.lines().find_map(|l| l.strip_prefix("sha256")).unwrap().trim();
    assert!(report.contains(&format!("resnext.weights_sha256 = {digest}")), "{report}");
    assert!(report.contains("resnext.weights = resnext_zip.pth"), "{report}");
}

#[test]
fn inspection_of_checkpoints_is_as_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = String::new();
    for name in [
        "resnext_zip.pth",
        "resnext_nested.pth",
        "resnext_mixed.pth",
        "basic.pth",
        "cifar.pth",
        "resnext.safetensors",
        "mini_zip.pth",
    ] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
        found += &text(&succeed(folder.path(), &["inspect", name]));
        found += "\n";
    }
    assert_as_kept("inspect", &found);
}
