//! Fuzzing the readers of arrays that `--load-inputs` names. No file may panic, take a minute or a gigabyte, or yield an array
//! with another number of elements than its extents say.

mod common {
    pub(crate) mod fuzzing;
    #[allow(dead_code, reason = "the tests of the checkpoint reader use the rest")]
    pub(crate) mod memory;
}

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use common::fuzzing;
use resnext_runner::input::arrays::{load, load_named};
use resnext_runner::model::tensor::Tensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Numbers at the edges, parts of zip's directories, and of numpy's headers.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
    b"PK\x07\x08",
    b"\x01\0\x10\0",
    b"\x08\0",
    b"\x93NUMPY\x01\0",
    b"\x93NUMPY\x02\0",
    b"\x93NUMPY\x03\0",
    b"'descr': '<f4'",
    b"'descr': '>f8'",
    b"'descr': '|O'",
    b"'<f2'",
    b"'|u1'",
    b"'<i8'",
    b"'fortran_order': True",
    b"'fortran_order': False",
    b"'shape': ()",
    b"'shape': (0,)",
    b"'shape': (4294967296, 4294967296)",
    b"(-1,)",
    b"(2, 3,)",
    b"1e3",
    b", }",
    b"../a.npy",
    b"a.npy",
];

/// numpy's own files.
fn archives() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/arrays");
    ["stored.npz", "compressed.npz"].iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
}

/// The arrays in them, each as its own file.
fn arrays() -> Vec<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(archives().remove(0))).unwrap();
    let count = archive.len();
    let read = |index| {
        let mut bytes = Vec::new();
        archive.by_index(index).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    (0..count).map(read).collect()
}

fn check(tensors: &[Tensor]) {
    for Tensor { name, shape, data } in tensors {
        let elements = data.to_f64().len();
        assert_eq!(elements, shape.iter().product::<usize>(), "{name} {shape:?}");
    }
}

/// Fuzzes what is read of the file that `build` makes of an input.
fn fuzz(target: &str, name: &str, corpus: Vec<Vec<u8>>, build: impl Fn(&[u8]) -> Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    fuzzing::run(target, corpus, PIECES, build, |file| {
        std::fs::write(&path, file).unwrap();
        let wanted = BTreeSet::from(["f32", "u8"]);
        if let Ok(named) = load_named(&path, &wanted) {
            check(&named);
            assert!(named.len() == 1 || named.iter().all(|tensor| wanted.contains(tensor.name.as_str())));
        }
        let tensors = load(&path).map_err(|error| error.to_string()).ok()?;
        check(&tensors);
        Some(())
    });
}

#[test]
fn the_reader_of_npz_archives() {
    fuzz("npz", "fuzzed.npz", archives(), <[u8]>::to_vec);
}

/// A checksum covers an array in an archive, so that few changes reach its reader: here it is made after them.
#[test]
fn the_reader_of_arrays_in_npz_archives() {
    fuzz("npz-arrays", "fuzzed.npz", arrays(), |array| {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, method) in [("f32.npy", CompressionMethod::Stored), ("u8.npy", CompressionMethod::Deflated)] {
            archive.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
            archive.write_all(array).unwrap();
        }
        archive.finish().unwrap().into_inner()
    });
}

#[test]
fn the_reader_of_npy_files() {
    fuzz("npy", "fuzzed.npy", arrays(), <[u8]>::to_vec);
}
