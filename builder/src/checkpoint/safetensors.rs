//! safetensors: the length of a header, the header in JSON, then the tensors without holes. Parsed and validated by
//! the `safetensors` crate's own metadata type; what that does not see (a name given twice, the bytes around) is
//! checked here.

use super::error::Fault;
use super::file::Source;
use super::layout::Layout;
use super::state_dict::Names;
use super::tensor::TensorInfo;
use super::values::{Blob, Stored};
use onnx_file::element::ElementType;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, SafeTensorError, TensorInfo as Header};
use serde::de::{Error, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Longest header the format allows.
pub(super) const MAX_HEADER: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH: u64 = 8;

/// The tensors of the safetensors file `source`.
///
/// # Errors
///
/// If the header, the bytes it describes, or a tensor is not right.
pub(super) fn read(source: &Source) -> Result<Names<Stored>, Fault> {
    let declared = u64::from_le_bytes(source.array_at(0)?);
    let limit = source.len().saturating_sub(LENGTH).min(MAX_HEADER);
    if declared > limit {
        return Err(Fault::HeaderLength { declared, limit });
    }
    let mut header = vec![0; declared as usize];
    source.read_at(&mut header, LENGTH)?;
    // The whole text: a parser may pass over what it does not need.
    let text = std::str::from_utf8(&header).map_err(|error| Fault::Header { what: error.to_string() })?;
    let Entries(mut entries) = serde_json::from_str(text).map_err(|error| Fault::Header { what: error.to_string() })?;
    drop(header);
    entries.sort_by(|(name, a), (other, b)| (a.data_offsets, name).cmp(&(b.data_offsets, other)));
    let data = LENGTH + declared;
    validate(&entries, data, source.len())?;

    let mut tensors = Vec::new();
    for (name, header) in entries {
        let dtype = dtype(&name, header.dtype)?;
        let len = (header.data_offsets.1 - header.data_offsets.0) as u64;
        let start = data + header.data_offsets.0 as u64;
        let blob = Blob { name: name.clone(), start, stored: len, len, deflated: false, crc: None, memory: None };
        let layout = Layout::contiguous(dtype, header.shape.iter().product());
        tensors.push((TensorInfo { name, dtype, shape: header.shape }, Stored { file: 0, blob, layout }));
    }
    if tensors.is_empty() {
        return Err(Fault::NoWeights { keys: Vec::new(), candidates: Vec::new() });
    }
    Ok(Names { tensors, ..Names::default() })
}

/// The tensors whose names begin with `key` and a dot, without those: the format has no dictionaries in one another.
///
/// # Errors
///
/// If there are none.
pub(super) fn under<T>(tensors: Vec<(TensorInfo, T)>, key: &str) -> Result<Vec<(TensorInfo, T)>, Fault> {
    let mut known: Vec<String> =
        tensors.iter().filter_map(|(info, _)| Some(info.name.split_once('.')?.0.to_owned())).collect();
    let strip = |(info, data): (TensorInfo, T)| {
        let name = info.name.strip_prefix(key)?.strip_prefix('.')?.to_owned();
        Some((TensorInfo { name, ..info }, data))
    };
    let found: Vec<_> = tensors.into_iter().filter_map(strip).collect();
    if found.is_empty() {
        known.sort();
        known.dedup();
        return Err(Fault::NoSuchKey { key: key.to_owned(), known });
    }
    Ok(found)
}

/// The header's tensors in the order of its text, each name once.
struct Entries(Vec<(String, Header)>);

impl<'de> serde::Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("the name `{name}` occurs twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<HashMap<String, String>>()?;
                    } else {
                        let header = map.next_value()?;
                        entries.push((name, header));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// The crate's own checks, then that the last tensor ends where the file does.
fn validate(entries: &[(String, Header)], data: u64, file_len: u64) -> Result<(), Fault> {
    let broken = |what: String| Fault::Header { what };
    let metadata = Metadata::new(None, entries.to_vec()).map_err(|error| match error {
        SafeTensorError::InvalidOffset(tensor) => {
            let (begin, end) = entries.iter().find(|(name, _)| *name == tensor).map_or((0, 0), |(_, h)| h.data_offsets);
            Fault::SafetensorsOffsets { tensor, begin, end }
        }
        SafeTensorError::TensorInvalidInfo | SafeTensorError::ValidationOverflow | SafeTensorError::MisalignedSlice => {
            wrong_size(entries).unwrap_or_else(|| broken(error.to_string()))
        }
        other => broken(other.to_string()),
    })?;
    let declared = data.saturating_add(metadata.data_len() as u64);
    if file_len < declared {
        return Err(Fault::SafetensorsCut { declared, found: file_len });
    }
    if file_len > declared {
        let after = "the last tensor".to_owned();
        return Err(Fault::TrailingBytes { after, offset: declared, count: file_len - declared });
    }
    Ok(())
}

/// The first tensor whose bytes are not what its shape and type need: the crate's error does not name it.
fn wrong_size(entries: &[(String, Header)]) -> Option<Fault> {
    let bits = |header: &Header| {
        let elements = header.shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent))?;
        elements.checked_mul(header.dtype.bitsize())
    };
    let (tensor, header) = entries.iter().find(|(_, header)| {
        let (begin, end) = header.data_offsets;
        bits(header) != end.checked_sub(begin).and_then(|bytes| bytes.checked_mul(8))
    })?;
    let (begin, end) = header.data_offsets;
    Some(Fault::SafetensorsSize {
        tensor: tensor.clone(),
        shape: header.shape.clone(),
        dtype: header.dtype.to_string(),
        found: end.saturating_sub(begin),
    })
}

fn dtype(tensor: &str, dtype: Dtype) -> Result<ElementType, Fault> {
    Ok(match dtype {
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::BOOL => ElementType::Bool,
        Dtype::U8 => ElementType::U8,
        Dtype::I8 => ElementType::I8,
        Dtype::U16 => ElementType::U16,
        Dtype::I16 => ElementType::I16,
        Dtype::U32 => ElementType::U32,
        Dtype::I32 => ElementType::I32,
        Dtype::U64 => ElementType::U64,
        Dtype::I64 => ElementType::I64,
        other => {
            let fix = "convert it to f32 and save it again";
            return Err(Fault::TensorKind { tensor: tensor.to_owned(), kind: other.to_string(), fix });
        }
    })
}
