//! The same arguments give the same bytes, here, elsewhere, and with any number of threads.

use std::process::Command;

use crate::common::program::{program, succeed};
use sha2::{Digest as _, Sha256};

/// Small enough to build in every test, with every part that matters.
const SMALL: [&str; 8] = ["--variant", "50_32x4d", "--blocks", "1,2,1,1", "--planes", "16", "--num-classes", "7"];

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_digests_of_seeded_networks_are_those_kept() {
    let folder = tempfile::tempdir().unwrap();
    let kept = include_str!("../snapshots/seeded-digests.txt");
    let mut found = String::new();
    for line in kept.lines() {
        let (args, _) = line.rsplit_once(' ').expect("arguments and a digest");
        let args: Vec<&str> = args.split(' ').chain(["-o", "-", "-q"]).collect();
        let digest = hex(&succeed(folder.path(), &args));
        found += &format!("{} {digest}\n", args[..args.len() - 3].join(" "));
    }
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/snapshots/seeded-digests.txt"), &found).unwrap();
        return;
    }
    assert_eq!(found, kept, "UPDATE_SNAPSHOTS=1 rewrites the file, if the change is meant");
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
