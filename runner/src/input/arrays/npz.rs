//! Arrays in a zip file, as `numpy.savez` writes them.

use std::io::{self, Read, Seek, Write};

use onnx_file::budget::Budget;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::content::{ContentError, Held, Wanted};
use super::npy;
use crate::model::tensor::Tensor;

/// Most arrays in a file. Whoever keeps more keeps something else.
const MOST_ENTRIES: usize = 65_535;

/// Reads the arrays that are wanted; the names of all are in the directory, which is read first.
pub(super) fn load(file: impl Read + Seek, wanted: Wanted<'_>, budget: &mut Budget) -> Result<Held, ContentError> {
    let malformed = |reason: String| ContentError::Malformed(reason);
    let mut archive = ZipArchive::new(file).map_err(|error| malformed(format!("not an .npz file: {error}")))?;
    if archive.len() > MOST_ENTRIES {
        return Err(malformed(format!("it holds {} entries, more than {MOST_ENTRIES}", archive.len())));
    }
    // A few bytes that many entries share would be unpacked as often.
    if archive.has_overlapping_entries().map_err(|error| malformed(error.to_string()))? {
        return Err(malformed("its entries overlap; save it again".into()));
    }
    let names = archive.file_names().map(|name| {
        let name = name.map_err(|error| malformed(error.to_string()))?;
        Ok(name.strip_suffix(".npy").unwrap_or(&name).to_owned())
    });
    let names = names.collect::<Result<Vec<String>, ContentError>>()?;
    let mut tensors = Vec::new();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| wanted.reads(name, names.len())) {
        let mut entry = archive.by_index(index).map_err(|error| malformed(format!("array {name}: {error}")))?;
        let size = entry.size();
        tensors.push(npy::read(&mut entry, name.clone(), Some(size), budget)?);
    }
    Ok((tensors, names))
}

/// Writes arrays, uncompressed as `numpy.savez` does.
pub(super) fn save(file: impl Write, tensors: &[Tensor]) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(file);
    let large = tensors.iter().any(|tensor| tensor.shape.iter().product::<usize>() >= 1 << 28);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
    for tensor in tensors {
        archive.start_file(format!("{}.npy", tensor.name), options)?;
        npy::write(&mut archive, tensor)?;
    }
    archive.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tensor::Data;
    use std::collections::BTreeSet;
    use std::io::Cursor;

    fn tensor(name: &str, value: u8) -> Tensor {
        Tensor { name: name.into(), shape: vec![4], data: Data::U8(vec![value; 4]) }
    }

    fn archive() -> Vec<u8> {
        let mut bytes = Vec::new();
        save(&mut bytes, &[tensor("a", 1), tensor("b", 2), tensor("c", 3)]).unwrap();
        bytes
    }

    fn read(bytes: &[u8], wanted: Wanted<'_>) -> Result<Held, ContentError> {
        load(Cursor::new(bytes), wanted, &mut Budget::of(1 << 20))
    }

    /// Every place of `bytes` in the archive.
    fn places(archive: &[u8], bytes: &[u8]) -> Vec<usize> {
        (0..archive.len() - bytes.len()).filter(|&at| archive[at..].starts_with(bytes)).collect()
    }

    #[test]
    fn only_what_is_asked_for_is_read() {
        let mut bytes = archive();
        // The magic number of the first array is spoiled, and its checksum with it.
        let at = places(&bytes, b"\x93NUMPY")[0];
        bytes[at] = 0;
        let names = BTreeSet::from(["b"]);
        let (tensors, held) = read(&bytes, Wanted::Named(&names)).unwrap();
        assert_eq!((tensors, held), (vec![tensor("b", 2)], ["a", "b", "c"].map(String::from).to_vec()));
        assert!(read(&bytes, Wanted::All).is_err());
    }

    #[test]
    fn entries_that_share_their_bytes_are_refused() {
        let mut bytes = archive();
        // Where each entry begins, in the directory: all begin where the first does.
        for at in places(&bytes, b"PK\x01\x02") {
            bytes[at + 42..at + 46].fill(0);
        }
        let error = read(&bytes, Wanted::All).unwrap_err().to_string();
        assert!(error.contains("overlap"), "{error}");
    }

    #[test]
    fn a_size_that_lies_is_refused() {
        for size in [131u32, 1 << 30] {
            let mut bytes = archive();
            for at in places(&bytes, b"PK\x01\x02") {
                bytes[at + 24..at + 28].copy_from_slice(&size.to_le_bytes());
            }
            let error = read(&bytes, Wanted::All).unwrap_err().to_string();
            assert!(error.contains("are said to hold it"), "{error}");
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_budget() {
        let mut bytes = Vec::new();
        let mut writer = ZipWriter::new(Cursor::new(&mut bytes));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let large = Tensor { name: "a".into(), shape: vec![8 << 20], data: Data::U8(vec![0; 8 << 20]) };
        writer.start_file("a.npy", options).unwrap();
        npy::write(&mut writer, &large).unwrap();
        writer.finish().unwrap();
        assert!(bytes.len() < 20_000, "{}", bytes.len());
        assert!(matches!(read(&bytes, Wanted::All), Err(ContentError::Budget(_))));
    }
}
