//! Checkpoint files: the container is recognised by its content, names map to tensors, values are read when asked for.
//!
//! A checkpoint is untrusted. `Checkpoint::open` goes one way: `file` -> `zip`, `legacy` or `safetensors` (the
//! container's own consistency) -> `pickle` (opcodes) -> `scan` (the allow-list, an abstract machine) -> `state_dict`
//! (names, shapes, strides, storages). Only then is there something to read `values` from. Nothing is ever executed,
//! and no length that a file declares takes memory before it was compared with the bytes that are there.
//!
//! The scan must follow stack and memo to admit a file at all, so what it sees is what is used. Handing the file to
//! another reader afterwards (the crate `pytorch-reader` serves the tests as an independent one) would open the path
//! a second time, parse with other rules, forget order, strides, duplicate keys and storages, and copy each tensor.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

mod choice;
mod container;
mod error;
mod file;
mod folder;
mod format;
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
mod tensor;
mod values;
mod zip;

pub use choice::{ChannelOrder, Choice, Undecided};
pub use error::{CheckpointError, Fault, Place};
pub use folder::{WEIGHT_FILES, is_index, shard_names, weight_files, weights_in};
pub use format::Format;
pub use names::{Head, Naming};
pub use select::{Alternative, WeightsKind};
pub use tensor::{Normalisation, Skipped, TensorInfo};

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
    undecided: Option<Undecided>,
    channel_order: ChannelOrder,
    normalisation: Option<Box<[values::Data; 2]>>,
    folded: Vec<String>,
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
    /// If the file cannot be read, is not a checkpoint of plain weights, or is damaged or unsafe. The error says what,
    /// where, and what to do next. What the file leaves open is no error yet: [`Checkpoint::decided`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::open_with(path, &Choice::default())
    }

    /// As [`Checkpoint::open`], with what the file alone does not settle.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`], and where the file does not have what `choice` names.
    pub fn open_with(path: &Path, choice: &Choice) -> Result<Self, CheckpointError> {
        let refuse_at = |path: &Path, fault| CheckpointError {
            path: path.to_owned(),
            fault: Box::new(container::named(path, fault)),
        };
        let path = &folder::locate(path).map_err(|fault| refuse_at(path, fault))?;
        let refuse = |fault| refuse_at(path, fault);
        let (sources, format, names) = if folder::is_index(path) {
            let mut joined = container::Shards::default();
            for (shard, expected) in folder::shards(path).map_err(refuse)? {
                joined.add(&shard, &expected, choice).map_err(|fault| refuse_at(&shard, fault))?;
            }
            (joined.sources, joined.format.unwrap_or(Format::Safetensors), joined.names)
        } else {
            let (source, format, names) = container::read(path, choice).map_err(refuse)?;
            (vec![source], format, names)
        };
        let state_dict::Names { mut tensors, mut nested_under, alternatives, skipped, from_torchvision } = names;
        if let (Format::Safetensors, Some(key)) = (format, &choice.key) {
            tensors = safetensors::under(tensors, key).map_err(refuse)?;
            nested_under = Some(key.clone());
        }
        let tensors = tensors.into_iter().map(|(info, stored)| (info, values::Data::Stored(stored))).collect();
        let names::Named { tensors, prefix, naming, head, undecided, channel_order, normalisation, folded, left_out } =
            names::normalise(tensors, choice, from_torchvision).map_err(refuse)?;
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
            undecided,
            channel_order,
            normalisation,
            folded,
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

    /// What the file leaves open; until it is chosen, nothing can be built.
    pub fn undecided(&self) -> Option<&Undecided> {
        self.undecided.as_ref()
    }

    /// Refuses a checkpoint that leaves something open.
    ///
    /// # Errors
    ///
    /// What it is, and the flag that chooses.
    pub fn decided(&self) -> Result<(), CheckpointError> {
        let fault = match self.undecided.clone() {
            None => return Ok(()),
            Some(Undecided::Prefixes { known }) => Fault::Prefixes { known },
            Some(Undecided::Heads { features, known, .. }) => Fault::Heads { features, known },
        };
        Err(CheckpointError { path: self.path.clone(), fault: Box::new(fault) })
    }

    /// What a layer before the network does to images, where the file has one.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read_f32`].
    pub fn normalisation(&self) -> Result<Option<Normalisation>, CheckpointError> {
        let Some(layer) = &self.normalisation else { return Ok(None) };
        let read = |name: &str, data| {
            let values: Vec<f64> = values::read(&self.sources, name, data)
                .map_err(|fault| CheckpointError { path: self.path.clone(), fault: Box::new(fault) })?;
            Ok::<_, CheckpointError>(<[f64; 3]>::try_from(values).ok())
        };
        let (Some(mean), Some(std)) = (read("mean", &layer[0])?, read("std", &layer[1])?) else { return Ok(None) };
        // Of values from 0 to 255 where they are that large.
        let scale = if mean.iter().chain(&std).any(|value| *value > 2.0) { 255.0 } else { 1.0 };
        let scaled = |mut values: [f64; 3]| {
            if self.channel_order == ChannelOrder::Bgr {
                values.reverse();
            }
            values.map(|value| value / scale)
        };
        Ok(Some(Normalisation { mean: scaled(mean), std: scaled(std) }))
    }

    /// The order of colours that the file's network takes. With BGR, the stem's input channels are read in reverse, so that
    /// the network of [`Checkpoint::tensors`] takes RGB, and so is [`Checkpoint::normalisation`].
    pub fn channel_order(&self) -> ChannelOrder {
        self.channel_order
    }

    /// Biases before a normalisation, and normalisations of the classifier, that were folded into the layers beside them; by
    /// their names in the file.
    pub fn folded(&self) -> &[String] {
        &self.folded
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

/// With a variance of at least 0, `var + eps` is positive for every epsilon that torch accepts.
fn refuse_negative_variance<T: values::Real>(name: &str, values: Vec<T>) -> Result<Vec<T>, Fault> {
    if name.rsplit('.').next() == Some("running_var")
        && let Some(index) = values.iter().position(|value| value.to_f64() < 0.0)
    {
        return Err(Fault::NegativeVariance { tensor: name.to_owned(), index, value: values[index].to_f64() });
    }
    Ok(values)
}
