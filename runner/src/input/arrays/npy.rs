//! One array in numpy's own format.
//!
//! The npy container (NumPy Enhancement Proposal 1, versions 1.0 to 3.0) is a magic number, a header that is a Python
//! dictionary literal, and the elements. Element types: f16, f32, f64, i64, u8, little-endian and in C order.

use std::io::{self, Read, Write};

use half::f16;
use onnx_file::budget::Budget;

use super::content::ContentError;
use crate::model::tensor::{Data, Tensor};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header that is read; numpy's own limit is 10,000.
const MOST_HEADER: usize = 1 << 20;
/// The bytes of an array and its elements are held side by side for a moment.
const HELD_TWICE: u64 = 2;

/// Reads an array, and nothing after it. `size` is how long what holds it says that it is, header included, where it
/// does.
pub(super) fn read(
    reader: &mut impl Read,
    name: String,
    size: Option<u64>,
    budget: &mut Budget,
) -> Result<Tensor, ContentError> {
    let told = |what: String| ContentError::Malformed(format!("array {name}: {what}"));
    let (header, start) = read_header(reader).map_err(&told)?;
    let bytes = header.bytes().map_err(&told)?;
    if let Some(size) = size.filter(|&size| size != start + bytes) {
        let reason = format!("{size} bytes are said to hold it, where its header calls for {}", start + bytes);
        return Err(told(reason));
    }
    budget.take(&format!("array {name} of shape {:?}", header.shape), bytes.saturating_mul(HELD_TWICE))?;
    let content = read_elements(reader, bytes, &header.shape).map_err(&told)?;
    let data = from_bytes(header.element, &content);
    budget.give_back(bytes);
    Ok(Tensor { name, shape: header.shape, data })
}

/// The header, and where the elements begin.
fn read_header(reader: &mut impl Read) -> Result<(Header, u64), String> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(|_| "shorter than an npy header".to_owned())?;
    if &start[..6] != MAGIC {
        return Err("not in npy format".into());
    }
    let mut length = [0; 4];
    let width = if start[6] == 1 { 2 } else { 4 };
    reader.read_exact(&mut length[..width]).map_err(|error| error.to_string())?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_HEADER {
        return Err(format!("a header of {length} bytes"));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header).map_err(|_| "cut off in the header".to_owned())?;
    let header = parse_header(&String::from_utf8_lossy(&header))?;
    Ok((header, (8 + width + length) as u64))
}

#[derive(Debug, PartialEq)]
struct Header {
    element: Element,
    shape: Vec<usize>,
}

impl Header {
    /// Bytes of the elements.
    fn bytes(&self) -> Result<u64, String> {
        let mut extents = self.shape.iter();
        let bytes = extents.try_fold(self.element.size(), |bytes, &extent| bytes.checked_mul(extent as u64));
        bytes.filter(|&bytes| bytes < 1 << 40).ok_or_else(|| "a shape larger than any memory".to_owned())
    }
}

/// An element type that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    F32,
    F64,
    I64,
    U8,
    I8,
    I32,
    Bool,
}

impl Element {
    fn size(self) -> u64 {
        match self {
            Element::U8 | Element::I8 | Element::Bool => 1,
            Element::F16 => 2,
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    /// By numpy's name of a type, or why it is not read.
    fn parse(descr: &str) -> Result<Element, String> {
        Ok(match descr {
            "<f2" => Element::F16,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            "<i8" => Element::I64,
            "|u1" | "<u1" => Element::U8,
            "|i1" | "<i1" => Element::I8,
            "<i4" => Element::I32,
            "|b1" => Element::Bool,
            _ if descr.starts_with('>') => {
                return Err(format!("big-endian {descr:?}; save array.astype(array.dtype.newbyteorder('<'))"));
            }
            _ if descr.contains('O') => {
                return Err("pickled Python objects, which are never read; save an array of numbers".into());
            }
            _ => {
                return Err(format!(
                    "element type {descr:?}; f2, f4, f8, i8, i4, i1, u1 and b1 can be read, try array.astype('f4')"
                ));
            }
        })
    }
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
    Ok(Header { element: Element::parse(&descr)?, shape })
}

/// Reads exactly so many bytes, and finds that there are no more.
fn read_elements(reader: &mut impl Read, bytes: u64, shape: &[usize]) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let capacity = usize::try_from(bytes).map_err(|_| "a shape larger than any memory".to_owned())?;
    // A file may be shorter than it says; what it says was allowed, and is asked for without aborting.
    content.try_reserve_exact(capacity).map_err(|error| error.to_string())?;
    reader.take(bytes).read_to_end(&mut content).map_err(|error| error.to_string())?;
    let is_longer = reader.read(&mut [0]).map_err(|error| error.to_string())? > 0;
    if is_longer || content.len() as u64 != bytes {
        let than = if is_longer { "more" } else { "fewer" };
        return Err(format!("{than} than the {bytes} bytes that shape {shape:?} needs"));
    }
    Ok(content)
}

/// Little-endian elements.
pub(super) fn from_bytes(element: Element, bytes: &[u8]) -> Data {
    macro_rules! elements {
        ($kind:ty, $size:literal) => {{
            let (chunks, _) = bytes.as_chunks::<$size>();
            chunks.iter().map(|&chunk| <$kind>::from_le_bytes(chunk)).collect()
        }};
    }
    match element {
        Element::F32 => Data::F32(elements!(f32, 4)),
        Element::F64 => Data::F64(elements!(f64, 8)),
        Element::I64 => Data::I64(elements!(i64, 8)),
        Element::F16 => Data::F16(elements!(f16, 2)),
        Element::U8 => Data::U8(bytes.to_vec()),
        Element::I8 => Data::I8(elements!(i8, 1)),
        Element::I32 => Data::I32(elements!(i32, 4)),
        Element::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
    }
}

/// The elements, little-endian.
pub(super) fn to_bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::U8(values) => values.clone(),
        Data::I8(values) => values.iter().map(|&value| value as u8).collect(),
        Data::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::Bool(values) => values.iter().map(|&value| u8::from(value)).collect(),
    }
}

fn descr(data: &Data) -> &'static str {
    match data {
        Data::F32(_) => "<f4",
        Data::F64(_) => "<f8",
        Data::I64(_) => "<i8",
        Data::F16(_) => "<f2",
        Data::U8(_) => "|u1",
        Data::I8(_) => "|i1",
        Data::I32(_) => "<i4",
        Data::Bool(_) => "|b1",
    }
}

/// Writes an array.
pub(super) fn write(writer: &mut impl Write, tensor: &Tensor) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_in_any_order_of_keys() {
        for text in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
            "{'shape': (2,3), 'descr': \"<f4\", 'fortran_order': False}  \n",
        ] {
            assert_eq!(parse_header(text), Ok(Header { element: Element::F32, shape: vec![2, 3] }));
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
    fn what_is_not_read_is_told_by_its_name() {
        for (descr, said) in [
            (">f4", "big-endian"),
            ("|O", "never read"),
            ("<c8", "element type"),
            ("<i2", "element type"),
            ("<U3", "element type"),
        ] {
            let error = Element::parse(descr).unwrap_err();
            assert!(error.contains(said), "{descr}: {error}");
        }
    }

    fn file(descr: &str, shape: &str, elements: usize) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
        [&MAGIC[..], &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &vec![0; elements]].concat()
    }

    #[test]
    fn what_a_header_announces_is_held_against_the_budget_before_it_is_allocated() {
        let read = |bytes: &[u8]| read(&mut &*bytes, "a".into(), None, &mut Budget::of(1 << 20)).unwrap_err();
        assert!(matches!(read(&file("<f8", "1048576, 1024", 8)), ContentError::Budget(_)));
        assert!(matches!(read(&file("<f8", "18446744073709551615, 3", 8)), ContentError::Malformed(_)));
        assert!(read(&file("<f8", "1024", 8)).to_string().contains("fewer"));
        assert!(read(&file("|u1", "4", 5)).to_string().contains("more than the 4 bytes"));
    }

    #[test]
    fn a_size_that_contradicts_the_header_is_refused() {
        let bytes = file("|u1", "4", 4);
        let read = |size| read(&mut &*bytes, "a".into(), Some(size), &mut Budget::of(1 << 20));
        assert!(read(bytes.len() as u64).is_ok());
        for size in [0, bytes.len() as u64 - 1, bytes.len() as u64 + 1, u64::MAX] {
            assert!(read(size).unwrap_err().to_string().contains("are said to hold it"), "{size}");
        }
    }
}
