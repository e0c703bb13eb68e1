//! The same arguments give the same bytes, here, elsewhere, and with any number of threads.

use std::process::Command;

use crate::common::program::{program, succeed};
use crate::common::snapshot::assert_as_kept;
use sha2::{Digest as _, Sha256};

/// Small enough to build in every test, with every part that matters.
const SMALL: [&str; 8] = ["--variant", "50_32x4d", "--blocks", "1,2,1,1", "--planes", "16", "--num-classes", "7"];

/// Networks of random weights whose bytes are kept by their digest.
const SEEDED: [&str; 12] = [
    "--variant 26_32x4d",
    "--variant 50_32x4d",
    "--variant 50_32x4d --seed 7",
    "--variant 50_32x4d --no-fold-bn",
    "--variant resnet18",
    "--variant 29_8x64d",
    "--variant 50_32x4d --blocks 1,1,1,1 --planes 16 --block-form concat",
    "--variant 50_32x4d --blocks 1,1,1,1 --planes 16 --block-form branches --outputs c2,logits",
    "--variant 50_32x4d --blocks 1,1,1,1 --planes 16 --stride-in 1x1 --opset 21 --batch 4 --image-size 64x96",
    "--variant 50_32x4d --dtype f16",
    "--variant 50_32x4d --blocks 1,1,1,1 --planes 16 --dtype f16 --keep-io-types --keep-f32 conv1,layer2.0.conv2 --group-width 8",
    "--variant 50_32x4d --blocks 1,1,1,1 --planes 16 --dtype f16 --no-fold-bn --block-form branches",
];

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_digests_of_seeded_networks_are_those_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = String::new();
    for args in SEEDED {
        let digest = hex(&succeed(folder.path(), &args.split(' ').chain(["-o", "-", "-q"]).collect::<Vec<_>>()));
        found += &format!("{args} {digest}\n");
    }
    assert_as_kept("seeded-digests", &found);
}

#[test]
fn folder_repetition_and_file_name_do_not_matter() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, name) in [(&one, "a.onnx"), (&one, "b.onnx"), (&two, "a.onnx")] {
        succeed(folder.path(), &[&SMALL[..], &["-o", name]].concat());
    }
    let read = |folder: &tempfile::TempDir, name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read(&one, "a.onnx"), read(&one, "b.onnx"));
    assert_eq!(read(&one, "a.onnx"), read(&two, "a.onnx"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_number_of_processors_does_not_matter() {
    let args = ["--variant", "26_32x4d", "-o", "-", "-q"];
    let many = program().args(args).output().unwrap();
    let one = Command::new("taskset").args(["-c", "0"]).arg(program().get_program()).args(args).output();
    let one = one.expect("taskset, of util-linux");
    assert!(many.status.success() && one.status.success());
    assert!(many.stdout == one.stdout, "26_32x4d differs between one processor and all");
}

#[test]
fn seeds_matter() {
    let folder = tempfile::tempdir().unwrap();
    let of_seed = |seed| succeed(folder.path(), &[&SMALL[..], &["--seed", seed, "-o", "-"]].concat());
    assert_ne!(of_seed("0"), of_seed("1"));
    assert_eq!(of_seed("0"), succeed(folder.path(), &[&SMALL[..], &["-o", "-"]].concat()));
}
