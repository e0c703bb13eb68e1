//! Arrays as `numpy.savez` writes them: a zip of `.npy` files, uncompressed and without time stamps.

use onnx_file::element::ElementType;
use onnx_file::proto::TensorProto;

/// 1 January 1980, the first day of the format.
const DAY: u16 = 0x21;

/// An archive of `arrays`, by name.
pub(super) fn npz(arrays: &[(String, TensorProto)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, tensor) in arrays {
        let (name, content) = (format!("{name}.npy"), npy(tensor));
        let offset = out.len() as u32;
        let entry = entry(&name, &content);
        out.extend(b"PK\x03\x04");
        out.extend(&entry);
        out.extend(name.as_bytes());
        out.extend(&content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&entry);
        // No comment, the first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (out.len() as u32, arrays.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// What both headers of an entry hold.
fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = (content.len() as u32).to_le_bytes();
    for half in [20, 0, 0, 0, DAY] {
        bytes.extend(u16::to_le_bytes(half));
    }
    bytes.extend(crc32fast::hash(content).to_le_bytes());
    bytes.extend(length);
    bytes.extend(length);
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// One array in numpy's format 1.0.
fn npy(tensor: &TensorProto) -> Vec<u8> {
    let kind = match ElementType::from_proto(tensor.data_type) {
        Some(ElementType::U8) => "|u1",
        Some(ElementType::F16) => "<f2",
        Some(ElementType::F64) => "<f8",
        _ => "<f4",
    };
    let extents: String = tensor.dims.iter().map(|extent| format!("{extent}, ")).collect();
    let shape = if tensor.dims.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Elements begin at a multiple of 64 bytes, behind a newline.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(&tensor.raw_data[..]);
    bytes
}
