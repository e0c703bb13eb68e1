//! Checkpoint files: the container is recognised by its content, names map to tensors, values are read when asked for.
//!
//! A checkpoint is untrusted. `Checkpoint::open` goes one way: `file` -> `zip`, `legacy` or `safetensors` (the
//! container's own consistency) -> `pickle` (opcodes) -> `scan` (the allow-list, an abstract machine) -> `state_dict`
//! (names, shapes, strides, storages). Only then is there something to read `values` from. Nothing is ever executed,
//! and no length that a file declares takes memory before it was compared with the bytes that are there.
//!
//! The scan must follow stack and memo to judge a file at all, so what it sees is what is used. Handing the file to
//! another reader afterwards (the crate `pytorch-reader` serves the tests as an independent one) would open the path
//! a second time, parse with other rules, forget order, strides, duplicate keys and storages, and copy each tensor.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use onnx_file::element::ElementType;
use onnx_file::kind::{self, Kind, Wanted};

mod choice;
mod error;
mod file;
mod folder;
mod globals;
mod layout;
mod legacy;
mod names;
mod pickle;
mod plain;
mod safetensors;
mod scan;
mod select;
mod state_dict;
mod values;
mod zip;

pub use choice::Choice;
pub use error::{CheckpointError, Fault, Place};
pub use names::{Head, Naming};
pub use select::{Alternative, WeightsKind};

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

/// What a checkpoint says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, without the key that nested the weights and without a stripped prefix.
    pub name: String,
    /// Element type as stored.
    pub dtype: ElementType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// An object beside the weights that was passed over unbuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Key of the outermost dictionary that it lies under.
    pub key: String,
    /// Its class, `module.Name`.
    pub class: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key.escape_debug(), self.class.escape_debug())
    }
}

/// An open checkpoint: names, types and shapes in memory, values in the file. Several threads may read from it.
pub struct Checkpoint {
    path: PathBuf,
    /// One, or the shards in order.
    sources: Vec<file::Source>,
    format: Format,
    tensors: Vec<TensorInfo>,
    stored: Vec<values::Data>,
    index: HashMap<String, usize>,
    nested_under: Option<String>,
    stripped_prefix: Option<String>,
    skipped: Vec<Skipped>,
    alternatives: Vec<Alternative>,
    naming: Naming,
    head: Option<Head>,
    left_out: Vec<String>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens `path`: recognises its container, scans every pickle in it, and checks name, type, shape, strides and
    /// storage of each tensor. No values are read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not a checkpoint of plain weights, or is damaged, ambiguous or unsafe. The error
    /// says what, where, and what to do next.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::open_with(path, &Choice::default())
    }

    /// As [`Checkpoint::open`], with what the file alone does not settle.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`], and where the file does not have what `choice` names.
    pub fn open_with(path: &Path, choice: &Choice) -> Result<Self, CheckpointError> {
        let refuse_at =
            |path: &Path, fault| CheckpointError { path: path.to_owned(), fault: Box::new(named(path, fault)) };
        let path = &folder::locate(path).map_err(|fault| refuse_at(path, fault))?;
        let refuse = |fault| refuse_at(path, fault);
        let (sources, format, names) = if folder::is_index(path) {
            let mut joined = Shards::default();
            for (shard, expected) in folder::shards(path).map_err(refuse)? {
                joined.add(&shard, &expected, choice).map_err(|fault| refuse_at(&shard, fault))?;
            }
            (joined.sources, joined.format.unwrap_or(Format::Safetensors), joined.names)
        } else {
            let (source, format, names) = read_file(path, choice).map_err(refuse)?;
            (vec![source], format, names)
        };
        let state_dict::Names { tensors, nested_under, alternatives, skipped } = names;
        if let (Format::Safetensors, Some(key)) = (format, &choice.key) {
            return Err(refuse(Fault::NoSuchKey { key: key.clone(), known: Vec::new() }));
        }
        let tensors = tensors.into_iter().map(|(info, stored)| (info, values::Data::Stored(stored))).collect();
        let names::Named { tensors, prefix, naming, head, left_out } =
            names::normalise(tensors, choice).map_err(refuse)?;
        let (tensors, stored): (Vec<TensorInfo>, _) = tensors.into_iter().unzip();
        let index: HashMap<String, usize> =
            tensors.iter().enumerate().map(|(index, info)| (info.name.clone(), index)).collect();
        if let Some(twice) = tensors.iter().enumerate().find(|(at, info)| index.get(&info.name) != Some(at)) {
            return Err(refuse(Fault::SameName { tensor: twice.1.name.clone() }));
        }
        Ok(Self {
            path: path.to_owned(),
            sources,
            format,
            tensors,
            stored,
            index,
            nested_under,
            stripped_prefix: prefix,
            skipped,
            alternatives,
            naming,
            head,
            left_out,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its container.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its length in bytes, all shards together.
    pub fn file_len(&self) -> u64 {
        self.sources.iter().map(file::Source::len).sum()
    }

    /// All tensors of the state_dict, counters such as `num_batches_tracked` included: in the order of the state_dict,
    /// or for safetensors in the order of their bytes.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).and_then(|index| self.tensors.get(*index))
    }

    /// The key under which the weights were nested, such as `state_dict` or `model`; joined by dots where one is nested in
    /// another.
    pub fn nested_under(&self) -> Option<&str> {
        self.nested_under.as_deref()
    }

    /// The prefix taken off the network's names, such as `module.`, as DataParallel writes it.
    pub fn stripped_prefix(&self) -> Option<&str> {
        self.stripped_prefix.as_deref()
    }

    /// Other weights in the file.
    pub fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }

    /// Whose names the file has; [`Checkpoint::tensors`] has torchvision's.
    pub fn naming(&self) -> Naming {
        self.naming
    }

    /// The classifier, where one was found beside a network of the family.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Tensors that were left out, by their names in the file.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What lies beside the weights and was passed over unbuilt.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The values of the tensor `name` as f32, row-major whatever its strides. f16 and bf16 are converted exactly, f64
    /// is rounded to nearest.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, its type is not a floating one, its bytes do not match their checksum, or a value
    /// is NaN, infinite, beyond the range of f32, or (in a `running_var`) negative.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        self.read(name)
    }

    /// The values of the tensor `name` exactly as stored, row-major whatever its strides.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read_f32`], save for the range.
    pub fn read_f64(&self, name: &str) -> Result<Vec<f64>, CheckpointError> {
        self.read(name)
    }

    /// SHA-256 of the file, or of all shards one after the other, read to the length it had when it was opened.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has become shorter.
    pub fn sha256(&self) -> Result<[u8; 32], CheckpointError> {
        let refuse = |error| CheckpointError {
            path: self.path.clone(),
            fault: Box::new(Fault::Io { action: "read it", error }),
        };
        let empty: Box<dyn std::io::Read + '_> = Box::new(std::io::empty());
        let whole = self
            .sources
            .iter()
            .fold(empty, |whole, source| Box::new(std::io::Read::chain(whole, source.stream(0, source.len()))));
        onnx_file::digest::sha256(whole).map_err(refuse)
    }

    fn read<T: values::Real>(&self, name: &str) -> Result<Vec<T>, CheckpointError> {
        let stored = self.index.get(name).and_then(|index| self.stored.get(*index));
        let stored = stored.ok_or_else(|| Fault::NoSuchTensor { tensor: name.to_owned() });
        stored
            .and_then(|stored| values::read(&self.sources, name, stored))
            .and_then(|values| refuse_negative_variance(name, values))
            .map_err(|fault| CheckpointError { path: self.path.clone(), fault: Box::new(fault) })
    }
}

/// One file and the tensors in it, under the file's own names.
fn read_file(path: &Path, choice: &Choice) -> Result<(file::Source, Format, state_dict::Names<values::Stored>), Fault> {
    let source = file::Source::open(path)?;
    let format = sniff(&source)?;
    let names = match format {
        Format::Zip => zip::read(&source, choice),
        Format::Legacy if is_plain(&source)? => match plain::read(&source, choice)? {
            Some(names) => return Ok((source, Format::Pickle, names)),
            None => legacy::read(&source, choice),
        },
        Format::Legacy | Format::Pickle => legacy::read(&source, choice),
        Format::Safetensors => safetensors::read(&source),
    }?;
    Ok((source, format, names))
}

/// Whether a pickle begins with a dictionary, where torch's begins with its magic number.
fn is_plain(source: &file::Source) -> Result<bool, Fault> {
    let mut start = vec![0; source.len().min(12) as usize];
    source.read_at(&mut start, 0)?;
    let body = match &start[..] {
        [0x80, _, 0x95, _, _, _, _, _, _, _, _, body @ ..] | [0x80, _, body @ ..] => body,
        body => body,
    };
    Ok(body.first() == Some(&b'}'))
}

/// The shards read so far.
#[derive(Default)]
struct Shards {
    sources: Vec<file::Source>,
    format: Option<Format>,
    names: state_dict::Names<values::Stored>,
}

impl Shards {
    /// Adds the shard at `path`, which has to hold the tensors `expected` and no others.
    fn add(&mut self, path: &Path, expected: &BTreeSet<String>, choice: &Choice) -> Result<(), Fault> {
        let (source, format, names) = read_file(path, choice)?;
        let found: BTreeSet<&str> = names.tensors.iter().map(|(info, _)| info.name.as_str()).collect();
        if let Some(missing) = expected.iter().find(|name| !found.contains(name.as_str())) {
            return Err(Fault::Index { what: format!("`{missing}` should be in this file and is not") });
        }
        if let Some(more) = found.iter().find(|name| !expected.contains(**name)) {
            return Err(Fault::Index { what: format!("`{more}` is in this file and should not be") });
        }
        let file = self.sources.len();
        self.names
            .tensors
            .extend(names.tensors.into_iter().map(|(info, stored)| (info, values::Stored { file, ..stored })));
        self.names.skipped.extend(names.skipped);
        self.sources.push(source);
        self.format = Some(format);
        Ok(())
    }
}

/// With a variance of at least 0, `var + eps` is positive for every epsilon that torch accepts.
fn refuse_negative_variance<T: values::Real>(name: &str, values: Vec<T>) -> Result<Vec<T>, Fault> {
    if name.rsplit('.').next() == Some("running_var")
        && let Some(index) = values.iter().position(|value| value.to_f64() < 0.0)
    {
        return Err(Fault::NegativeVariance { tensor: name.to_owned(), index, value: values[index].to_f64() });
    }
    Ok(values)
}

/// A fault of a file that is no checkpoint at all, where its kind is known, says which it is.
fn named(path: &Path, fault: Fault) -> Fault {
    if !matches!(fault, Fault::Unrecognised { .. } | Fault::NoDataPkl { .. }) {
        return fault;
    }
    match kind::of(path) {
        Ok(kind @ (Kind::Onnx | Kind::OpenVino | Kind::Text | Kind::Compressed(_) | Kind::Framework(..))) => {
            Fault::OtherKind { advice: kind.advice(Wanted::Checkpoint, path), kind }
        }
        Ok(kind @ Kind::Zip(_)) if kind != Kind::Zip(Vec::new()) => {
            Fault::OtherKind { advice: kind.advice(Wanted::Checkpoint, path), kind }
        }
        Ok(kind @ (Kind::Other(_) | Kind::TorchExport)) if matches!(fault, Fault::Unrecognised { .. }) => {
            Fault::OtherKind { advice: kind.advice(Wanted::Checkpoint, path), kind }
        }
        _ => fault,
    }
}

/// Tells the container by content, as `torch.load` does; names of files are often wrong.
fn sniff(source: &file::Source) -> Result<Format, Fault> {
    let mut start = vec![0; source.len().min(512) as usize];
    source.read_at(&mut start, 0)?;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    let header = start.first_chunk().map(|length| u64::from_le_bytes(*length));
    if start.is_empty() {
        Err(Fault::Empty)
    } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        Ok(Format::Zip)
    } else if start.get(8) == Some(&b'{') && header.is_some_and(|length| length <= safetensors::MAX_HEADER) {
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
