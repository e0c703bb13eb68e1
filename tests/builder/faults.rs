//! What a kill, a full disk or a read error leaves behind: the old model or the new one, whole.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::program::{fail, names, program, succeed, text};
use onnx_file::proto::TensorProto;
use onnx_file::read::{load_external, read};
use safetensors::tensor::TensorView;

/// A network of 1.1 million parameters: 4 MB that take a few milliseconds to write.
const SMALL: [&str; 8] = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--planes", "32", "--num-classes", "5"];

fn arguments<'a>(seed: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], &["--seed", seed, "-o", "m.onnx", "--force", "-q"], more].concat()
}

/// Every tensor of the model and the bytes it has, its data files included.
fn content(path: &Path) -> Vec<(String, Vec<u8>)> {
    let graph = read(path).expect("a whole model").graph.expect("a graph");
    let tensor = |mut tensor: TensorProto| {
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
        let leftover: Vec<String> = names(folder.path()).into_iter().filter(|name| !old_files.contains(name)).collect();
        check_leftover(round, found == new, &leftover, &new_files);
        partials += leftover.iter().filter(|name| name.ends_with(".partial")).count();
        if found == new {
            replaced += 1;
            reset();
        } else {
            kept += 1;
        }
    }
    assert!(kept > 0 && partials > 0, "of {times} kills {kept} came before the end and left {partials} partial files");
    println!("{times} kills: {kept} left the old model, {replaced} the new one, {partials} partial files");
    // The next build leaves its own files, the old model's data, and nothing else.
    succeed(folder.path(), &arguments("2", more));
    let mut expected = [&old_files[..], &new_files].concat();
    expected.sort();
    expected.dedup();
    assert_eq!(names(folder.path()), expected);
    assert_eq!(content(&model), new);
}

/// What one kill may leave beside the files that were there: of a build that was over, or all but over, its files; else a
/// partial model at most and, with external data, either partial data or data under its name.
fn check_leftover(round: u32, done: bool, leftover: &[String], new_files: &[String]) {
    let (model, data) = (".m.onnx.partial", ".m.onnx.partial.data");
    let new_data: Vec<&str> = new_files.iter().map(String::as_str).filter(|name| name.ends_with(".data")).collect();
    let allowed = match (&new_data[..], done) {
        ([], false) => vec![vec![], vec![model]],
        ([], true) => vec![vec![]],
        ([new], false) => vec![vec![], vec![model], vec![model, data], vec![model, *new]],
        ([new], true) => vec![vec![*new]],
        _ => panic!("one data file: {new_files:?}"),
    };
    let leftover: Vec<&str> = leftover.iter().map(String::as_str).collect();
    assert!(allowed.contains(&leftover), "round {round}, done {done}: {leftover:?}");
}

/// The state that a kill between the two renames leaves, which the loop above seldom meets.
#[test]
fn data_that_a_kill_left_without_its_model_is_removed_by_the_next_build() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let apart = &["--external-data", "always"][..];
    succeed(folder.path(), &arguments("2", apart));
    let orphan = names(folder.path()).into_iter().find(|name| name.ends_with(".data")).unwrap();
    let (new, data) = (fs::read(path("m.onnx")).unwrap(), fs::read(path(&orphan)).unwrap());
    fs::remove_file(path(&orphan)).unwrap();
    succeed(folder.path(), &arguments("1", apart));
    let old = content(&path("m.onnx"));
    let old_files = names(folder.path());
    let kill = || {
        fs::write(path(".m.onnx.partial"), &new).unwrap();
        fs::write(path(&orphan), &data).unwrap();
    };
    kill();
    assert_eq!(content(&path("m.onnx")), old);
    // A build that fails, one without external data, `optimize`: each is a next build.
    let output = on_a_small_disk(folder.path(), 1, &arguments("3", &[]));
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert_eq!((names(folder.path()), content(&path("m.onnx"))), (old_files.clone(), old));
    fs::copy(path("m.onnx"), path("copy.onnx")).unwrap();
    kill();
    succeed(folder.path(), &["optimize", "copy.onnx", "-o", "m.onnx", "--force", "-q"]);
    assert!(!path(&orphan).exists() && !path(".m.onnx.partial").exists(), "{:?}", names(folder.path()));
    kill();
    succeed(folder.path(), &arguments("3", apart));
    let left = names(folder.path());
    assert!(!left.contains(&orphan) && left.iter().all(|name| !name.contains(".partial")), "{left:?}");
    assert!(old_files.iter().all(|name| left.contains(name)), "the copy's data stays: {left:?}");
    content(&path("copy.onnx"));
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
fn a_checkpoint_that_was_cut_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/resnext.safetensors");
    let whole = fs::read(fixture).unwrap();
    for keep in [whole.len() - 1, whole.len() / 2, 100, 8, 1, 0] {
        fs::write(folder.path().join("w.safetensors"), &whole[..keep]).unwrap();
        fail(folder.path(), &["--weights", "w.safetensors", "-o", "m.onnx"], 3, &["w.safetensors"]);
        assert_eq!(names(folder.path()), ["w.safetensors"]);
    }
}

/// Starts `arguments`, waits until its `partial` output appears, and stops the process there. `None` if it was too fast.
fn stopped(folder: &Path, arguments: &[&str], partial: &str) -> Option<Child> {
    let mut child =
        program().args(arguments).current_dir(folder).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    while !folder.join(partial).exists() {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        std::hint::spin_loop();
    }
    signal(&child, "-STOP");
    Some(child)
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_checkpoint_that_shrinks_while_it_is_read_is_exit_code_3_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("w.safetensors");
    let build = ["--weights", "w.safetensors", "-o", "m.onnx", "-q"];
    let whole = large_checkpoint(folder.path());
    let mut hits = 0;
    for round in 0..12 {
        fs::write(&weights, &whole).unwrap();
        let Some(child) = stopped(folder.path(), &build, ".m.onnx.partial") else { continue };
        let unfinished = folder.path().join(".m.onnx.partial").exists();
        let keep = [whole.len() as u64 - 1, whole.len() as u64 / 2, 1000][round % 3];
        fs::File::options().write(true).open(&weights).unwrap().set_len(keep).unwrap();
        signal(&child, "-CONT");
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(3) if unfinished => {
                hits += 1;
                let message = text(&output.stderr);
                assert!(message.contains("w.safetensors") && message.contains("shorter"), "{message}");
                assert_eq!(names(folder.path()), ["w.safetensors"]);
            }
            // All was read before it shrank.
            code => {
                assert_eq!(code, Some(0), "{}", text(&output.stderr));
                fs::remove_file(folder.path().join("m.onnx")).unwrap();
            }
        }
    }
    println!("12 builds, {hits} of them while the checkpoint shrank");
    assert!(hits > 0, "no build was met while it read");
}

/// A safetensors checkpoint of 60 MB: the weights of a model whose normalisations were kept have the names of torch.
fn large_checkpoint(folder: &Path) -> Vec<u8> {
    succeed(folder, &["--variant", "26_32x4d", "--no-fold-bn", "-o", "source.onnx", "-q"]);
    let tensors = read(&folder.join("source.onnx")).unwrap().graph.unwrap().initializer;
    fs::remove_file(folder.join("source.onnx")).unwrap();
    fn view(tensor: &TensorProto) -> (String, TensorView<'_>) {
        let shape = tensor.dims.iter().map(|&dim| dim as usize).collect();
        let view = TensorView::new(safetensors::Dtype::F32, shape, &tensor.raw_data).unwrap();
        (tensor.name.clone(), view)
    }
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}

#[test]
fn every_signal_that_asks_for_an_end_removes_the_partial_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut hits = 0;
    for more in [&[][..], &["--external-data", "always"]] {
        succeed(folder.path(), &arguments("1", more));
        let (before, files) = (content(&folder.path().join("m.onnx")), names(folder.path()));
        for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)].into_iter().cycle().take(12) {
            let Some(child) = stopped(folder.path(), &arguments("2", more), ".m.onnx.partial") else { continue };
            signal(&child, name);
            signal(&child, "-CONT");
            let output = child.wait_with_output().unwrap();
            if output.status.code() == Some(code) {
                assert_eq!(text(&output.stderr), "", "it is no error to explain");
            }
            let now = names(folder.path());
            assert!(now.iter().all(|name| !name.contains(".partial")), "{now:?}");
            if content(&folder.path().join("m.onnx")) == before {
                hits += 1;
                assert_eq!((output.status.code(), now), (Some(code), files.clone()), "{name}");
            } else {
                // Too late: it was done, and its data file would stay.
                now.iter().for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
                succeed(folder.path(), &arguments("1", more));
            }
        }
    }
    assert!(hits > 0, "no build was met while it wrote");
}
