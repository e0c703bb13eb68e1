//! Weights at an address of their own.

use std::path::Path;
use std::process::Command;

use crate::common::home::{Home, NAME, fails, file, names, silent, succeeds};
use crate::common::server::{Server, serve, serve_part, status};

fn small() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/as_people_have");
    std::fs::read(folder.join("tutorial.pth")).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    onnx_file::digest::hex(&onnx_file::digest::sha256(bytes).unwrap())
}

fn build(home: &Home, weights: &str) -> Command {
    let mut command = home.command(&silent().url());
    command.args(["--weights", weights, "-o", "m.onnx", "--force"]);
    command
}

#[test]
fn a_file_is_fetched_once_and_its_digest_is_printed() {
    let home = Home::new();
    let server = Server::start(|request, out| serve(request, out, &small()));
    let url = format!("{}/runs/7/best.pth?download=1", server.url());
    let said = succeeds(build(&home, &url));
    let sha256 = format!("SHA-256 {}", digest(&small()));
    assert!(said.contains("best.pth, SHA-256") && said.contains(&sha256) && said.contains("downloaded to"), "{said}");
    let said = succeeds(build(&home, &url));
    assert!(said.contains("found in the cache:") && said.contains(&sha256), "{said}");
    assert_eq!(server.requests().len(), 1);
    // Another address with a file of the same name is another file.
    succeeds(build(&home, &format!("{}/runs/8/best.pth", server.url())));
    assert_eq!((server.requests().len(), names(&home.cache()).len()), (2, 2));
}

#[test]
fn the_digest_that_was_asked_for_is_checked_wherever_the_file_comes_from() {
    let home = Home::new();
    let server = Server::start(|request, out| serve(request, out, &small()));
    let url = format!("{}/w.pth", server.url());
    let (right, wrong) = (digest(&small()), "0123456789abcdef");
    let with = |weights: &str, sha256: &str| {
        let mut command = build(&home, weights);
        command.args(["--sha256", sha256]);
        command
    };
    fails(&mut with(&url, wrong), 3, &["which should start with 0123456789abcdef", "nothing was kept"]);
    assert!(!home.path().join("m.onnx").exists());
    succeeds(with(&url, &right[..16].to_uppercase()));
    fails(&mut with(&url, wrong), 3, &["found in the cache", "0123456789abcdef", "left as it is"]);
    std::fs::write(home.path().join("w.pth"), small()).unwrap();
    succeeds(with("w.pth", &right));
    fails(&mut with("w.pth", wrong), 3, &["--sha256 asks for 0123456789abcdef"]);
    fails(&mut with("w.pth", "xyz"), 2, &["hexadecimal"]);
    fails(home.build(&server.url()).args(["--sha256", wrong]), 2, &["drop --sha256"]);
}

#[test]
fn a_published_name_is_kept_to_its_digest_and_shared_with_torch() {
    let home = Home::new();
    let server = Server::start(|request, out| serve(request, out, file()));
    succeeds(build(&home, &format!("{}/models/{NAME}", server.url())));
    assert_eq!(names(&home.cache()), [NAME]);
    let home = Home::new();
    let other = Server::start(|request, out| serve(request, out, &small()));
    fails(&mut build(&home, &format!("{}/{NAME}", other.url())), 3, &["should start with f37072fd"]);
    home.assert_no_model_and_in_cache(&[]);
}

#[test]
fn what_is_not_encrypted_is_refused_before_anything_is_asked() {
    let home = Home::new();
    for url in
        ["http://models.example/w.pth", "http://127.0.0.1.example/w.pth", "https://user:secret@models.example/w.pth"]
    {
        fails(&mut build(&home, url), 2, &["--weights"]);
    }
    let server = Server::start(|_, out| status(out, "302 Found", "Location: http://models.example/w.pth\r\n"));
    fails(&mut build(&home, &format!("{}/w.pth", server.url())), 4, &["cannot download"]);
}

#[test]
fn what_cannot_be_known_to_be_whole_is_not_kept() {
    // A length that is not reached, and none at all.
    let home = Home::new();
    let cut = Server::start(|request, out| serve_part(request, out, &small(), 1000));
    fails(&mut build(&home, &format!("{}/w.pth", cut.url())), 4, &["cannot download"]);
    let open = Server::start(|_, out| {
        status(out, "200 OK", "")?;
        out.write_all(&small()[..1000])
    });
    fails(&mut build(&home, &format!("{}/w.pth", open.url())), 4, &["neither before nor after"]);
    let mut command = build(&home, &format!("{}/w.pth", open.url()));
    fails(command.args(["--sha256", &digest(&small())]), 4, &["the connection ended early"]);
    let gone = Server::start(|_, out| status(out, "404 Not Found", ""));
    fails(&mut build(&home, &format!("{}/w.pth", gone.url())), 4, &["404 Not Found", "--weights FILE"]);
    assert!(!home.path().join("m.onnx").exists());
}

#[test]
fn a_body_in_chunks_says_where_it_ends() {
    let home = Home::new();
    let chunks = |whole: bool| {
        Server::start(move |_, out| {
            status(out, "200 OK", "Transfer-Encoding: chunked\r\n")?;
            for piece in small().chunks(10_000) {
                write!(out, "{:x}\r\n", piece.len())?;
                out.write_all(piece)?;
                write!(out, "\r\n")?;
            }
            if whole { write!(out, "0\r\n\r\n") } else { Ok(()) }
        })
    };
    fails(&mut build(&home, &format!("{}/w.pth", chunks(false).url())), 4, &["cannot download"]);
    succeeds(build(&home, &format!("{}/w.pth", chunks(true).url())));
}

#[test]
fn a_length_beyond_any_checkpoints_is_refused_at_once() {
    let home = Home::new();
    let server = Server::start(|_, out| status(out, "200 OK", "Content-Length: 99999999999999\r\n"));
    fails(&mut build(&home, &format!("{}/w.pth", server.url())), 3, &["no checkpoint of these networks has"]);
}

#[test]
fn parts_of_different_files_are_never_joined() {
    // The file changes while it is fetched: its entity tag says so, and all of it is fetched anew.
    let home = Home::new();
    let server = Server::start(|request, out| {
        let len = small().len();
        match request.number {
            0 => {
                status(out, "200 OK", &format!("ETag: \"1\"\r\nContent-Length: {len}\r\n"))?;
                out.write_all(&vec![7; 1000])
            }
            _ => {
                status(out, "200 OK", &format!("ETag: \"2\"\r\nContent-Length: {len}\r\n"))?;
                out.write_all(&small())
            }
        }
    });
    let said = succeeds(build(&home, &format!("{}/w.pth", server.url())));
    assert!(said.contains(&digest(&small())), "{said}");
    assert_eq!(server.requests()[1].from, Some(1000), "the rest is asked for, if the file is the same");
}
