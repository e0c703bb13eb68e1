//! Named arrays in files: `.npz`, `.npy` and `.safetensors`, read and written.
//!
//! The npy container (NumPy Enhancement Proposal 1, versions 1.0 to 3.0) is a magic number, a header that is a Python
//! dictionary literal, and the elements. Element types: f16, f32, f64, i64, u8, little-endian and in C order.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use half::f16;
use onnx_file::atomic::AtomicFile;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::model::tensor::{Data, Tensor};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest npy header that is read; numpy's own limit is 10,000.
const MOST_HEADER: usize = 1 << 20;

/// Why arrays cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file name says no format.
    #[error("{}: arrays are kept in .npz, .npy or .safetensors files", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
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

/// Reads every array of a file. The array of an `.npy` file bears the file's name.
///
/// # Errors
/// [`ArrayError`] where the file cannot be read, is malformed, or holds an element type that is not supported.
pub fn load(path: &Path) -> Result<Vec<Tensor>, ArrayError> {
    let format = format(path)?;
    let io = |source| ArrayError::Read { path: path.to_owned(), source };
    let malformed = |reason| ArrayError::Malformed { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io)?;
    match format {
        Format::Npz => load_npz(file).map_err(malformed),
        Format::Npy => {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(vec![read_npy(&mut BufReader::new(file), name).map_err(malformed)?])
        }
        Format::SafeTensors => load_safetensors(&std::fs::read(path).map_err(io)?).map_err(malformed),
    }
}

/// Writes arrays to a file, which appears whole or not at all.
///
/// # Errors
/// [`ArrayError`] where the file cannot be written, or an `.npy` file is asked to hold more than one array.
pub fn save(path: &Path, tensors: &[Tensor]) -> Result<(), ArrayError> {
    let format = format(path)?;
    let io = |source| ArrayError::Write { path: path.to_owned(), source };
    if matches!(format, Format::Npy) && tensors.len() != 1 {
        let reason = format!("an .npy file holds one array, not {}: use .npz", tensors.len());
        return Err(ArrayError::Malformed { path: path.to_owned(), reason });
    }
    write(path, &format, tensors).map_err(io)
}

fn write(path: &Path, format: &Format, tensors: &[Tensor]) -> std::io::Result<()> {
    let mut file = BufWriter::new(AtomicFile::create(path)?);
    match format {
        Format::Npz => save_npz(&mut file, tensors)?,
        Format::Npy => tensors.iter().try_for_each(|tensor| write_npy(&mut file, tensor))?,
        Format::SafeTensors => file.write_all(&to_safetensors(tensors)?)?,
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.commit()
}

fn load_npz(file: impl Read + Seek) -> Result<Vec<Tensor>, String> {
    let mut archive = ZipArchive::new(file).map_err(|error| format!("not an .npz file: {error}"))?;
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
            let name = entry.name().map_err(|error| error.to_string())?.into_owned();
            let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
            read_npy(&mut entry, name)
        })
        .collect()
}

fn save_npz(file: impl Write, tensors: &[Tensor]) -> std::io::Result<()> {
    let mut archive = ZipWriter::new_stream(file);
    let large = tensors.iter().any(|tensor| tensor.shape.iter().product::<usize>() >= 1 << 28);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
    for tensor in tensors {
        archive.start_file(format!("{}.npy", tensor.name), options)?;
        write_npy(&mut archive, tensor)?;
    }
    archive.finish()?.flush()
}

fn read_npy(reader: &mut impl Read, name: String) -> Result<Tensor, String> {
    let told = |what: String| format!("array {name}: {what}");
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(|_| told("shorter than an npy header".into()))?;
    if &start[..6] != MAGIC {
        return Err(told("not in npy format".into()));
    }
    let mut length = [0; 4];
    let width = if start[6] == 1 { 2 } else { 4 };
    reader.read_exact(&mut length[..width]).map_err(|error| told(error.to_string()))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_HEADER {
        return Err(told(format!("a header of {length} bytes")));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header).map_err(|_| told("cut off in the header".into()))?;
    let header = parse_header(&String::from_utf8_lossy(&header)).map_err(&told)?;
    let data = read_elements(reader, &header).map_err(&told)?;
    Ok(Tensor { name, shape: header.shape, data })
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    shape: Vec<usize>,
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }`, the keys in any order.
fn parse_header(text: &str) -> Result<Header, String> {
    let after = |key: &str| {
        let quoted = [format!("'{key}':"), format!("\"{key}\":")];
        quoted.iter().find_map(|quoted| text.split_once(quoted.as_str())).map(|(_, rest)| rest.trim_start())
    };
    let missing = |key: &str| format!("no {key} in the npy header");
    let descr = after("descr").ok_or_else(|| missing("descr"))?;
    let descr = match descr.chars().next() {
        Some(quote @ ('\'' | '"')) => descr[1..].split(quote).next().unwrap_or_default().to_owned(),
        _ => return Err("a structured array, not one of numbers".into()),
    };
    if !after("fortran_order").ok_or_else(|| missing("fortran_order"))?.starts_with("False") {
        return Err("in Fortran order: save numpy.ascontiguousarray(array)".into());
    }
    let shape = after("shape").ok_or_else(|| missing("shape"))?;
    let shape = shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(|| missing("shape"))?.0;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.parse().map_err(|_| format!("an extent of {extent:?} in the npy header")))
        .collect::<Result<_, _>>()?;
    Ok(Header { descr, shape })
}

/// Reads exactly the elements the header announces, and no byte more.
fn read_elements(reader: &mut impl Read, header: &Header) -> Result<Data, String> {
    let size = match header.descr.as_str() {
        "<f4" => 4,
        "<f8" | "<i8" => 8,
        "<f2" => 2,
        "|u1" | "<u1" => 1,
        other => return Err(format!("element type {other:?}; f2, f4, f8, i8 and u1 (little-endian) can be read")),
    };
    let bytes = header.shape.iter().try_fold(size as u64, |bytes, &extent| bytes.checked_mul(extent as u64));
    let bytes = bytes.filter(|&bytes| bytes < 1 << 40).ok_or("a shape larger than any memory")?;
    let mut content = Vec::new();
    reader.take(bytes + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 != bytes {
        let than = if (content.len() as u64) < bytes { "fewer" } else { "more" };
        return Err(format!("{than} than the {bytes} bytes that shape {:?} needs", header.shape));
    }
    Ok(from_bytes(&header.descr, &content))
}

/// Little-endian elements; `descr` is one of those [`read_elements`] accepts.
fn from_bytes(descr: &str, bytes: &[u8]) -> Data {
    macro_rules! elements {
        ($kind:ty, $size:literal) => {{
            let (chunks, _) = bytes.as_chunks::<$size>();
            chunks.iter().map(|&chunk| <$kind>::from_le_bytes(chunk)).collect()
        }};
    }
    match descr {
        "<f4" => Data::F32(elements!(f32, 4)),
        "<f8" => Data::F64(elements!(f64, 8)),
        "<i8" => Data::I64(elements!(i64, 8)),
        "<f2" => Data::F16(elements!(f16, 2)),
        _ => Data::U8(bytes.to_vec()),
    }
}

fn to_bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::U8(values) => values.clone(),
    }
}

fn descr(data: &Data) -> &'static str {
    match data {
        Data::F32(_) => "<f4",
        Data::F64(_) => "<f8",
        Data::I64(_) => "<i8",
        Data::F16(_) => "<f2",
        Data::U8(_) => "|u1",
    }
}

fn write_npy(writer: &mut impl Write, tensor: &Tensor) -> std::io::Result<()> {
    let extents: String = tensor.shape.iter().map(|extent| format!("{extent}, ")).collect();
    let shape = if tensor.shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", descr(&tensor.data));
    // Padded so that the elements begin at a multiple of 64 bytes; a newline ends it.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    writer.write_all(MAGIC)?;
    writer.write_all(&[1, 0])?;
    // A shape would need thousands of dimensions to exceed 16 bits.
    writer.write_all(&(header.len() as u16).to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    writer.write_all(&to_bytes(&tensor.data))
}

fn load_safetensors(bytes: &[u8]) -> Result<Vec<Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("not a safetensors file: {error}"))?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let descr = match view.dtype() {
            Dtype::F16 => "<f2",
            Dtype::F32 => "<f4",
            Dtype::F64 => "<f8",
            Dtype::I64 => "<i8",
            Dtype::U8 => "|u1",
            other => {
                return Err(format!("array {name}: element type {other:?}; F16, F32, F64, I64 and U8 can be read"));
            }
        };
        tensors.push(Tensor { name, shape: view.shape().to_vec(), data: from_bytes(descr, view.data()) });
    }
    // The library hands them over in no fixed order.
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

fn to_safetensors(tensors: &[Tensor]) -> std::io::Result<Vec<u8>> {
    let contents: Vec<Vec<u8>> = tensors.iter().map(|tensor| to_bytes(&tensor.data)).collect();
    let views = tensors.iter().zip(&contents).map(|(tensor, content)| {
        let dtype = match tensor.data {
            Data::F16(_) => Dtype::F16,
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::I64(_) => Dtype::I64,
            Data::U8(_) => Dtype::U8,
        };
        TensorView::new(dtype, tensor.shape.clone(), content).map(|view| (tensor.name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(std::io::Error::other)?;
    safetensors::serialize(views, None).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_of_each_kind() -> Vec<Tensor> {
        let tensor = |name: &str, shape: &[usize], data| Tensor { name: name.into(), shape: shape.to_vec(), data };
        vec![
            tensor("double", &[1, 2], Data::F64(vec![f64::MIN_POSITIVE, -0.1])),
            tensor("float", &[2, 1, 2], Data::F32(vec![1.5, -2.0, f32::NAN, f32::INFINITY])),
            tensor("half", &[3], Data::F16([0.5, -65504.0, 0.0].map(f16::from_f32).to_vec())),
            tensor("level", &[2, 2], Data::U8(vec![0, 1, 254, 255])),
            tensor("long", &[], Data::I64(vec![i64::MIN])),
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
    fn headers_are_read_in_any_order_of_keys() {
        let expected = Header { descr: "<f4".into(), shape: vec![2, 3] };
        for text in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
            "{'shape': (2,3), 'descr': \"<f4\", 'fortran_order': False}  \n",
        ] {
            assert_eq!(parse_header(text), Ok(Header { descr: expected.descr.clone(), shape: vec![2, 3] }));
        }
        for text in [
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }",
            "{'descr': '<f4', 'fortran_order': False}",
            "",
        ] {
            assert!(parse_header(text).is_err(), "{text}");
        }
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
    fn a_header_that_announces_terabytes_allocates_nothing() {
        let header = Header { descr: "<f8".into(), shape: vec![usize::MAX, 3] };
        assert!(read_elements(&mut [0u8; 8].as_slice(), &header).is_err());
        let header = Header { descr: "<f8".into(), shape: vec![1 << 36] };
        assert!(read_elements(&mut [0u8; 8].as_slice(), &header).unwrap_err().contains("fewer"));
    }

    #[test]
    fn an_unknown_extension_and_a_missing_folder_are_told_apart() {
        assert!(matches!(load(Path::new("x.txt")), Err(ArrayError::UnknownFormat { .. })));
        let tensor = Tensor { name: "a".into(), shape: vec![1], data: Data::U8(vec![1]) };
        let folder = tempfile::tempdir().unwrap();
        let error = save(&folder.path().join("no/such/a.npz"), &[tensor]).unwrap_err();
        assert!(matches!(error, ArrayError::Write { .. }));
    }
}
