//! What kind of file stands where a model or a checkpoint was expected, by its content: names are often wrong.
//!
//! Whoever names the wrong file is told which it is and what takes it, in the same words by both programs. Only the
//! start of a file is looked at, and of a zip archive the list of its entries.

mod archive;
mod known;

pub use known::Kind;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::open;

/// What a command wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An ONNX model.
    Model,
    /// A checkpoint.
    Checkpoint,
}

/// Bytes from the start that are looked at.
const HEAD: u64 = 1024;

/// Looks at the regular file at `path`.
///
/// # Errors
/// Whatever the file system says.
pub fn of(path: &Path) -> io::Result<Kind> {
    of_file(&mut open::file(path)?)
}

/// Looks at an open file, whose position is left at its start.
///
/// # Errors
/// Whatever the file system says.
pub fn of_file(file: &mut File) -> io::Result<Kind> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let kind = match by_start(&head) {
        Some(kind) => kind,
        None if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") => archive::kind(file)?,
        None => by_text(&head).unwrap_or_else(|| Kind::Unknown(head.iter().take(8).copied().collect())),
    };
    file.seek(SeekFrom::Start(0))?;
    Ok(kind)
}

/// What `file` certainly is, if that is something other than a model; only the decoder knows of the rest.
pub(crate) fn other_than_onnx(file: &mut File) -> io::Result<Option<Kind>> {
    Ok(match of_file(file)? {
        Kind::Onnx | Kind::Unknown(_) => None,
        kind => Some(kind),
    })
}

/// Formats that begin with marks of their own.
fn by_start(head: &[u8]) -> Option<Kind> {
    if head.is_empty() {
        return Some(Kind::Empty);
    }
    // A header's length, then JSON.
    let length = head.first_chunk().map(|length| u64::from_le_bytes(*length));
    if head.get(8) == Some(&b'{') && length.is_some_and(|length| length <= 100_000_000) {
        return Some(Kind::Safetensors);
    }
    if let Some(kind) = by_magic(head) {
        return Some(kind);
    }
    if is_onnx(head) {
        return Some(Kind::Onnx);
    }
    match head {
        // The number that torch wrote before 1.6, as a pickle of its own.
        [0x80, _, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, ..] => Some(Kind::Torch),
        [b'L', digits @ ..] if digits.starts_with(b"119547037146038801333356L\n") => Some(Kind::Torch),
        [0x80, 1..=5, ..] => Some(Kind::Pickle),
        _ => None,
    }
}

/// Marks at fixed places.
fn by_magic(head: &[u8]) -> Option<Kind> {
    use Kind::{Compressed, Framework, Other};
    const TENSORRT: &str = "made for one GPU and one version: build it again from its ONNX model with trtexec --onnx";
    let marks: [(usize, &[u8], Kind); 26] = [
        (0, b"\x1f\x8b", Compressed("gzip")),
        (0, b"\xfd7zXZ\0", Compressed("xz")),
        (0, b"BZh", Compressed("bzip2")),
        (0, b"\x28\xb5\x2f\xfd", Compressed("zstd")),
        (0, b"\x04\x22\x4d\x18", Compressed("lz4")),
        (0, b"7z\xbc\xaf\x27\x1c", Compressed("7z")),
        (0, b"Rar!", Compressed("rar")),
        (257, b"ustar", Compressed("tar")),
        (
            4,
            b"ORTM",
            Framework("an onnxruntime .ort file", "it cannot be turned back: take the ONNX model it was made from"),
        ),
        (4, b"TFL3", Framework("a TensorFlow Lite model", "tf2onnx turns it into ONNX")),
        (0, b"\x89HDF\r\n\x1a\n", Framework("an HDF5 file, as Keras writes", "tf2onnx turns a Keras model into ONNX")),
        (0, b"ftrt", Framework("a TensorRT engine", TENSORRT)),
        (0, b"ptrt", Framework("a TensorRT engine", TENSORRT)),
        (0, b"GGUF", Framework("a GGUF file", "it holds no network of this family")),
        (0, b"\x93NUMPY", Other("a NumPy array (.npy)")),
        (0, b"\x89PNG", Other("a PNG image")),
        (0, b"\xff\xd8\xff", Other("a JPEG image")),
        (0, b"GIF8", Other("a GIF image")),
        (8, b"WEBP", Other("a WebP image")),
        (0, b"%PDF", Other("a PDF document")),
        (0, b"\x7fELF", Other("a program or a library")),
        (0, b"MZ\x90", Other("a program or a library")),
        (0, b"\0\x05\x16\x07", Other("a macOS resource file (its name begins with '._'), not the file itself")),
        (0, b"SQLite format 3", Other("an SQLite database")),
        (0, b"PAR1", Other("a Parquet file")),
        (0, b"ARROW1", Other("an Arrow file")),
    ];
    let at = |(offset, mark, _): &&(usize, &[u8], Kind)| head.get(*offset..).is_some_and(|rest| rest.starts_with(mark));
    marks.iter().find(at).map(|(.., kind)| kind.clone())
}

/// Whether a ModelProto begins here: its version, a small number in field 1, then another field of it.
fn is_onnx(head: &[u8]) -> bool {
    match head {
        // producer_name, producer_version, domain, model_version, doc_string, graph, opset_import, ...
        [0x08, 1..=64, next, ..] => matches!(next, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72 | 0xa2 | 0xca),
        [0x08, 1..=64] => true,
        _ => false,
    }
}

fn by_text(head: &[u8]) -> Option<Kind> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let lower: Vec<u8> = text.iter().map(u8::to_ascii_lowercase).collect();
    let holds = |mark: &[u8]| lower.windows(mark.len()).any(|window| window == mark);
    if text.starts_with(b"version https://git-lfs") {
        return Some(Kind::LfsPointer);
    }
    if text.starts_with(b"<") {
        return Some(match () {
            () if holds(b"<net ") && holds(b"<layers") => Kind::OpenVino,
            () if lower.starts_with(b"<?xml") && !holds(b"<html") && !holds(b"<error") => Kind::Xml,
            () => Kind::Html,
        });
    }
    // A character may be cut off at the end of what was read.
    let valid = std::str::from_utf8(text).map_or_else(|error| error.valid_up_to() + 4 > text.len(), |_| true);
    if !valid || text.iter().any(|byte| *byte < 0x20 && !b"\t\n\r\x0c\x1b".contains(byte)) {
        return None;
    }
    Some(match text.first() {
        Some(b'{') if holds(b"\"weight_map\"") || holds(b"\"total_size\"") => Kind::ShardIndex,
        Some(b'{' | b'[') => Kind::Json,
        _ => Kind::Text,
    })
}

impl fmt::Display for Kind {
    /// As the complement of "it is".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Onnx => "an ONNX model",
            Self::Torch => "a torch checkpoint",
            Self::TorchScript => "a TorchScript archive (torch.jit.save)",
            Self::TorchExport => "an archive of torch.export",
            Self::Safetensors => "a safetensors checkpoint",
            Self::Pickle => "a Python pickle",
            Self::LfsPointer => "a Git LFS pointer: the file itself was not downloaded",
            Self::Html => "an HTML page, such as a server's answer in place of the file",
            Self::OpenVino => "an OpenVINO model (.xml)",
            Self::Xml => "an XML text",
            Self::ShardIndex => "the index of a checkpoint in several files",
            Self::Json => "a JSON text",
            Self::Text => "a text file",
            Self::Compressed(format) => return write!(f, "a {format} archive"),
            Self::Zip(entries) if entries.is_empty() => "an empty zip archive",
            Self::Zip(entries) => return write!(f, "a zip archive that holds {}", entries.join(", ")),
            Self::Framework(what, _) | Self::Other(what) => what,
            Self::Unknown(start) => {
                let bytes: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
                return write!(f, "of no kind known here (it starts with {})", bytes.join(" "));
            }
        })
    }
}

impl Kind {
    /// What to do with the file at `path` where `wanted` was expected.
    pub fn advice(&self, wanted: Wanted, path: &Path) -> String {
        let path = path.display();
        match (self, wanted) {
            (Self::Onnx, Wanted::Checkpoint) => {
                "`resnext-build inspect`, `resnext-build optimize` and `resnext-run` take it; --weights takes the checkpoint that a model is made from".into()
            }
            (Self::Torch | Self::Safetensors, Wanted::Model) => {
                format!("build a model from it: resnext-build --weights {path} -o model.onnx")
            }
            (Self::TorchScript | Self::TorchExport, _) => {
                "it holds a program, not plain weights: export it with torch.onnx.export, or save its state_dict with torch.save".into()
            }
            (Self::Pickle, Wanted::Model) => format!("if it holds weights, resnext-build inspect {path} says so"),
            (Self::Empty | Self::Html, _) => "download or copy it again".into(),
            (Self::LfsPointer, _) => "run git lfs pull, or download the file from its page".into(),
            (Self::OpenVino, _) => "OpenVINO itself runs it; take the ONNX model it was made from".into(),
            (Self::ShardIndex, Wanted::Model) => format!("build a model from it: resnext-build --weights {path} -o model.onnx"),
            (Self::Compressed(_), _) => "unpack it first".into(),
            (Self::Zip(entries), _) if !entries.is_empty() => "unpack it and name the file in it".into(),
            (Self::Framework(_, how), _) => (*how).into(),
            (_, Wanted::Model) => "name an ONNX model (.onnx)".into(),
            (_, Wanted::Checkpoint) => "name a checkpoint (.pth, .pt, .bin, .safetensors)".into(),
        }
    }
}

#[cfg(test)]
mod tests;
