//! The zip container, `torch.save` since torch 1.6: one root folder with `data.pkl`, `byteorder`, `data/N`, `version`.
//! Older files lack several of these; files from tools other than torch may be deflated.

mod directory;

use super::choice::Choice;
use super::error::Fault;
use super::file::Source;
use super::pickle;
use super::scan::{self, Mode, Pickle};
use super::state_dict::{self, Names};
use super::tensor::TensorInfo;
use super::values::{Blob, Stored};
use directory::Entry;
use std::collections::HashMap;
use std::io::Read;

/// Longest pickle accepted.
const MAX_PICKLE: u64 = 1 << 26;
/// Longest `byteorder`.
const MAX_TEXT: u64 = 64;
/// The pickle that names the tensors.
const DATA_PKL: &str = "data.pkl";

/// The tensors of the zip archive `source`.
///
/// # Errors
///
/// If the archive, one of its pickles, or a tensor is not right.
pub(super) fn read(source: &Source, choice: &Choice) -> Result<Names<Stored>, Fault> {
    let entries = directory::entries(source)?;
    let root = root(&entries)?;
    let by_name: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    if let Some(text) = by_name.get(format!("{root}byteorder").as_str()) {
        let order = contents(source, text, MAX_TEXT)?;
        match order.trim_ascii() {
            b"little" => {}
            b"big" => return Err(Fault::BigEndian { place: format!("the entry `{}` says so", text.name) }),
            _ => {
                let what = format!("the entry `{}` says neither `little` nor `big`", text.name);
                return Err(Fault::Zip { offset: text.data, what });
            }
        }
    }
    // Every pickle is scanned, also those that torch.load would pass over.
    let data_pkl = format!("{root}{DATA_PKL}");
    let mut weights = None;
    for entry in entries.iter().filter(|entry| entry.name.ends_with(".pkl")) {
        let pickle = scan_entry(source, entry, &choice.skip)?;
        if entry.name == data_pkl {
            weights = Some(pickle);
        } else {
            scan::refuse_unknown(&pickle.unknown, false)?;
        }
    }
    let Some(weights) = weights else { return Err(no_data_pkl(&entries)) };
    let Names { tensors, nested_under, alternatives, skipped, from_torchvision } =
        state_dict::find(&weights, choice.key.as_deref())?;
    let tensors = tensors.into_iter().map(|(info, view)| {
        let name = format!("{root}data/{}", view.storage);
        let Some(entry) = by_name.get(name.as_str()) else {
            return Err(Fault::StorageMissing { tensor: info.name, storage: name });
        };
        if entry.len != view.storage_bytes {
            let (declared, found) = (view.storage_bytes, entry.len);
            return Err(Fault::StorageLength { tensor: info.name, storage: name, declared, found });
        }
        Ok((info, Stored { file: 0, blob: blob(entry), layout: view.layout }))
    });
    let tensors: Vec<(TensorInfo, Stored)> = tensors.collect::<Result<_, _>>()?;
    Ok(Names { tensors, nested_under, alternatives, skipped, from_torchvision })
}

/// The folder, with its slash, that holds `data.pkl` and everything else.
fn root(entries: &[Entry]) -> Result<String, Fault> {
    let mut roots = entries.iter().filter_map(|entry| {
        let root = entry.name.strip_suffix(DATA_PKL)?;
        (root.is_empty() || root.ends_with('/')).then_some((entry, root))
    });
    let (first, root) = roots.next().ok_or_else(|| no_data_pkl(entries))?;
    if let Some((second, _)) = roots.next() {
        return Err(Fault::TwoRoots { first: first.name.clone(), second: second.name.clone() });
    }
    let script = [format!("{root}constants.pkl"), format!("{root}code/")];
    if let Some(entry) = entries.iter().find(|entry| script.iter().any(|name| entry.name.starts_with(name.as_str()))) {
        return Err(Fault::TorchScript { entry: entry.name.clone() });
    }
    if let Some(stray) = entries.iter().find(|entry| !entry.name.starts_with(root)) {
        return Err(Fault::TwoRoots { first: first.name.clone(), second: stray.name.clone() });
    }
    Ok(root.to_owned())
}

fn no_data_pkl(entries: &[Entry]) -> Fault {
    let names: Vec<&str> = entries.iter().take(5).map(|entry| entry.name.as_str()).collect();
    let holds = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Fault::NoDataPkl { holds }
}

fn scan_entry(source: &Source, entry: &Entry, skip: &[String]) -> Result<Pickle, Fault> {
    let bytes = contents(source, entry, MAX_PICKLE)?;
    let mut input = &bytes[..];
    let end = bytes.len() as u64;
    let mut pickled = pickle::Source::new(&mut input, &entry.name, 0, end);
    let pickle = scan::scan(&mut pickled, Mode::Full, skip)?;
    let offset = pickled.offset();
    if offset < end {
        let after = format!("the pickle in `{}`", entry.name);
        return Err(Fault::TrailingBytes { after, offset, count: end - offset });
    }
    Ok(pickle)
}

fn blob(entry: &Entry) -> Blob {
    Blob {
        name: entry.name.clone(),
        start: entry.data,
        stored: entry.stored,
        len: entry.len,
        deflated: entry.deflated,
        // torch writes 0 where it was told not to compute checksums.
        crc: (entry.crc != 0).then_some(entry.crc),
        memory: None,
    }
}

/// The decompressed bytes of a small entry.
fn contents(source: &Source, entry: &Entry, limit: u64) -> Result<Vec<u8>, Fault> {
    if entry.len > limit {
        let (from, to) = (entry.stored, entry.len);
        return Err(Fault::Inflates { entry: entry.name.clone(), from, to, limit });
    }
    let broken = |_| Fault::Deflate { entry: entry.name.clone(), declared: entry.len };
    let mut stream = source.stream(entry.data, entry.data + entry.stored);
    let mut bytes = Vec::new();
    if entry.deflated {
        let mut inflated = flate2::read::DeflateDecoder::new(stream);
        (&mut inflated).take(entry.len + 1).read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 != entry.len || inflated.total_in() != entry.stored {
            return Err(Fault::Deflate { entry: entry.name.clone(), declared: entry.len });
        }
    } else {
        stream.read_to_end(&mut bytes).map_err(|error| Fault::Io { action: "read it", error })?;
    }
    let found = crc32fast::hash(&bytes);
    if entry.crc != 0 && found != entry.crc {
        let (entry, expected) = (entry.name.clone(), entry.crc);
        return Err(Fault::Checksum { entry, tensor: None, expected, found });
    }
    Ok(bytes)
}
