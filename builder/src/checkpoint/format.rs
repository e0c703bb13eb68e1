//! The containers that checkpoints are stored in, told by content.

use std::fmt;

use super::error::Fault;
use super::file::Source;
use super::safetensors::MAX_HEADER;

/// The container a checkpoint is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Zip archive, `torch.save` since torch 1.6.
    Zip,
    /// Concatenated pickles and storages, `torch.save` before torch 1.6.
    Legacy,
    /// A plain pickle of numpy arrays.
    Pickle,
    /// safetensors.
    Safetensors,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::Legacy => "legacy",
            Self::Pickle => "pickle",
            Self::Safetensors => "safetensors",
        })
    }
}

/// Tells the container by content, as `torch.load` does; names of files are often wrong.
pub(super) fn sniff(source: &Source) -> Result<Format, Fault> {
    let mut start = vec![0; source.len().min(512) as usize];
    source.read_at(&mut start, 0)?;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    let header = start.first_chunk().map(|length| u64::from_le_bytes(*length));
    if start.is_empty() {
        Err(Fault::Empty)
    } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        Ok(Format::Zip)
    } else if start.get(8) == Some(&b'{') && header.is_some_and(|length| length <= MAX_HEADER) {
        Ok(Format::Safetensors)
    } else if start.get(257..262) == Some(b"ustar") {
        Err(Fault::Tar)
    } else if text.starts_with(b"version https://git-lfs") {
        Err(Fault::LfsPointer)
    } else if text.starts_with(b"<") {
        Err(Fault::Text { kind: "an HTML or XML page" })
    } else if text.starts_with(b"{") {
        Err(Fault::Text { kind: "a JSON text" })
    } else if is_pickle(&start) {
        Ok(Format::Legacy)
    } else {
        let start = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        Err(Fault::Unrecognised { start })
    }
}

/// Whether a pickle begins here: with its protocol, or, before protocol 2, with a global, a container or a number.
fn is_pickle(start: &[u8]) -> bool {
    match start {
        [0x80, version, ..] => *version < 0x20,
        [b'c', ..] => start.contains(&b'\n'),
        [b'(' | b'}' | b']', opcode, ..] => matches!(opcode, b'q' | b'd' | b'l' | b'p' | b'(' | b'c' | b'X' | b'S'),
        [b'L', digit, ..] => digit.is_ascii_digit(),
        _ => false,
    }
}
