//! `--weights IMAGENET1K_V1`: names, and torch's cache.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::home::{
    Home, NAME, PARTIAL, check_failure, copy_environment, fails, file, names, program, silent, succeeds, text,
};
use crate::common::server::{Server, serve};

#[test]
fn weights_are_downloaded_once_and_then_found() {
    let (home, server) = (Home::new(), Server::start(|request, out| serve(request, out, file())));
    let said = succeeds(home.build(&server.url()));
    let path = home.cache().join(NAME);
    assert!(said.contains(&format!("downloading {}/{NAME} to {}", server.url(), path.display())), "{said}");
    assert!(said.contains("IMAGENET1K_V1, downloaded to "), "{said}");
    assert!(!said.contains('\r') && !said.contains('\u{1b}'), "a bar is for terminals: {said}");
    assert_eq!(names(&home.cache()), [NAME], "the file, and nothing beside it");
    assert!(std::fs::read(&path).unwrap() == file());
    let report = home.command("").args(["inspect", "m.onnx"]).output().unwrap();
    let report = text(&report.stdout);
    assert!(report.contains("resnext.weights_name = resnet18 IMAGENET1K_V1"), "{report}");
    let first = std::fs::read(home.path().join("m.onnx")).unwrap();

    let mut again = home.build(&server.url());
    again.arg("--force");
    assert!(succeeds(again).contains("IMAGENET1K_V1, found in torch's cache: "));
    assert!(std::fs::read(home.path().join("m.onnx")).unwrap() == first, "the same model");
    let mut quiet = home.build(&server.url());
    quiet.args(["--force", "-q"]);
    assert_eq!(succeeds(quiet), "");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn quiet_downloads_say_nothing() {
    let (home, server) = (Home::new(), Server::start(|request, out| serve(request, out, file())));
    let mut command = home.build(&format!("{}/", server.url()));
    command.arg("-q");
    assert_eq!(succeeds(command), "");
    assert_eq!(server.requests()[0].line, format!("GET /{NAME}"), "one slash");
}

#[test]
fn the_cache_is_where_torch_has_it() {
    let server = silent();
    for (variable, value, folder) in [
        ("TORCH_HOME", Some("t"), "t/hub/checkpoints"),
        ("XDG_CACHE_HOME", Some("x"), "x/torch/hub/checkpoints"),
        ("XDG_CACHE_HOME", None, ".cache/torch/hub/checkpoints"),
    ] {
        let home = Home::new();
        std::fs::create_dir_all(home.path().join(folder)).unwrap();
        std::fs::write(home.path().join(folder).join(NAME), file()).unwrap();
        let mut command = home.build(&server.url());
        command.env_remove("TORCH_HOME");
        if let Some(value) = value {
            command.env(variable, home.path().join(value));
        }
        succeeds(command);
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn names_that_mean_nothing_are_answered_with_those_that_do() {
    let (home, server) = (Home::new(), silent());
    let usage = |args: &[&str], parts: &[&str]| {
        fails(home.command(&server.url()).args(args), 2, parts);
    };
    let wide = ["--variant", "101_64x4d", "--weights", "IMAGENET1K_V2", "-o", "m.onnx"];
    usage(&wide, &["no IMAGENET1K_V2 for 101_64x4d; it has IMAGENET1K_V1"]);
    let small = ["--variant", "26_32x4d", "--weights", "DEFAULT", "-o", "m.onnx"];
    usage(&small, &["no weights for 26_32x4d", "resnext50_32x4d (IMAGENET1K_V1, IMAGENET1K_V2)"]);
    let other = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--weights", "DEFAULT", "-o", "m.onnx"];
    usage(&other, &["no weights for 32x4d blocks 1,1,1,1"]);
    usage(&["--weights", "IMAGENET1K_V1", "-o", "m.onnx"], &["--variant", "50_32x4d"]);
    usage(&["--variant", "50_32x4d", "--weights", "imagenet1k_v2", "-o", "m.onnx"], &["none of", "IMAGENET1K_V2"]);
    usage(&["verify", "m.onnx", "--weights", "DEFAULT"], &["--variant"]);
    usage(&["inspect", "DEFAULT"], &["--variant"]);
    usage(&["inspect", "w.pth", "--variant", "resnet18"], &["a file says itself"]);
    assert_eq!(server.requests(), []);
}

#[test]
fn settings_that_make_no_sense_are_usage_errors() {
    let home = Home::new();
    for url in ["mirror.example", "ftp://mirror.example", "https://user:secret@mirror.example"] {
        let said = fails(&mut home.build(url), 2, &["RESNEXT_WEIGHTS_URL"]);
        assert!(!said.contains("secret"), "{said}");
    }
    for seconds in ["0", "-1", "soon", "NaN"] {
        fails(home.build("").env("RESNEXT_WEIGHTS_TIMEOUT", seconds), 2, &["RESNEXT_WEIGHTS_TIMEOUT", seconds]);
    }
}

#[test]
fn what_must_fail_fails_before_the_download() {
    let (home, server) = (Home::new(), silent());
    std::fs::write(home.path().join("m.onnx"), "old").unwrap();
    fails(&mut home.build(&server.url()), 2, &["m.onnx exists"]);
    let extra = |args: &[&str], code: i32, parts: &[&str]| {
        let base = ["--variant", "resnet18", "--weights", "DEFAULT"];
        fails(home.command(&server.url()).args(base).args(args), code, parts);
    };
    extra(&["--num-classes", "10", "-o", "n.onnx"], 2, &["1000 classes, not 10"]);
    extra(&["--outputs", "c7", "-o", "n.onnx"], 2, &["c2 to c5"]);
    extra(&["-o", "nowhere/n.onnx"], 6, &["its folder does not exist"]);
    assert_eq!(server.requests(), []);
}

#[test]
fn without_a_server_the_error_says_where_to_put_the_file() {
    let home = Home::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let start = Instant::now();
    let folder = home.cache().display().to_string();
    let by_hand = format!("into the folder {folder} under the name {NAME}");
    fails(&mut home.build(&url), 4, &[&format!("cannot download {url}/{NAME}: "), &by_hand, "RESNEXT_WEIGHTS_URL"]);
    assert!(start.elapsed() < Duration::from_secs(10), "nobody waits for a network that is not there");
    home.assert_no_model_and_in_cache(&[]);
    fails(&mut home.build("http://no-such-host.invalid"), 4, &["http://no-such-host.invalid/", &by_hand]);
    // What the error says is what helps.
    home.put(NAME, file());
    succeeds(home.build(&url));
}

#[test]
fn a_damaged_file_in_the_cache_is_refused_and_left_alone() {
    let (home, server) = (Home::new(), silent());
    let mut damaged = file().to_vec();
    damaged[1_000_000] ^= 1;
    home.put(NAME, &damaged);
    let path = home.cache().join(NAME).display().to_string();
    let parts = [path.as_str(), "starts with f37072fd", "left as it is", "Delete it or move it away"];
    fails(&mut home.build(&server.url()), 3, &parts);
    let verify = ["verify", "m.onnx", "--variant", "resnet18", "--weights", "DEFAULT"];
    fails(home.command(&server.url()).args(verify), 3, &parts);
    assert!(std::fs::read(home.cache().join(NAME)).unwrap() == damaged);
    assert_eq!(server.requests(), []);
    home.assert_no_model_and_in_cache(&[NAME]);
}

#[test]
fn other_verbs_take_the_names_too() {
    let (home, server) = (Home::new(), Server::start(|request, out| serve(request, out, file())));
    let inspect = home.command(&server.url()).args(["inspect", "DEFAULT", "--variant", "resnet18"]).output().unwrap();
    let report = text(&inspect.stdout);
    assert!(
        report.contains("known as      resnet18 IMAGENET1K_V1: torchvision's weights"),
        "{report}{}",
        text(&inspect.stderr)
    );
    assert!(text(&inspect.stderr).starts_with("downloading "));
    succeeds(home.build(&server.url()));
    let verify = |model| ["verify", model, "--variant", "resnet18", "--weights", "DEFAULT"];
    let equal = home.command(&server.url()).args(verify("m.onnx")).output().unwrap();
    assert!(text(&equal.stdout).contains("m.onnx computes what"), "{}", text(&equal.stderr));
    let other =
        ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--planes", "16", "--num-classes", "5", "-o", "o.onnx"];
    assert!(home.command("").args(other).output().unwrap().status.success());
    fails(home.command(&server.url()).args(verify("o.onnx")), 3, &["neither logits nor a feature map of resnet18"]);
    assert_eq!(server.requests().len(), 1);
}

/// Whoever runs this may be root, whom no folder's mode keeps out.
#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_cannot_be_written_can_be_read() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    use std::os::unix::process::CommandExt as _;
    let (home, server) = (Home::new(), Server::start(|request, out| serve(request, out, file())));
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let copy = home.path().join("program");
    std::fs::copy(program().get_program(), &copy).unwrap();
    std::fs::create_dir_all(home.cache()).unwrap();
    mode(home.path(), 0o777);
    mode(&home.cache(), 0o555);
    let build = || {
        let mut command = Command::new(&copy);
        let ours = home.build(&server.url());
        command.args(ours.get_args()).current_dir(home.path());
        copy_environment(&ours, &mut command);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        }
        command.output().unwrap()
    };
    check_failure(&build(), 6, &["cannot write", "TORCH_HOME", "--weights FILE"]);
    home.assert_no_model_and_in_cache(&[]);
    assert_eq!(server.requests(), []);
    mode(&home.cache(), 0o755);
    home.put(NAME, file());
    mode(&home.cache(), 0o555);
    let output = build();
    assert!(output.status.success(), "{}", text(&output.stderr));
    mode(&home.cache(), 0o755);
}

#[test]
fn a_cache_that_is_no_folder_is_an_output_error() {
    let home = Home::new();
    std::fs::write(home.path().join("torch"), "a file").unwrap();
    let output = home.build(&silent().url()).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&home.path().join("torch").display().to_string()));
}

/// A limit on the length of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_ends_the_download_and_keeps_nothing() {
    let (home, server) = (Home::new(), Server::start(|request, out| serve(request, out, file())));
    let ours = home.build(&server.url());
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh"]).arg(ours.get_program());
    command.args(ours.get_args()).current_dir(home.path());
    copy_environment(&ours, &mut command);
    check_failure(&command.output().unwrap(), 6, &["cannot write", PARTIAL, "free space"]);
    home.assert_no_model_and_in_cache(&[]);
}

/// Prints the nonce of the file that is served here: run it again where the file's other bytes were changed.
#[test]
#[ignore = "takes minutes of every processor: cargo test --release --test builder search -- --ignored --nocapture"]
fn search_for_the_nonce() {
    crate::common::forged::search();
}
