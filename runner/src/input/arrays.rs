//! Named arrays in files: `.npz`, `.npy` and `.safetensors`, read and written.
//!
//! Somebody else may have made the file: what an array takes is known from its header and checked against the memory that
//! this process may take before anything is allocated, and of a file only what is asked for is read.

mod content;
mod npy;
mod npz;
mod safe;

use std::collections::BTreeSet;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use onnx_file::atomic::AtomicFile;
use onnx_file::budget::{Budget, OverBudget};
use onnx_file::open;

use self::content::{ContentError, Held, Wanted};
use crate::model::tensor::Tensor;

/// Why arrays cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file name says no format.
    #[error("{}: arrays are kept in .npz, .npy or .safetensors files", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// An array that is needed is not there.
    #[error("{} holds no array {wanted}; it holds {held}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The array needed.
        wanted: String,
        /// The arrays that are there.
        held: String,
    },
    /// More than this process may take of memory.
    #[error("{}: {source}", path.display())]
    Budget {
        /// The file.
        path: PathBuf,
        /// What takes it.
        source: OverBudget,
    },
    /// The contents are not what the format demands.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and with which array.
        reason: String,
    },
}

/// Formats by file name extension.
enum Format {
    Npz,
    Npy,
    SafeTensors,
}

fn format(path: &Path) -> Result<Format, ArrayError> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("npz") => Ok(Format::Npz),
        Some("npy") => Ok(Format::Npy),
        Some("safetensors") => Ok(Format::SafeTensors),
        _ => Err(ArrayError::UnknownFormat { path: path.to_owned() }),
    }
}

/// Whether a file of this name can hold arrays.
///
/// # Errors
/// [`ArrayError::UnknownFormat`] where the name says no format.
pub fn check_name(path: &Path) -> Result<(), ArrayError> {
    format(path).map(|_| ())
}

/// Whether a file of this name can hold so many arrays.
///
/// # Errors
/// As for [`check_name`], and [`ArrayError::Malformed`] where its format holds one.
pub fn check(path: &Path, count: usize) -> Result<(), ArrayError> {
    if matches!(format(path)?, Format::Npy) && count != 1 {
        let reason = format!("an .npy file holds one array, not {count}: use .npz");
        return Err(ArrayError::Malformed { path: path.to_owned(), reason });
    }
    Ok(())
}

/// Reads every array of a file. The array of an `.npy` file bears the file's name.
///
/// # Errors
/// [`ArrayError`] where the file cannot be read, is malformed, holds an element type that is not supported, or takes more
/// memory than this process may.
pub fn load(path: &Path) -> Result<Vec<Tensor>, ArrayError> {
    read(path, Wanted::All).map(|(tensors, _)| tensors)
}

/// Reads the arrays of these names, or the only array of a file that holds one; all others are stepped over.
///
/// # Errors
/// As for [`load`], and [`ArrayError::Missing`] where one of the names is not there.
pub fn load_named(path: &Path, names: &BTreeSet<&str>) -> Result<Vec<Tensor>, ArrayError> {
    let (tensors, held) = read(path, Wanted::Named(names))?;
    let missing = names.iter().find(|name| held.len() > 1 && !held.iter().any(|held| held == *name));
    match missing {
        None => Ok(tensors),
        Some(wanted) => {
            Err(ArrayError::Missing { path: path.to_owned(), wanted: (*wanted).to_owned(), held: listed(&held) })
        }
    }
}

/// The first of many names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let more = names.len().saturating_sub(MOST);
    let first = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

fn read(path: &Path, wanted: Wanted<'_>) -> Result<Held, ArrayError> {
    let format = format(path)?;
    let mut budget = Budget::new();
    let file = open::file(path).map_err(|source| ArrayError::Read { path: path.to_owned(), source })?;
    let held = match format {
        Format::Npz => npz::load(BufReader::new(file), wanted, &mut budget),
        Format::Npy => {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let names = vec![name.clone()];
            npy::read(&mut BufReader::new(file), name, None, &mut budget).map(|tensor| (vec![tensor], names))
        }
        Format::SafeTensors => safe::load(file, wanted, &mut budget),
    };
    held.map_err(|error| match error {
        ContentError::Malformed(reason) => ArrayError::Malformed { path: path.to_owned(), reason },
        ContentError::Budget(source) => ArrayError::Budget { path: path.to_owned(), source },
        ContentError::Io(source) => ArrayError::Read { path: path.to_owned(), source },
    })
}

/// Writes arrays to a file, which appears whole or not at all.
///
/// # Errors
/// [`ArrayError`] where the file cannot be written, or an `.npy` file is asked to hold more than one array.
pub fn save(path: &Path, tensors: &[Tensor]) -> Result<(), ArrayError> {
    check(path, tensors.len())?;
    let io = |source| ArrayError::Write { path: path.to_owned(), source };
    write(path, &format(path)?, tensors).map_err(io)
}

fn write(path: &Path, format: &Format, tensors: &[Tensor]) -> io::Result<()> {
    let mut file = BufWriter::new(AtomicFile::create(path)?);
    match format {
        Format::Npz => npz::save(&mut file, tensors)?,
        Format::Npy => tensors.iter().try_for_each(|tensor| npy::write(&mut file, tensor))?,
        Format::SafeTensors => file.write_all(&safe::encode(tensors)?)?,
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.commit()
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::model::tensor::Data;

    fn some_of_each_kind() -> Vec<Tensor> {
        let tensor = |name: &str, shape: &[usize], data| Tensor { name: name.into(), shape: shape.to_vec(), data };
        vec![
            tensor("double", &[1, 2], Data::F64(vec![f64::MIN_POSITIVE, -0.1])),
            tensor("float", &[2, 1, 2], Data::F32(vec![1.5, -2.0, f32::NAN, f32::INFINITY])),
            tensor("half", &[3], Data::F16([0.5, -65504.0, 0.0].map(f16::from_f32).to_vec())),
            tensor("level", &[2, 2], Data::U8(vec![0, 1, 254, 255])),
            tensor("long", &[], Data::I64(vec![i64::MIN])),
            tensor("mask", &[3], Data::Bool(vec![true, false, true])),
            tensor("signed", &[2], Data::I8(vec![i8::MIN, i8::MAX])),
            tensor("whole", &[1, 2], Data::I32(vec![i32::MIN, 7])),
        ]
    }

    #[test]
    fn every_element_type_survives_every_container() {
        let folder = tempfile::tempdir().unwrap();
        let tensors = some_of_each_kind();
        for name in ["a.npz", "a.safetensors"] {
            let path = folder.path().join(name);
            save(&path, &tensors).unwrap();
            assert_eq!(format!("{:?}", load(&path).unwrap()), format!("{tensors:?}"), "{name}");
        }
        for tensor in &tensors {
            let path = folder.path().join(format!("{}.npy", tensor.name));
            save(&path, std::slice::from_ref(tensor)).unwrap();
            assert_eq!(format!("{:?}", load(&path).unwrap()), format!("[{tensor:?}]"));
        }
    }

    #[test]
    fn the_same_arrays_make_the_same_bytes_and_no_remains() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.npz"), folder.path().join("b.npz"));
        save(&first, &some_of_each_kind()).unwrap();
        save(&second, &some_of_each_kind()).unwrap();
        assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        save(&path, &[Tensor { name: "a".into(), shape: vec![4], data: Data::F32(vec![0.0; 4]) }]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(load(&path).unwrap_err().to_string().contains("array a:"), "at {length}");
        }
        std::fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("more than the 16 bytes"));
        for name in ["b.npz", "b.safetensors"] {
            let path = folder.path().join(name);
            std::fs::write(&path, b"neither").unwrap();
            assert!(matches!(load(&path), Err(ArrayError::Malformed { .. })));
        }
    }

    #[test]
    fn an_unknown_extension_and_a_missing_folder_are_told_apart() {
        assert!(matches!(load(Path::new("x.txt")), Err(ArrayError::UnknownFormat { .. })));
        let tensor = Tensor { name: "a".into(), shape: vec![1], data: Data::U8(vec![1]) };
        let folder = tempfile::tempdir().unwrap();
        let error = save(&folder.path().join("no/such/a.npz"), &[tensor]).unwrap_err();
        assert!(matches!(error, ArrayError::Write { .. }));
    }

    #[test]
    fn named_arrays_are_all_there_or_the_only_one_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let tensors = some_of_each_kind();
        for name in ["a.npz", "a.safetensors"] {
            let path = folder.path().join(name);
            save(&path, &tensors).unwrap();
            let found = load_named(&path, &BTreeSet::from(["half", "long"])).unwrap();
            assert_eq!(found.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["half", "long"]);
            let error = load_named(&path, &BTreeSet::from(["half", "x"])).unwrap_err().to_string();
            assert!(error.contains("holds no array x; it holds double, float"), "{error}");
            save(&path, &tensors[..1]).unwrap();
            assert_eq!(load_named(&path, &BTreeSet::from(["x"])).unwrap().len(), 1);
        }
    }
}
