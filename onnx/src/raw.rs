//! Any tensor's data as the bytes that `raw_data` and external files hold: little-endian, packed below a byte.
//!
//! A file may instead keep the numbers in a typed field, and which one follows from the data type (the comments of
//! `TensorProto` in `onnx.proto`): float16's bits, for example, lie in `int32_data`, one number an entry.

use prost::bytes::Bytes;

use crate::proto::{TensorProto, tensor_proto::DataType};

/// Why a `TensorProto` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The element type is not one of [`ElementType`](crate::element::ElementType).
    #[error("tensor '{name}' has ONNX data type {data_type}, which is not supported here; re-export it as float")]
    Type {
        /// Tensor name.
        name: String,
        /// The number in the file.
        data_type: i32,
    },
    /// A dimension is negative or the product overflows.
    #[error("tensor '{name}' has the impossible shape {dims:?}; the file is damaged")]
    Shape {
        /// Tensor name.
        name: String,
        /// The dimensions in the file.
        dims: Vec<i64>,
    },
    /// The data is shorter or longer than the shape says.
    #[error("tensor '{name}' of shape {dims:?} needs {expected} bytes and holds {found}; the file is damaged")]
    Length {
        /// Tensor name.
        name: String,
        /// The dimensions in the file.
        dims: Vec<i64>,
        /// Bytes that the shape and type call for.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The data is not in the field that its type is stored in, or in several.
    #[error(
        "tensor '{name}' of ONNX data type {data_type} keeps its data in {found}, where {expected} or raw_data belongs; the file is damaged"
    )]
    Field {
        /// Tensor name.
        name: String,
        /// The number in the file.
        data_type: i32,
        /// The field of its type.
        expected: &'static str,
        /// Fields with data.
        found: String,
    },
    /// A number that its type cannot hold.
    #[error("tensor '{name}' of ONNX data type {data_type} holds {value} at index {index}; the file is damaged")]
    Entry {
        /// Tensor name.
        name: String,
        /// The number in the file.
        data_type: i32,
        /// Index in its field.
        index: usize,
        /// What is there.
        value: String,
    },
    /// The tensor's data lies in another file and was not loaded.
    #[error("the data of tensor '{name}' lies in another file; load it with the model's own folder as base")]
    External {
        /// Tensor name.
        name: String,
    },
}

/// How a data type is stored.
struct Storage {
    /// Bits of one element, both parts of a complex one.
    bits: u64,
    /// The typed field that may hold it.
    field: &'static str,
    /// Least and greatest entry of `int32_data`.
    entries: (i32, i32),
}

impl Storage {
    /// `None` for strings, which have no bytes of a known length, and for unknown types.
    fn of(data_type: i32) -> Option<Self> {
        use DataType as T;
        let new = |bits, field| Some(Self { bits, field, entries: (0, 0) });
        let int32 = |bits, least, greatest| Some(Self { bits, field: "int32_data", entries: (least, greatest) });
        match DataType::try_from(data_type).ok()? {
            T::Undefined | T::String => None,
            T::Float => new(32, "float_data"),
            T::Complex64 => new(64, "float_data"),
            T::Double => new(64, "double_data"),
            T::Complex128 => new(128, "double_data"),
            T::Int64 => new(64, "int64_data"),
            T::Uint64 => new(64, "uint64_data"),
            T::Uint32 => new(32, "uint64_data"),
            T::Int32 => int32(32, i32::MIN, i32::MAX),
            T::Int16 => int32(16, i16::MIN.into(), i16::MAX.into()),
            T::Int8 => int32(8, i8::MIN.into(), i8::MAX.into()),
            T::Bool => int32(8, 0, 1),
            T::Uint16 | T::Float16 | T::Bfloat16 => int32(16, 0, u16::MAX.into()),
            T::Uint8 | T::Float8e4m3fn | T::Float8e4m3fnuz | T::Float8e5m2 | T::Float8e5m2fnuz | T::Float8e8m0 => {
                int32(8, 0, u8::MAX.into())
            }
            // An entry is a byte of several elements, the first in the lowest bits.
            T::Uint4 | T::Int4 | T::Float4e2m1 => int32(4, 0, u8::MAX.into()),
            T::Uint2 | T::Int2 => int32(2, 0, u8::MAX.into()),
        }
    }
}

/// Number of elements that `tensor`'s dimensions call for, checked against overflow.
///
/// # Errors
/// [`TensorError::Shape`].
pub(crate) fn count(tensor: &TensorProto) -> Result<u64, TensorError> {
    let multiply = |product: u64, &dim: &i64| product.checked_mul(u64::try_from(dim).ok()?);
    tensor.dims.iter().try_fold(1, multiply).ok_or_else(|| shape(tensor))
}

fn shape(tensor: &TensorProto) -> TensorError {
    TensorError::Shape { name: tensor.name.clone(), dims: tensor.dims.clone() }
}

fn storage(tensor: &TensorProto) -> Result<(Storage, u64), TensorError> {
    let unknown = || TensorError::Type { name: tensor.name.clone(), data_type: tensor.data_type };
    let storage = Storage::of(tensor.data_type).ok_or_else(unknown)?;
    let bits = count(tensor)?.checked_mul(storage.bits).ok_or_else(|| shape(tensor))?;
    Ok((storage, bits.div_ceil(8)))
}

/// Bytes that the data of `tensor` takes.
///
/// # Errors
/// [`TensorError::Type`] for strings and unknown types; [`TensorError::Shape`].
pub fn len(tensor: &TensorProto) -> Result<u64, TensorError> {
    let (_, bytes) = storage(tensor)?;
    i64::try_from(bytes).map_or_else(|_| Err(shape(tensor)), |_| Ok(bytes))
}

/// The data of `tensor`, whichever field it is in. A tensor whose data lies in another file has none here.
///
/// # Errors
/// As [`len`]; [`TensorError::Field`] for a field that its type is not stored in, [`TensorError::Entry`] for a number
/// beyond its type, [`TensorError::Length`] for more or fewer than its dimensions call for.
pub fn bytes(tensor: &TensorProto) -> Result<Bytes, TensorError> {
    let (storage, expected) = storage(tensor)?;
    let bytes = match field(tensor, &storage)? {
        "raw_data" => tensor.raw_data.clone(),
        "float_data" => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "double_data" => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "int64_data" => tensor.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "uint64_data" if storage.bits == 64 => tensor.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "uint64_data" => {
            check(tensor, &tensor.uint64_data, |v| *v <= u32::MAX.into())?;
            tensor.uint64_data.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect()
        }
        _ => {
            let (least, greatest) = storage.entries;
            check(tensor, &tensor.int32_data, |v| (least..=greatest).contains(v))?;
            let size = storage.bits.div_ceil(8) as usize;
            tensor.int32_data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(size)).collect()
        }
    };
    let found = bytes.len() as u64;
    if found != expected {
        return Err(TensorError::Length { name: tensor.name.clone(), dims: tensor.dims.clone(), expected, found });
    }
    Ok(bytes)
}

/// Takes the data out of `tensor`, which keeps its name, type and dimensions.
pub fn clear(tensor: &mut TensorProto) {
    *tensor = TensorProto {
        dims: std::mem::take(&mut tensor.dims),
        data_type: tensor.data_type,
        name: std::mem::take(&mut tensor.name),
        doc_string: std::mem::take(&mut tensor.doc_string),
        external_data: std::mem::take(&mut tensor.external_data),
        data_location: tensor.data_location,
        metadata_props: std::mem::take(&mut tensor.metadata_props),
        ..Default::default()
    };
}

/// The one field that holds data; that of its type where none does.
fn field(tensor: &TensorProto, storage: &Storage) -> Result<&'static str, TensorError> {
    let fields = [
        ("raw_data", tensor.raw_data.is_empty()),
        ("float_data", tensor.float_data.is_empty()),
        ("int32_data", tensor.int32_data.is_empty()),
        ("string_data", tensor.string_data.is_empty()),
        ("int64_data", tensor.int64_data.is_empty()),
        ("double_data", tensor.double_data.is_empty()),
        ("uint64_data", tensor.uint64_data.is_empty()),
    ];
    let used: Vec<&'static str> = fields.iter().filter(|(_, empty)| !empty).map(|(name, _)| *name).collect();
    match used[..] {
        [] => Ok(storage.field),
        [field] if field == "raw_data" || field == storage.field => Ok(field),
        _ => Err(TensorError::Field {
            name: tensor.name.clone(),
            data_type: tensor.data_type,
            expected: storage.field,
            found: used.join(" and "),
        }),
    }
}

fn check<T: ToString>(tensor: &TensorProto, entries: &[T], fits: impl Fn(&T) -> bool) -> Result<(), TensorError> {
    let Some(index) = entries.iter().position(|entry| !fits(entry)) else { return Ok(()) };
    let (name, value) = (tensor.name.clone(), entries[index].to_string());
    Err(TensorError::Entry { name, data_type: tensor.data_type, index, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: DataType, dims: &[i64]) -> TensorProto {
        TensorProto { name: "t".into(), data_type: data_type as i32, dims: dims.to_vec(), ..Default::default() }
    }

    fn int32(data_type: DataType, dims: &[i64], entries: &[i32]) -> Result<Vec<u8>, TensorError> {
        let tensor = TensorProto { int32_data: entries.to_vec(), ..tensor(data_type, dims) };
        bytes(&tensor).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn every_type_is_stored_as_onnx_proto_says() {
        use DataType as T;
        assert_eq!(int32(T::Int32, &[2], &[-2, 1]).unwrap(), [0xfe, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
        for data_type in [T::Float16, T::Bfloat16, T::Uint16] {
            assert_eq!(int32(data_type, &[2], &[0x3c00, 0xc001]).unwrap(), [0x00, 0x3c, 0x01, 0xc0], "{data_type:?}");
        }
        assert_eq!(int32(T::Int16, &[2], &[-2, 258]).unwrap(), [0xfe, 0xff, 2, 1]);
        assert_eq!(int32(T::Int8, &[2], &[-2, 127]).unwrap(), [0xfe, 0x7f]);
        assert_eq!(int32(T::Bool, &[3], &[1, 0, 1]).unwrap(), [1, 0, 1]);
        let bytes_of = [T::Uint8, T::Float8e4m3fn, T::Float8e4m3fnuz, T::Float8e5m2, T::Float8e5m2fnuz, T::Float8e8m0];
        for data_type in bytes_of {
            assert_eq!(int32(data_type, &[2], &[0, 255]).unwrap(), [0, 255], "{data_type:?}");
        }
        for data_type in [T::Int4, T::Uint4, T::Float4e2m1] {
            assert_eq!(int32(data_type, &[3], &[0xf1, 0x02]).unwrap(), [0xf1, 0x02], "{data_type:?}");
        }
        for data_type in [T::Int2, T::Uint2] {
            assert_eq!(int32(data_type, &[5], &[0xe4, 0x02]).unwrap(), [0xe4, 0x02], "{data_type:?}");
        }
        let floats = TensorProto { float_data: vec![1.0, -2.0], ..tensor(T::Complex64, &[1]) };
        assert_eq!(bytes(&floats).unwrap()[..], [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        let doubles = TensorProto { double_data: vec![1.0, -2.0], ..tensor(T::Complex128, &[1]) };
        assert_eq!(bytes(&doubles).unwrap()[..], [1f64.to_le_bytes(), (-2f64).to_le_bytes()].concat());
        let long = TensorProto { int64_data: vec![-2], ..tensor(T::Int64, &[]) };
        assert_eq!(bytes(&long).unwrap()[..], (-2i64).to_le_bytes());
        let unsigned = |data_type, value| TensorProto { uint64_data: vec![value], ..tensor(data_type, &[1]) };
        assert_eq!(bytes(&unsigned(T::Uint64, u64::MAX)).unwrap()[..], [0xff; 8]);
        assert_eq!(bytes(&unsigned(T::Uint32, 0x0102_0304)).unwrap()[..], [4, 3, 2, 1]);
        assert!(matches!(bytes(&unsigned(T::Uint32, 1 << 32)), Err(TensorError::Entry { .. })));
    }

    #[test]
    fn entries_beyond_their_type_are_refused_by_index() {
        use DataType as T;
        for (data_type, value) in [
            (T::Float16, -1),
            (T::Bfloat16, 0x10000),
            (T::Uint16, -1),
            (T::Int16, 0x8000),
            (T::Int8, 128),
            (T::Uint8, 256),
            (T::Bool, 2),
            (T::Int4, -1),
            (T::Uint2, 256),
            (T::Float8e5m2, 256),
        ] {
            let dims = if matches!(data_type, T::Int4) { [4] } else { [2] };
            let error = int32(data_type, &dims, &[0, value]).unwrap_err();
            assert!(matches!(&error, TensorError::Entry { index: 1, .. }), "{data_type:?}: {error}");
            assert!(error.to_string().contains(&value.to_string()), "{error}");
        }
    }

    #[test]
    fn the_wrong_field_two_fields_and_the_wrong_number_of_entries_are_refused() {
        use DataType as T;
        let wrong = TensorProto { float_data: vec![1.0], ..tensor(T::Float16, &[1]) };
        let error = bytes(&wrong).unwrap_err().to_string();
        assert!(error.contains("'t'") && error.contains("float_data") && error.contains("int32_data"), "{error}");
        let two = TensorProto { int32_data: vec![1], raw_data: vec![1, 0].into(), ..tensor(T::Float16, &[1]) };
        assert!(matches!(bytes(&two), Err(TensorError::Field { .. })));
        for (data_type, dims, entries) in [
            (T::Float16, &[2][..], &[1][..]),
            (T::Int4, &[3], &[1]),
            (T::Int4, &[3], &[1, 2, 3]),
            (T::Uint8, &[1], &[]),
        ] {
            assert!(matches!(int32(data_type, dims, entries), Err(TensorError::Length { .. })), "{data_type:?}");
        }
        assert!(int32(T::Uint8, &[0, 4], &[]).unwrap().is_empty());
    }

    #[test]
    fn strings_and_unknown_types_have_no_bytes_and_impossible_shapes_are_refused() {
        for data_type in [DataType::String as i32, DataType::Undefined as i32, 99, -1] {
            let unknown = TensorProto { data_type, ..Default::default() };
            assert!(matches!(len(&unknown), Err(TensorError::Type { .. })), "{data_type}");
        }
        for dims in [&[-1][..], &[i64::MAX, 3], &[1 << 60], &[1 << 62, 4]] {
            assert!(matches!(len(&tensor(DataType::Complex128, dims)), Err(TensorError::Shape { .. })), "{dims:?}");
        }
        assert_eq!(len(&tensor(DataType::Uint2, &[9])).unwrap(), 3);
    }

    #[test]
    fn a_cleared_tensor_keeps_what_is_not_data() {
        let mut full = TensorProto { int32_data: vec![1], doc_string: "d".into(), ..tensor(DataType::Int8, &[1]) };
        clear(&mut full);
        assert_eq!(full, TensorProto { doc_string: "d".into(), ..tensor(DataType::Int8, &[1]) });
    }
}
