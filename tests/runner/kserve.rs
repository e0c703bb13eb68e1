//! Served models: a server on loopback that speaks the Open Inference Protocol, honestly and not.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::runner::{model, node, parsed, run_in, stderr, value_info, write};
use serde_json::{Value, json};

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// It takes JSON alone, as MLServer does.
    JsonOnly,
    /// It is busy at first.
    Busy,
    NotFinite,
    WrongName,
    WrongType,
    TooFewRows,
    Short,
    LeftOver,
    Twice,
    NoJson,
    HeaderTooLong,
    OtherModel,
    OtherShape,
    Absent,
}

/// A server of the mean of each channel, `[N, 3, 4, 4]` to `[N, 3]`, called `means`.
struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || serve(&stream, manner, &counted));
            }
        });
        Self { port, requests }
    }

    fn provider(&self) -> String {
        format!("kserve=http://127.0.0.1:{}/means", self.port)
    }
}

fn serve(mut stream: &TcpStream, manner: Manner, requests: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut header) = (0, None);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((key, value)) = line.trim().split_once(": ") else { break };
            match key.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "inference-header-content-length" => header = Some(value.parse::<usize>().unwrap()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let number = requests.fetch_add(1, Ordering::SeqCst);
        let (status, extra, body) = answer(manner, number, &path, header, &body);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{extra}\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

fn answer(manner: Manner, number: usize, path: &str, header: Option<usize>, body: &[u8]) -> (u16, String, Vec<u8>) {
    let plain = |status: u16, value: Value| (status, String::new(), value.to_string().into_bytes());
    if manner == Manner::Busy && number < 2 {
        return plain(503, json!({ "error": "not ready" }));
    }
    match path {
        "/v2" => return plain(200, json!({ "name": "fake", "version": "1.0" })),
        "/v2/models/means" if manner == Manner::Absent => return plain(404, json!({ "error": "no such model" })),
        "/v2/models/means" => {
            let name = if manner == Manner::OtherModel { "pixels" } else { "input" };
            let side = if manner == Manner::OtherShape { 5 } else { 4 };
            return plain(
                200,
                json!({
                    "name": "means",
                    "inputs": [{ "name": name, "datatype": "FP32", "shape": [-1, 3, side, side] }],
                    "outputs": [{ "name": "logits", "datatype": "FP32", "shape": [-1, 3] }],
                }),
            );
        }
        "/v2/models/means/infer" => {}
        _ => return plain(404, json!({ "error": path })),
    }
    if manner == Manner::JsonOnly && header.is_some() {
        return plain(422, json!({ "detail": [{ "msg": "JSON decode error" }] }));
    }
    let text: Value = serde_json::from_slice(&body[..header.unwrap_or(body.len())]).unwrap();
    let rows = text["inputs"][0]["shape"][0].as_u64().unwrap() as usize;
    let pixels: Vec<f32> = match header {
        Some(header) => body[header..].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        None => text["inputs"][0]["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect(),
    };
    assert_eq!(pixels.len(), rows * 48);
    let mut means: Vec<f32> = pixels.chunks(16).map(|plane| plane.iter().sum::<f32>() / 16.0).collect();
    let mut shape = vec![rows, 3];
    let (mut name, mut kind) = ("logits", "FP32");
    match manner {
        Manner::NotFinite => means[1] = f32::NAN,
        Manner::WrongName => name = "other",
        Manner::WrongType => kind = "FP64",
        Manner::TooFewRows => {
            means.extend([0.0; 3]);
            shape[0] += 1;
        }
        Manner::Short => drop(means.pop()),
        Manner::NoJson => return (200, String::new(), b"<html>".to_vec()),
        Manner::HeaderTooLong => return (200, "Inference-Header-Content-Length: 999999\r\n".into(), b"{}".to_vec()),
        _ => {}
    }
    if header.is_none() {
        return plain(200, json!({ "outputs": [{ "name": name, "datatype": kind, "shape": shape, "data": means }] }));
    }
    let bytes: Vec<u8> = means.iter().flat_map(|mean| mean.to_le_bytes()).collect();
    let parameters = json!({ "binary_data_size": rows * 12 + if manner == Manner::TooFewRows { 12 } else { 0 } });
    let output = json!({ "name": name, "datatype": kind, "shape": shape, "parameters": parameters });
    let outputs = if manner == Manner::Twice { json!([output, output]) } else { json!([output]) };
    let text = json!({ "model_name": "means", "outputs": outputs }).to_string();
    let mut all = [text.as_bytes(), &bytes].concat();
    if manner == Manner::LeftOver {
        all.push(0);
    }
    (200, format!("Inference-Header-Content-Length: {}\r\n", text.len()), all)
}

/// The model that the server runs, as a file.
fn means(folder: &Path) {
    let nodes = vec![
        node("GlobalAveragePool", &["input"], "pooled", Vec::new()),
        node("Flatten", &["pooled"], "logits", Vec::new()),
    ];
    let bytes = model(nodes, Vec::new(), value_info("input", &[-1, 3, 4, 4]), value_info("logits", &[-1, 3]));
    write(folder, "means.onnx", &bytes);
    write(folder, "i.ppm", b"P3 2 2 255 1 2 3 4 5 6 7 8 9 250 251 252\n");
}

#[test]
fn a_served_model_is_compared_measured_and_asked_like_one_that_runs_here() {
    let folder = tempfile::tempdir().unwrap();
    means(folder.path());
    for manner in [Manner::Honest, Manner::JsonOnly, Manner::Busy] {
        let server = Server::start(manner);
        let both = format!("cpu,{}", server.provider());
        let (code, output) = run_in(folder.path(), &["compare", "means.onnx", "--ep", &both, "--json"]);
        assert_eq!(code, Some(0), "{manner:?}: {}", stderr(&output));
        assert!(parsed(&output).to_string().contains(&server.provider()));
        let bench = [
            "bench",
            "means.onnx",
            "--ep",
            &server.provider(),
            "-b",
            "1,4",
            "--iterations",
            "5",
            "--warmup",
            "1",
            "--json",
        ];
        let (code, output) = run_in(folder.path(), &bench);
        assert_eq!(code, Some(0), "{manner:?}: {}", stderr(&output));
        let infer = ["infer", "means.onnx", "i.ppm", "--use-output", "logits", "--ep", &server.provider(), "--json"];
        let (code, output) = run_in(folder.path(), &infer);
        assert_eq!(code, Some(0), "{manner:?}: {}", stderr(&output));
        assert_eq!(parsed(&output)["loaded"]["library_version"], "fake 1.0", "{manner:?}");
    }
}

#[test]
fn answers_that_are_not_what_was_asked_for_are_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    means(folder.path());
    for (manner, why) in [
        (Manner::NotFinite, "'logits' is NaN or infinite at index 1"),
        (Manner::WrongName, "'other', which the server did not declare"),
        (Manner::WrongType, "is FP64, and f32 was declared"),
        (Manner::TooFewRows, "rows for 1 images"),
        (Manner::Short, "and 8 are left"),
        (Manner::LeftOver, "1 bytes are left over"),
        (Manner::Twice, "'logits' twice"),
        (Manner::NoJson, "answer is refused"),
        (Manner::HeaderTooLong, "999999"),
        (Manner::OtherModel, "input 'input' is not among its inputs"),
        (Manner::OtherShape, "serves another model"),
        (Manner::Absent, "answers 404: no such model"),
    ] {
        let server = Server::start(manner);
        let args = ["infer", "means.onnx", "i.ppm", "--use-output", "logits", "--ep", &server.provider()];
        let (code, output) = run_in(folder.path(), &args);
        assert!(matches!(code, Some(1 | 3 | 4)), "{manner:?} {code:?}: {}", stderr(&output));
        let said = format!("{}{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
        assert!(said.contains(why), "{manner:?}: {said}");
        assert!(server.requests.load(Ordering::SeqCst) <= 4, "{manner:?}");
    }
}

#[test]
fn a_server_that_is_not_there_and_addresses_that_are_none_are_told() {
    let folder = tempfile::tempdir().unwrap();
    means(folder.path());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = format!("kserve=http://127.0.0.1:{free}/means");
    let (code, output) = run_in(folder.path(), &["bench", "means.onnx", "--ep", &gone, "--iterations", "1"]);
    assert_eq!(code, Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains(&gone), "{}", stderr(&output));
    for (address, why) in [
        ("kserve=grpc://h/m", "gRPC is not spoken"),
        ("kserve=http://h", "names no model"),
        ("kserve=http://u:p@h/m", "RESNEXT_KSERVE_TOKEN"),
    ] {
        let (code, output) = run_in(folder.path(), &["bench", "means.onnx", "--ep", address]);
        assert_eq!(code, Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
}
