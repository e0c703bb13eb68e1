//! `resnext-build --verify`: a model gets its name once it is known to compute what its checkpoint means.

use std::path::{Path, PathBuf};

use crate::common::program::{fail, names, run, text};
use resnext_builder::build::{BuildError, Destination, Plan, Progress, Weights, build};
use resnext_builder::verify::Basis;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name)
}

#[test]
fn a_model_that_is_the_checkpoints_is_kept_and_said_to_be_so() {
    let weights = fixture("resnext_zip.pth").display().to_string();
    for flags in [
        &[][..],
        &["--dtype", "f16"],
        &["--no-top"],
        &["--outputs", "c3,logits"],
        &["--group-width", "8", "--subsample"],
        &["--block-form", "branches", "--no-fold-bn"],
        &["--stride-in", "1x1"],
        &["--batch", "3"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let args = ["--weights", &weights, "--verify", "--image-size", "64", "-o", "m.onnx"];
        let output = run(folder.path(), &[&args[..], flags].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {said}");
        assert!(said.contains("verified: computes what ") && said.contains("on 64x64 images"), "{flags:?}: {said}");
        assert_eq!(said.contains("its weights rounded to f16"), flags.contains(&"f16"), "{said}");
    }
}

#[test]
fn data_that_lies_apart_is_compared_before_it_has_its_name() {
    let weights = fixture("resnext_zip.pth").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let args = ["--weights", &weights, "--verify", "--dynamic-hw", "--external-data", "always", "-o", "m.onnx"];
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let names = names(folder.path());
    assert!(names.len() == 2 && names[0].ends_with(".data") && names[1] == "m.onnx", "{names:?}");
}

/// Two biases whose sum is small and which f32 cannot hold once normalisations are folded into them.
fn cancelling(folder: &Path) {
    let bytes = std::fs::read(fixture("resnext.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shifted: Vec<(String, Vec<u8>)> = [("layer1.0.bn3.bias", 1e8f32), ("layer1.0.downsample.1.bias", -1e8)]
        .map(|(name, bias)| {
            let len = tensors.tensor(name).unwrap().shape()[0];
            (name.to_owned(), bias.to_le_bytes().repeat(len))
        })
        .into();
    let views = tensors.tensors().into_iter().map(|(name, view)| {
        let data = shifted.iter().find(|(other, _)| *other == name).map_or(view.data(), |(_, data)| data);
        (name, TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap())
    });
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, &folder.join("w.safetensors")).unwrap();
}

#[test]
fn a_model_that_differs_is_not_kept_and_an_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    cancelling(folder.path());
    std::fs::write(folder.path().join("old.onnx"), "old").unwrap();
    for more in [&["-o", "new.onnx"][..], &["-o", "old.onnx", "--force"], &["-o", "n", "--external-data", "always"]] {
        let args = ["--weights", "w.safetensors", "--image-size", "64", "--verify"];
        let output = run(folder.path(), &[&args[..], more].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{more:?}: {said}");
        assert!(said.contains("does not compute what the checkpoint means: 'logits' is "), "{said}");
        assert_eq!(names(folder.path()), ["old.onnx", "w.safetensors"], "{more:?}");
        assert_eq!(std::fs::read(folder.path().join("old.onnx")).unwrap(), b"old");
    }
}

#[test]
fn what_is_compared_is_what_was_written() {
    for (dtype, external) in [(false, false), (true, false), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights::File(fixture("resnext_zip.pth"));
        let mut plan = Plan::new(None, weights, Destination::File(folder.path().join("m.onnx")));
        plan.verify = true;
        if dtype {
            plan.lowering.precision = resnext_builder::precision::Precision::F16(Default::default());
        }
        if external {
            plan.external = resnext_builder::build::External::Always;
        }
        let built = build(&plan, &mut |_| ()).unwrap();
        let basis = built.verified.unwrap().basis;
        assert_eq!(basis, if dtype { Basis::Rounded } else { Basis::Exact });
        plan.force = true;
        // The disk gives back other numbers than it was given.
        let partial = folder.path().join(if external { ".m.onnx.partial.data" } else { ".m.onnx.partial" });
        let error = build(&plan, &mut |progress| {
            if progress == (Progress::Comparing { done: 0, total: 1 }) {
                let mut bytes = std::fs::read(&partial).unwrap();
                // The last weight of a data file ends with it; a model ends with its metadata.
                let at = if external { bytes.len() - 16 } else { bytes.len() / 2 };
                bytes[at..at + 16].fill(0x3c);
                std::fs::write(&partial, bytes).unwrap();
            }
        });
        assert!(matches!(error, Err(BuildError::Different(_))), "{dtype} {external}: {error:?}");
    }
}

#[test]
fn without_a_checkpoint_or_a_file_there_is_nothing_to_compare() {
    let folder = tempfile::tempdir().unwrap();
    fail(folder.path(), &["--variant", "50_32x4d", "--verify", "-o", "m.onnx"], 2, &["--weights"]);
    let weights = fixture("resnext_zip.pth").display().to_string();
    fail(folder.path(), &["--weights", &weights, "--verify", "-o", "-"], 2, &["write to a file with -o"]);
    assert!(names(folder.path()).is_empty());
}
