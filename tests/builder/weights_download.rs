//! Downloads of published weights, from a server that does all a server can do wrong.

use std::time::Duration;

use crate::common::home::{Home, NAME, PARTIAL, fails, file, names, succeeds, text, wait_for_bytes};
use crate::common::server::{Request, Server, serve, serve_part, stall, status};

#[test]
fn a_file_that_is_not_there_is_not_asked_for_again() {
    let (home, server) = (Home::new(), Server::start(|_, out| status(out, "404 Not Found", "")));
    fails(&mut home.build(&server.url()), 4, &["404 Not Found", NAME, "into the folder"]);
    assert_eq!(server.requests().len(), 1);
    home.assert_no_model_and_in_cache(&[]);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let home = Home::new();
    let server = Server::start(|request, out| match request.number {
        0 => status(out, "503 Service Unavailable", ""),
        _ => serve(request, out, file()),
    });
    let said = succeeds(home.build(&server.url()));
    assert!(said.contains("503 Service Unavailable; trying again in 1 s"), "{said}");
}

#[test]
fn a_damaged_download_is_refused_and_not_kept() {
    let home = Home::new();
    let server = Server::start(|request, out| {
        let mut damaged = file().to_vec();
        damaged[20_000_000] ^= 1;
        serve(request, out, &damaged)
    });
    fails(&mut home.build(&server.url()), 3, &["should start with f37072fd", "nothing was kept", "into the folder"]);
    home.assert_no_model_and_in_cache(&[]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_page_in_place_of_the_file_is_refused() {
    let home = Home::new();
    let page = b"<html>Please log in to the hotel's network</html>";
    let server = Server::start(move |request, out| serve(request, out, page));
    fails(&mut home.build(&server.url()), 3, &["sent 49 bytes (about 46"]);
    home.assert_no_model_and_in_cache(&[]);
}

#[test]
fn a_download_that_breaks_off_goes_on_from_there() {
    let home = Home::new();
    let server = Server::start(|request, out| match request.number {
        0 => serve_part(request, out, file(), 10_000_000),
        _ => serve(request, out, file()),
    });
    let said = succeeds(home.build(&server.url()));
    assert!(said.contains("trying again"), "{said}");
    let resumed: Vec<_> = server.requests().iter().map(|request| request.from).collect();
    assert_eq!(resumed, [None, Some(10_000_000)]);
    assert_eq!(names(&home.cache()), [NAME]);
}

#[test]
fn a_server_that_always_breaks_off_is_given_up_and_the_next_run_goes_on() {
    let home = Home::new();
    let broken = Server::start(|request, out| serve_part(request, out, file(), 5_000_000));
    let said = fails(&mut home.build(&broken.url()), 4, &["5000000 bytes lie in", PARTIAL, "into the folder"]);
    assert_eq!(said.matches("trying again").count(), 2, "{said}");
    home.assert_no_model_and_in_cache(&[PARTIAL]);
    let server = Server::start(|request, out| serve(request, out, file()));
    let said = succeeds(home.build(&server.url()));
    assert!(said.contains("5000000 bytes of it are there"), "{said}");
    assert_eq!(server.requests()[0].from, Some(5_000_000));
    assert_eq!(names(&home.cache()), [NAME]);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let home = Home::new();
    let server = Server::start(|request, out| {
        serve_part(request, out, file(), 3_000_000)?;
        stall(out)
    });
    let mut command = home.build(&server.url());
    command.env("RESNEXT_WEIGHTS_TIMEOUT", "0.3");
    fails(&mut command, 4, &["not a byte for 0.3 seconds", "3000000 bytes lie in"]);
    let mute = Server::start(|_, out| stall(out));
    let home = Home::new();
    let mut command = home.build(&mute.url());
    command.env("RESNEXT_WEIGHTS_TIMEOUT", "0.3");
    fails(&mut command, 4, &["not a byte for 0.3 seconds"]);
}

#[test]
fn slow_is_not_silent() {
    let home = Home::new();
    let server = Server::start(|request, out| {
        serve_part(request, out, file(), 0)?;
        for piece in file().chunks(file().len() / 8) {
            std::thread::sleep(Duration::from_millis(300));
            out.write_all(piece)?;
            out.flush()?;
        }
        Ok(())
    });
    let mut command = home.build(&server.url());
    command.env("RESNEXT_WEIGHTS_TIMEOUT", "1.5");
    succeeds(command);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_hands_out_single_bytes_is_given_up() {
    let home = Home::new();
    let server = Server::start(|request, out| {
        serve_part(request, out, file(), 0)?;
        for byte in file() {
            std::thread::sleep(Duration::from_millis(50));
            out.write_all(&[*byte])?;
            out.flush()?;
        }
        Ok(())
    });
    let mut command = home.build(&server.url());
    command.env("RESNEXT_WEIGHTS_TIMEOUT", "0.3");
    fails(&mut command, 4, &["fewer than 1024 bytes a second for 1.2 seconds"]);
}

#[test]
fn a_server_that_starts_over_again_and_again_is_given_up() {
    let home = Home::new();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |request, out| {
        // By turns two megabytes and a cut, and an answer for another range than was asked for.
        if turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst).is_multiple_of(2) {
            return serve_part(request, out, file(), 2_000_000);
        }
        out.write_all(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-8/9\r\nContent-Length: 2\r\n\r\nxx")
    });
    fails(&mut home.build(&server.url()), 4, &["cannot go on from byte"]);
    let requests = server.requests().len();
    assert!(requests <= 8, "{requests} requests");
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let home = Home::new();
    let server = Server::start(|request, out| match request.line.as_str() {
        "GET /elsewhere/file" => serve(request, out, file()),
        _ => status(out, "302 Found", "Location: /elsewhere/file\r\n"),
    });
    succeeds(home.build(&server.url()));
    let home = Home::new();
    let circle = Server::start(|_, out| status(out, "302 Found", "Location: /again\r\n"));
    fails(&mut home.build(&circle.url()), 4, &["more than 5 redirects"]);
    assert_eq!(circle.requests().len(), 6);
    home.assert_no_model_and_in_cache(&[]);
}

#[test]
fn a_length_need_not_be_announced() {
    let home = Home::new();
    let server = Server::start(|_, out| {
        status(out, "200 OK", "")?;
        out.write_all(file())
    });
    succeeds(home.build(&server.url()));
    // Where it is not, a cut looks like an end; the digest tells, and the rest is asked for.
    let home = Home::new();
    let cut = Server::start(|request, out| match request.number {
        0 => {
            status(out, "200 OK", "")?;
            out.write_all(&file()[..7_000_000])
        }
        _ => serve(request, out, file()),
    });
    assert!(succeeds(home.build(&cut.url())).contains("the connection ended early"));
    assert_eq!(cut.requests()[1].from, Some(7_000_000));
}

#[test]
fn no_server_fills_the_disk() {
    let home = Home::new();
    let large = Server::start(|_, out| status(out, "200 OK", "Content-Length: 99999999999\r\n"));
    fails(&mut home.build(&large.url()), 3, &["more than the file has", "into the folder"]);
    home.assert_no_model_and_in_cache(&[]);
    let endless = Server::start(|_, out| {
        status(out, "200 OK", "")?;
        loop {
            out.write_all(&[0; 1 << 16])?;
        }
    });
    fails(&mut home.build(&endless.url()), 3, &["more than the file has"]);
    home.assert_no_model_and_in_cache(&[]);
}

#[test]
fn a_server_that_cannot_resume_starts_over() {
    // It sends all of it, whatever was asked; another part; or a refusal.
    let whole = Server::start(|request, out| serve(&Request { from: None, ..request.clone() }, out, file()));
    let other = Server::start(|request, out| match request.from {
        Some(_) => serve(&Request { from: Some(17), ..request.clone() }, out, file()),
        None => serve(request, out, file()),
    });
    let refusal = Server::start(|request, out| match request.from {
        Some(_) => status(out, "416 Range Not Satisfiable", ""),
        None => serve(request, out, file()),
    });
    for (server, requests) in [(whole, 1), (other, 2), (refusal, 2)] {
        let home = Home::new();
        home.put(PARTIAL, &file()[..1_000_000]);
        succeeds(home.build(&server.url()));
        assert_eq!(server.requests().len(), requests);
        assert_eq!(names(&home.cache()), [NAME]);
    }
}

#[test]
fn a_partial_file_of_another_content_is_replaced() {
    let server = Server::start(|request, out| serve(request, out, file()));
    for left in [vec![7; 1_000_000], vec![7; file().len()], vec![7; file().len() + 5], file().to_vec()] {
        let home = Home::new();
        home.put(PARTIAL, &left);
        succeeds(home.build(&server.url()));
        assert_eq!(names(&home.cache()), [NAME]);
        assert!(std::fs::read(home.cache().join(NAME)).unwrap() == file());
    }
}

#[test]
fn two_builds_at_once_download_once() {
    let home = Home::new();
    let server = Server::start(|request, out| {
        serve_part(request, out, file(), 4_000_000)?;
        out.flush()?;
        std::thread::sleep(Duration::from_secs(2));
        out.write_all(&file()[4_000_000..])
    });
    let mut first = home.build(&server.url());
    let first = first.spawn().unwrap();
    server.wait_for(1);
    let others: Vec<_> = ["n.onnx", "o.onnx"]
        .map(|name| {
            let args = ["--variant", "resnet18", "--weights", "DEFAULT", "-o", name];
            home.command(&server.url()).args(args).spawn().unwrap()
        })
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", text(&first.stderr));
    for other in others {
        let said = text(&other.stderr);
        assert!(other.status.success() && said.contains("another process downloads"), "{said}");
        assert!(said.contains("found in torch's cache"), "{said}");
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(names(&home.cache()), [NAME]);
}

#[test]
fn a_second_build_takes_over_from_one_that_dies() {
    let home = Home::new();
    let server = Server::start(|request, out| {
        serve_part(request, out, file(), if request.number == 0 { 4_000_000 } else { file().len() })?;
        if request.number == 0 { stall(out) } else { Ok(()) }
    });
    let mut first = home.build(&server.url()).spawn().unwrap();
    wait_for_bytes(&home.cache().join(PARTIAL), 4_000_000);
    let second = home.build(&server.url()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    first.kill().unwrap();
    first.wait().unwrap();
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(server.requests()[1].from, Some(4_000_000));
    assert_eq!(names(&home.cache()), [NAME]);
}

#[test]
fn after_a_kill_at_any_byte_the_next_build_is_clean() {
    let home = Home::new();
    // Each request gets a little more than the one before, and then nothing.
    let server = Server::start(|request, out| {
        serve_part(request, out, file(), 100 + request.number * 2_900_000)?;
        stall(out)
    });
    for kill in 0..8 {
        let mut child = home.build(&server.url()).spawn().unwrap();
        server.wait_for(kill + 1);
        wait_for_bytes(&home.cache().join(PARTIAL), 100 + kill as u64 * 2_900_000);
        child.kill().unwrap();
        child.wait().unwrap();
        home.assert_no_model_and_in_cache(&[PARTIAL]);
    }
    let server = Server::start(|request, out| serve(request, out, file()));
    succeeds(home.build(&server.url()));
    assert_eq!(server.requests()[0].from, Some(100 + 7 * 2_900_000));
    assert_eq!(names(&home.cache()), [NAME]);
    assert!(std::fs::read(home.cache().join(NAME)).unwrap() == file());
}
