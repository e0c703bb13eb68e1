//! Which of the zip archives a file is, by the names in its directory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::known::Kind;

/// The end record, without its comment.
const END: usize = 22;
/// Most bytes of a directory that are looked at, and most of its names.
const LIMITS: (u64, usize) = (4 << 20, 100_000);

pub(super) fn kind(file: &mut File) -> io::Result<Kind> {
    let names = names(file)?;
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(if any(&|name| matches!(&*last(name), "archive_format" | "serialized_exported_program.json")) {
        Kind::TorchExport
    } else if any(&|name| last(name) == "constants.pkl" || name.contains("/code/")) {
        Kind::TorchScript
    } else if any(&|name| last(name) == "data.pkl") {
        Kind::Torch
    } else if any(&|name| last(name) == "saved_model.pb") {
        Kind::Framework("a zipped TensorFlow SavedModel", "tf2onnx turns it into ONNX")
    } else if any(&|name| last(name) == "model.weights.h5") {
        Kind::Framework("a Keras model (.keras)", "tf2onnx turns it into ONNX")
    } else if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        Kind::Other("an archive of NumPy arrays (.npz)")
    } else {
        Kind::Zip(shown(&names))
    })
}

/// A few names, files of networks first.
fn shown(names: &[String]) -> Vec<String> {
    const NETWORKS: [&str; 6] = [".onnx", ".pth", ".pt", ".safetensors", ".bin", ".tar"];
    let files = || names.iter().filter(|name| !name.ends_with('/'));
    let network = |name: &&String| NETWORKS.iter().any(|end| name.ends_with(end));
    let mut shown: Vec<String> =
        files().filter(network).chain(files().filter(|name| !network(name))).cloned().collect();
    let more = shown.len().saturating_sub(3);
    shown.truncate(3);
    let legible = |name: &String| name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    let mut shown: Vec<String> = shown.iter().map(legible).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

/// The names in the directory, as far as it can be followed.
fn names(file: &mut File) -> io::Result<Vec<String>> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail_at = length.saturating_sub(END as u64 + 65_535);
    let tail = read(file, tail_at, length - tail_at)?;
    let end = (0..tail.len().saturating_sub(END - 1)).rev().find(|&at| tail[at..].starts_with(b"PK\x05\x06"));
    let Some(end) = end else { return Ok(Vec::new()) };
    let number = |at: usize| tail.get(at..at + 4).map_or(0, little);
    let (mut size, mut start) = (number(end + 12), number(end + 16));
    // A 64-bit directory says so before the end record.
    if start == u64::from(u32::MAX)
        && let Some(at) = (0..end).rev().find(|&at| tail[at..].starts_with(b"PK\x06\x06"))
    {
        let number = |at: usize| tail.get(at..at + 8).map_or(0, little);
        (size, start) = (number(at + 40), number(at + 48));
    }
    let directory = read(file, start, size.min(LIMITS.0))?;
    let mut names = Vec::new();
    let mut rest = &directory[..];
    while let Some(header) = rest.get(..46).filter(|header| header.starts_with(b"PK\x01\x02")) {
        let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let (name, extra, comment) = (short(28), short(30), short(32));
        let Some(bytes) = rest.get(46..46 + name) else { break };
        names.push(String::from_utf8_lossy(bytes).into_owned());
        rest = rest.get(46 + name + extra + comment..).unwrap_or_default();
        if names.len() >= LIMITS.1 {
            break;
        }
    }
    Ok(names)
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
