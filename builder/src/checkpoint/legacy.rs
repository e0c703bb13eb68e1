//! The legacy container, `torch.save` before torch 1.6: five pickles in a row (magic number, protocol version, system
//! information, the object, the list of storage keys), then for each key an i64 count of elements and the elements.
//! Element sizes are known from the object's pickle alone.

use super::choice::Choice;
use super::error::Fault;
use super::file::Source;
use super::pickle;
use super::scan::{self, Mode, Node, Pickle, Value};
use super::state_dict::{self, Names};
use super::tensor::TensorInfo;
use super::values::{Blob, Stored};
use std::collections::HashMap;
use std::io::BufReader;

/// 0x1950a86a20f9469cfc6c, little-endian as pickle writes it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only protocol version there ever was.
const PROTOCOL: i64 = 1001;

/// The tensors of the legacy file `source`.
///
/// # Errors
///
/// If one of its pickles, its list of storages, or a tensor is not right.
pub(super) fn read(source: &Source, choice: &Choice) -> Result<Names<Stored>, Fault> {
    let mut input = BufReader::new(source.stream(0, source.len()));
    let mut offset = 0;
    let mut next = |name: &'static str, mode| {
        let mut pickled = pickle::Source::new(&mut input, name, offset, source.len());
        let pickle = scan::scan(&mut pickled, mode, &choice.skip)?;
        let start = std::mem::replace(&mut offset, pickled.offset());
        Ok::<_, Fault>((pickle, start))
    };
    let (magic, _) = next("the pickle of the magic number", Mode::Literal)?;
    if !matches!(magic.node(magic.root), Some(Node::Long(bytes)) if *bytes == MAGIC) {
        return Err(Fault::PlainPickle { holds: magic.type_name(magic.root) });
    }
    let (protocol, start) = next("the pickle of the protocol version", Mode::Literal)?;
    if !matches!(protocol.root, Value::Int(PROTOCOL)) {
        let found = match protocol.root {
            Value::Int(version) => version.to_string(),
            other => format!("a {}", protocol.type_name(other)),
        };
        return Err(Fault::LegacyProtocol { found, offset: start });
    }
    let (system, start) = next("the pickle of the system information", Mode::Literal)?;
    check_byte_order(&system, start)?;
    let (object, _) = next("the pickle of the object", Mode::Full)?;
    let (keys, keys_at) = next("the pickle of the storage keys", Mode::Literal)?;

    let Names { tensors, nested_under, alternatives, skipped, from_torchvision } =
        state_dict::find(&object, choice.key.as_deref())?;
    let blobs = storages(source, &object, &keys, keys_at, offset)?;
    let tensors = tensors.into_iter().map(|(info, view)| match blobs.get(view.storage.as_str()) {
        Some(blob) => Ok((info, Stored { file: 0, blob: blob.clone(), layout: view.layout })),
        None => Err(Fault::StorageMissing { tensor: info.name, storage: view.storage }),
    });
    let tensors: Vec<(TensorInfo, Stored)> = tensors.collect::<Result<_, _>>()?;
    Ok(Names { tensors, nested_under, alternatives, skipped, from_torchvision })
}

fn check_byte_order(system: &Pickle, offset: u64) -> Result<(), Fault> {
    let little = match system.node(system.root) {
        Some(Node::Dict(items)) => items.iter().find(|(key, ..)| system.str(*key) == Some("little_endian")),
        _ => None,
    };
    match little {
        Some((_, Value::Bool(true), _)) => Ok(()),
        Some((_, Value::Bool(false), _)) => {
            Err(Fault::BigEndian { place: format!("the system information at offset {offset} says so") })
        }
        _ => Err(Fault::Malformed {
            place: super::error::Place { pickle: system.name.clone(), offset },
            what: "no `little_endian` that is true or false".to_owned(),
        }),
    }
}

/// Where each storage lies: they follow one another from `offset` on, in the order of `keys`, to the end of the file.
fn storages<'a>(
    source: &Source,
    object: &'a Pickle,
    keys: &'a Pickle,
    keys_at: u64,
    mut offset: u64,
) -> Result<HashMap<&'a str, Blob>, Fault> {
    let wrong = |storage: &str, problem| Fault::LegacyKeys { storage: storage.to_owned(), problem, offset: keys_at };
    let declared = state_dict::storages(object)?;
    let Some(Node::List(list)) = keys.node(keys.root) else {
        return Err(wrong(keys.type_name(keys.root), "in place of a list"));
    };
    let mut blobs = HashMap::new();
    for key in list {
        let key = keys.str(*key).ok_or_else(|| wrong(keys.type_name(*key), "a key, but no string"))?;
        let &(size, numel) = declared.get(key).ok_or_else(|| wrong(key, "used by no tensor"))?;
        let left = source.len() - offset;
        let len = numel * size as u64;
        if left.checked_sub(8).is_none_or(|left| left < len) {
            return Err(Fault::LegacyCut { storage: key.to_owned(), offset, needs: len.saturating_add(8), left });
        }
        let found = i64::from_le_bytes(source.array_at(offset)?);
        if u64::try_from(found) != Ok(numel) {
            return Err(Fault::LegacyCount { storage: key.to_owned(), offset, found, declared: numel });
        }
        let start = offset + 8;
        let blob = Blob { name: key.to_owned(), start, stored: len, len, deflated: false, crc: None, memory: None };
        if blobs.insert(key, blob).is_some() {
            return Err(wrong(key, "listed twice"));
        }
        offset = start + len;
    }
    let mut missing: Vec<&str> = declared.keys().copied().filter(|key| !blobs.contains_key(key)).collect();
    missing.sort_unstable();
    if let Some(key) = missing.first() {
        return Err(wrong(key, "not listed"));
    }
    if offset < source.len() {
        let after = "the last storage".to_owned();
        return Err(Fault::TrailingBytes { after, offset, count: source.len() - offset });
    }
    Ok(blobs)
}
