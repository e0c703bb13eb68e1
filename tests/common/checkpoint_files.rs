//! Makers of checkpoint files, sound and broken, for the tests of the reader.

use resnext_builder::checkpoint::{Checkpoint, CheckpointError, Fault};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file written by torch, see `fixtures/checkpoints/*.py`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name)
}

/// Its bytes.
pub(crate) fn fixture_bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// An empty file, in memory where the system has a folder for that: some tests write thousands of times.
pub(crate) fn scratch_file() -> tempfile::NamedTempFile {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::NamedTempFile::new_in(memory) } else { tempfile::NamedTempFile::new() }.unwrap()
}

/// Opens `bytes` as a file.
pub(crate) fn open_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let file = scratch_file();
    std::fs::write(file.path(), bytes).unwrap();
    Checkpoint::open(file.path()) // holds the file open, so its name may go
}

/// One file, overwritten again and again.
pub(crate) struct Scratch(tempfile::NamedTempFile);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(scratch_file())
    }

    /// Opens `bytes` in place of what was in the file before.
    pub(crate) fn open(&mut self, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let file = self.0.as_file_mut();
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(bytes).unwrap();
        Checkpoint::open(self.0.path())
    }

    /// Everything in `bytes`, or `None` if it is refused on opening or reading.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Contents> {
        contents(&self.open(bytes).ok()?).ok()
    }
}

/// Why `bytes` are refused on opening.
pub(crate) fn refused(bytes: &[u8]) -> Fault {
    *open_bytes(bytes).expect_err("the file was accepted").fault
}

/// All tensors: name, shape, values (exact) where they are real numbers.
pub(crate) type Contents = Vec<(String, Vec<usize>, Option<Vec<f64>>)>;

/// Reads everything, or the first error.
pub(crate) fn contents(checkpoint: &Checkpoint) -> Result<Contents, CheckpointError> {
    let tensors = checkpoint.tensors().iter().map(|info| {
        let values = if info.dtype.is_float() { Some(checkpoint.read_f64(&info.name)?) } else { None };
        Ok((info.name.clone(), info.shape.clone(), values))
    });
    tensors.collect()
}

/// Pickle opcodes, one method each.
#[derive(Clone, Default)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn str(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub(crate) fn int(self, value: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.raw(b"("), |pickle, value| pickle.int(*value)).raw(b"t")
    }

    /// `('storage', torch.{class}, key, 'cpu', numel)` and its lookup.
    pub(crate) fn storage(self, class: &str, key: &str, numel: i64) -> Self {
        self.raw(b"(").str("storage").global("torch", class).str(key).str("cpu").int(numel).raw(b"tQ")
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())` of a storage on the stack.
    fn rebuilt(self, offset: i64, size: &[i64], stride: &[i64]) -> Self {
        self.int(offset).ints(size).ints(stride).raw(b"\x89").global("collections", "OrderedDict").raw(b")RtR")
    }

    /// A tensor in a storage of its own.
    pub(crate) fn tensor(self, class: &str, key: &str, numel: i64, offset: i64, size: &[i64], stride: &[i64]) -> Self {
        let start = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
        start.storage(class, key, numel).rebuilt(offset, size, stride)
    }

    /// A tensor of two by three f32.
    pub(crate) fn plain(self, key: &str) -> Self {
        self.tensor("FloatStorage", key, 6, 0, &[2, 3], &[3, 1])
    }

    pub(crate) fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// `{"conv1.weight": tensor}` with the tensor that `value` pushes.
pub(crate) fn one_weight(value: impl FnOnce(Pickle) -> Pickle) -> Vec<u8> {
    value(Pickle::new().raw(b"}").str("conv1.weight")).raw(b"s").stop()
}

/// `{"conv1.weight": <six floats>, "extra": <what `value` pushes>}`.
pub(crate) fn weight_and(value: impl FnOnce(Pickle) -> Pickle) -> Vec<u8> {
    let pickle = Pickle::new().raw(b"}(").str("conv1.weight").plain("0").str("extra");
    value(pickle).raw(b"u").stop()
}

/// Six floats, 0 to 5.
pub(crate) fn six_floats() -> Vec<u8> {
    (0..6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect()
}

/// An entry of a zip archive to be written.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The bytes in the archive.
    pub(crate) stored: Vec<u8>,
    pub(crate) len: u32,
    pub(crate) crc: u32,
    pub(crate) method: u16,
}

/// An entry that is not compressed.
pub(crate) fn stored(name: &str, data: &[u8]) -> Entry {
    let (len, crc) = (data.len() as u32, crc32fast::hash(data));
    Entry { name: name.to_owned(), stored: data.to_vec(), len, crc, method: 0 }
}

/// An entry that is.
pub(crate) fn deflated(name: &str, data: &[u8]) -> Entry {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    Entry { stored: encoder.finish().unwrap(), method: 8, ..stored(name, data) }
}

/// An archive of `entries`: local headers with data, the directory, the end record.
pub(crate) fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let mut common = Vec::new();
        for field in [20, 0, entry.method, 0, 0] {
            common.extend_from_slice(&u16::to_le_bytes(field));
        }
        for field in [entry.crc, entry.stored.len() as u32, entry.len] {
            common.extend_from_slice(&field.to_le_bytes());
        }
        common.extend_from_slice(&(entry.name.len() as u16).to_le_bytes());
        common.extend_from_slice(&[0, 0]);

        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&(file.len() as u32).to_le_bytes());
        directory.extend_from_slice(entry.name.as_bytes());

        file.extend_from_slice(b"PK\x03\x04");
        file.extend_from_slice(&common);
        file.extend_from_slice(entry.name.as_bytes());
        file.extend_from_slice(&entry.stored);
    }
    let (start, size) = (file.len() as u32, directory.len() as u32);
    file.extend_from_slice(&directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(&start.to_le_bytes());
    file.extend_from_slice(&[0, 0]);
    file
}

/// A zip checkpoint of `pickle` and the storage `0` of six floats.
pub(crate) fn zipped(pickle: &[u8]) -> Vec<u8> {
    zip(&[stored("archive/data.pkl", pickle), stored("archive/data/0", &six_floats())])
}

/// A zip checkpoint without checksums.
pub(crate) fn zipped_without_crc(pickle: &[u8]) -> Vec<u8> {
    let entries = [stored("archive/data.pkl", pickle), stored("archive/data/0", &six_floats())];
    zip(&entries.map(|entry| Entry { crc: 0, ..entry }))
}

/// Where the `n`-th directory record begins in an archive.
pub(crate) fn central_header(zip: &[u8], n: usize) -> usize {
    positions(zip, b"PK\x01\x02").nth(n).unwrap()
}

/// Where the `n`-th local header begins.
pub(crate) fn local_header(zip: &[u8], n: usize) -> usize {
    positions(zip, b"PK\x03\x04").nth(n).unwrap()
}

/// Where `needle` occurs.
pub(crate) fn positions<'a>(haystack: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    haystack.windows(needle.len()).enumerate().filter(move |(_, window)| *window == needle).map(|(at, _)| at)
}

/// The first three pickles of a legacy file.
pub(crate) fn legacy_header() -> Vec<u8> {
    let mut header = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = Pickle::new().raw(b"}(").str("protocol_version").raw(b"M\xe9\x03").str("little_endian").raw(b"\x88");
    header.extend(system.raw(b"u").stop());
    header
}

/// A legacy file: `pickle`, the list of `keys`, and for each storage its count and bytes.
pub(crate) fn legacy(pickle: &[u8], keys: &[&str], storages: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut file = legacy_header();
    file.extend_from_slice(pickle);
    file.extend(keys.iter().fold(Pickle::new().raw(b"]("), |list, key| list.str(key)).raw(b"e").stop());
    for (count, bytes) in storages {
        file.extend_from_slice(&count.to_le_bytes());
        file.extend_from_slice(bytes);
    }
    file
}

/// A safetensors file with this header and so many bytes of data.
pub(crate) fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}
