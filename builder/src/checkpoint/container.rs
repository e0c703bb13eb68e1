//! From a file, whatever its container, to its tensors under the file's own names; and from shards to those of all.

use std::collections::BTreeSet;
use std::path::Path;

use onnx_file::kind::{self, Kind, Wanted};

use super::choice::Choice;
use super::error::Fault;
use super::file::Source;
use super::format::{self, Format};
use super::state_dict::Names;
use super::values::Stored;
use super::{legacy, plain, safetensors, zip};

/// One file and the tensors in it, under the file's own names.
pub(super) fn read(path: &Path, choice: &Choice) -> Result<(Source, Format, Names<Stored>), Fault> {
    let source = Source::open(path)?;
    let format = format::sniff(&source)?;
    let names = match format {
        Format::Zip => zip::read(&source, choice),
        Format::Legacy if is_ordered(&source)? => Err(Fault::PlainPickle { holds: "dictionary" }),
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
fn is_plain(source: &Source) -> Result<bool, Fault> {
    Ok(beginning(source)?.starts_with(b"}"))
}

/// Whether a pickle begins with an `OrderedDict`, as one of a state dict's tensors does that `torch.save` did not write.
fn is_ordered(source: &Source) -> Result<bool, Fault> {
    let body = beginning(source)?;
    Ok([&b"\x8c\x0bcollections"[..], b"ccollections\nOrderedDict"].iter().any(|start| body.starts_with(start)))
}

/// The first bytes of a pickle behind its protocol and frame.
fn beginning(source: &Source) -> Result<Vec<u8>, Fault> {
    let mut start = vec![0; source.len().min(40) as usize];
    source.read_at(&mut start, 0)?;
    Ok(match &start[..] {
        [0x80, _, 0x95, _, _, _, _, _, _, _, _, body @ ..] | [0x80, _, body @ ..] => body.to_vec(),
        body => body.to_vec(),
    })
}

/// The shards read so far.
#[derive(Default)]
pub(super) struct Shards {
    pub(super) sources: Vec<Source>,
    pub(super) format: Option<Format>,
    pub(super) names: Names<Stored>,
}

impl Shards {
    /// Adds the shard at `path`, which has to hold the tensors `expected` and no others.
    pub(super) fn add(&mut self, path: &Path, expected: &BTreeSet<String>, choice: &Choice) -> Result<(), Fault> {
        let (source, format, names) = read(path, choice)?;
        let found: BTreeSet<&str> = names.tensors.iter().map(|(info, _)| info.name.as_str()).collect();
        if let Some(missing) = expected.iter().find(|name| !found.contains(name.as_str())) {
            return Err(Fault::Index { what: format!("`{missing}` should be in this file and is not") });
        }
        if let Some(more) = found.iter().find(|name| !expected.contains(**name)) {
            return Err(Fault::Index { what: format!("`{more}` is in this file and should not be") });
        }
        let file = self.sources.len();
        self.names.tensors.extend(names.tensors.into_iter().map(|(info, stored)| (info, Stored { file, ..stored })));
        self.names.skipped.extend(names.skipped);
        self.sources.push(source);
        self.format = Some(format);
        Ok(())
    }
}

/// A fault of a file that is no checkpoint at all, where its kind is known, says which it is.
pub(super) fn named(path: &Path, fault: Fault) -> Fault {
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
