//! What a kill, a full disk or a read error leaves behind: the old model or the new one, whole.
#![cfg(unix)]

#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use onnx_file::read::{load_external, read};
use program::{fail, names, program, succeed, text};

/// A network of 1.1 million parameters: 4 MB that take a few milliseconds to write.
const SMALL: [&str; 8] = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--planes", "32", "--num-classes", "5"];

fn arguments<'a>(seed: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], &["--seed", seed, "-o", "m.onnx", "--force", "-q"], more].concat()
}

/// Every tensor of the model and the bytes it has, its data files included.
fn content(path: &Path) -> Vec<(String, Vec<u8>)> {
    let graph = read(path).expect("a whole model").graph.expect("a graph");
    let tensor = |mut tensor: onnx_file::proto::TensorProto| {
        load_external(path, &mut tensor).expect("its data");
        (tensor.name, tensor.raw_data.to_vec())
    };
    graph.initializer.into_iter().map(tensor).collect()
}

/// Kills builds of seed 2 over a model of seed 1 at moments spread over the whole build.
fn kill_many(times: u32, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.onnx");
    succeed(folder.path(), &arguments("2", more));
    let new = content(&model);
    let new_files = names(folder.path());
    let begun = Instant::now();
    succeed(folder.path(), &arguments("2", more));
    let whole = begun.elapsed().max(Duration::from_millis(5));
    let reset = || {
        for name in names(folder.path()) {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        succeed(folder.path(), &arguments("1", more));
    };
    reset();
    let old = content(&model);
    let old_files = names(folder.path());
    assert_ne!(old, new);
    let (mut kept, mut replaced, mut partials) = (0, 0, 0);
    for round in 0..times {
        let mut child =
            program().args(arguments("2", more)).current_dir(folder.path()).stderr(Stdio::null()).spawn().unwrap();
        // Denser towards the end, where files are renamed.
        let part = 1.3 * f64::from(round) / f64::from(times);
        std::thread::sleep(whole.mul_f64(part.sqrt().min(1.15)));
        // A build that is over already cannot be killed, and is what the last moments look like.
        let _ = child.kill();
        child.wait().unwrap();
        let found = content(&model);
        assert!(found == old || found == new, "round {round}: neither the old model nor the new one");
        let left = names(folder.path());
        let leftover = |name: &&String| !old_files.contains(name) && !new_files.contains(name);
        let leftover: Vec<&String> = left.iter().filter(leftover).collect();
        assert!(leftover.iter().all(|name| name.starts_with(".m.") && name.ends_with(".partial")), "{left:?}");
        assert!(leftover.len() < old_files.len() + 1, "round {round}: one for each file at most: {left:?}");
        partials += leftover.len();
        if found == new {
            replaced += 1;
            reset();
        } else {
            kept += 1;
        }
    }
    assert!(kept > 0 && partials > 0, "of {times} kills {kept} came before the end and left {partials} partial files");
    println!("{times} kills: {kept} left the old model, {replaced} the new one, {partials} partial files");
    succeed(folder.path(), &arguments("2", more));
    assert!(names(folder.path()).iter().all(|name| !name.ends_with(".partial")), "{:?}", names(folder.path()));
    assert_eq!(content(&model), new);
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_model_or_the_new_one() {
    kill_many(300, &[]);
}

#[test]
fn a_kill_at_any_moment_leaves_no_model_without_its_data() {
    kill_many(150, &["--external-data", "always"]);
}

/// Runs the program where no file may grow beyond `blocks` of 512 or 1024 bytes, as if the disk were full.
fn on_a_small_disk(folder: &Path, blocks: u32, args: &[&str]) -> Output {
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let program = env!("CARGO_BIN_EXE_resnext-build");
    Command::new("sh").arg("-c").arg(limited).arg(program).args(args).current_dir(folder).output().unwrap()
}

#[test]
fn a_full_disk_is_exit_code_6_and_leaves_what_was_there() {
    for more in [&[][..], &["--external-data", "always"]] {
        let folder = tempfile::tempdir().unwrap();
        succeed(folder.path(), &arguments("1", more));
        let (before, files) = (content(&folder.path().join("m.onnx")), names(folder.path()));
        for blocks in [0, 1, 100, 1000] {
            let output = on_a_small_disk(folder.path(), blocks, &arguments("2", more));
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(6), "{blocks}: {message}");
            assert!(message.contains("m.onnx") && message.contains("the old file, if any, is as it was"), "{message}");
            assert_eq!(names(folder.path()), files, "{blocks}");
            assert_eq!(content(&folder.path().join("m.onnx")), before);
        }
        let optimize = [&["optimize", "m.onnx", "-o", "o.onnx", "--group-width", "8"][..], more].concat();
        let output = on_a_small_disk(folder.path(), 100, &optimize);
        assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
        assert_eq!(names(folder.path()), files);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_device_behind_standard_output_is_exit_code_6() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let arguments = [&SMALL[..], &["-o", "-", "-q"]].concat();
    let output = program().args(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_exit_code_3_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("folder.pth")).unwrap();
    let before = names(folder.path());
    fail(folder.path(), &["--weights", "folder.pth", "-o", "m.onnx"], 3, &["folder.pth"]);
    fail(folder.path(), &["--weights", "none.pth", "-o", "m.onnx"], 3, &["none.pth"]);
    // Reading the memory of a process at address 0 is an input/output error.
    #[cfg(target_os = "linux")]
    fail(folder.path(), &["--weights", "/proc/self/mem", "-o", "m.onnx"], 3, &["/proc/self/mem"]);
    #[cfg(target_os = "linux")]
    fail(folder.path(), &["optimize", "/proc/self/mem", "-o", "m.onnx"], 3, &["/proc/self/mem"]);
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_checkpoint_that_shrinks_while_it_is_read_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/resnext.safetensors");
    let whole = fs::read(fixture).unwrap();
    for keep in [whole.len() - 1, whole.len() / 2, 100, 8, 1, 0] {
        fs::write(folder.path().join("w.safetensors"), &whole[..keep]).unwrap();
        fail(folder.path(), &["--weights", "w.safetensors", "-o", "m.onnx"], 3, &["w.safetensors"]);
        assert_eq!(names(folder.path()), ["w.safetensors"]);
    }
}
