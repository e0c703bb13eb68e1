//! Reads an ONNX file, with limits, and finds its external data.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::proto::{ModelProto, TensorProto, tensor_proto::DataLocation};
use crate::raw::{self, TensorError};
use crate::write::MESSAGE_LIMIT;

/// Why an ONNX file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Longer than a protobuf message can be.
    #[error("{path} has {bytes} bytes, more than the 2,147,483,647 of a protobuf message: it is no ONNX file")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Not protobuf, or cut off.
    #[error("{path} is not an ONNX model, or is cut off: {reason}; export or copy it again")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A tensor's external data cannot be used.
    #[error("{path}: the external data of tensor '{tensor}' {reason}")]
    External {
        /// The model file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A tensor is damaged.
    #[error("{path}: {source}")]
    Tensor {
        /// The model file.
        path: PathBuf,
        /// What is wrong.
        source: TensorError,
    },
}

/// Reads and decodes the file at `path`. External data is not loaded: [`load_external`] does that, a tensor at a time.
///
/// # Errors
/// [`ReadError`]; a file that decodes but holds neither a graph nor an opset is not an ONNX model (an empty file is a
/// valid protobuf message).
pub fn read(path: &Path) -> Result<ModelProto, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > MESSAGE_LIMIT {
        return Err(ReadError::TooLarge { path: path.to_owned(), bytes });
    }
    let mut content = Vec::with_capacity(bytes as usize);
    file.take(MESSAGE_LIMIT).read_to_end(&mut content).map_err(io)?;
    decode(path, content.into())
}

/// Decodes `content`; `path` is for messages.
///
/// # Errors
/// [`ReadError::NotOnnx`].
pub fn decode(path: &Path, content: Bytes) -> Result<ModelProto, ReadError> {
    let not_onnx = |reason: String| ReadError::NotOnnx { path: path.to_owned(), reason };
    let model = ModelProto::decode(content).map_err(|error| not_onnx(error.to_string()))?;
    if model.graph.is_none() {
        return Err(not_onnx("it holds no graph".into()));
    }
    if model.opset_import.is_empty() {
        return Err(not_onnx("it names no opset".into()));
    }
    Ok(model)
}

/// Fills `tensor.raw_data` from the data file it points to, beside the model at `path`; a tensor whose data is in the
/// model is left alone.
///
/// # Errors
/// [`ReadError::External`] for a location that is absolute, climbs out of the model's folder or is a symbolic link,
/// and for a range that the file does not hold; [`ReadError::Io`].
pub fn load_external(path: &Path, tensor: &mut TensorProto) -> Result<(), ReadError> {
    if tensor.data_location != DataLocation::External as i32 {
        return Ok(());
    }
    let external = |reason: String| ReadError::External { path: path.to_owned(), tensor: tensor.name.clone(), reason };
    let expected = raw::len(tensor).map_err(|source| ReadError::Tensor { path: path.to_owned(), source })?;
    let value = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str, default: u64| match value(key) {
        None => Ok(default),
        Some(text) => text.parse::<u64>().map_err(|_| external(format!("has the {key} '{text}', not a number"))),
    };
    let location = value("location").ok_or_else(|| external("has no location; export the model again".into()))?;
    if !Path::new(location).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(external(format!("lies at '{location}', outside the model's folder: refused")));
    }
    let (offset, length) = (number("offset", 0)?, number("length", expected)?);
    if length != expected {
        return Err(external(format!("has {length} bytes where the shape calls for {expected}")));
    }
    let data_path = path.with_file_name("").join(location);
    let io = |source| ReadError::Io { path: data_path.clone(), source };
    if std::fs::symlink_metadata(&data_path).map_err(io)?.file_type().is_symlink() {
        return Err(external(format!("at '{location}' is a symbolic link: refused; put the file itself there")));
    }
    let mut file = File::open(&data_path).map_err(io)?;
    let available = file.metadata().map_err(io)?.len();
    if offset.checked_add(length).is_none_or(|end| end > available) {
        return Err(external(format!(
            "at {offset}, {length} bytes long, reaches beyond the {available} bytes of '{location}'; copy that file again"
        )));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut raw = vec![0; length as usize];
    file.read_exact(&mut raw).map_err(io)?;
    tensor.raw_data = raw.into();
    tensor.external_data.clear();
    tensor.data_location = DataLocation::Default as i32;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;
    use crate::proto::StringStringEntryProto;

    fn external(location: &str, offset: &str) -> TensorProto {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
        TensorProto {
            name: "w".into(),
            dims: vec![2],
            data_type: ElementType::F32.to_proto(),
            data_location: DataLocation::External as i32,
            external_data: vec![entry("location", location), entry("offset", offset)],
            ..Default::default()
        }
    }

    #[test]
    fn external_data_is_read_from_beside_the_model_only() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        std::fs::write(folder.path().join("w.data"), [0u8, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
        let mut good = external("w.data", "4");
        load_external(&model, &mut good).unwrap();
        assert_eq!(crate::tensor::to_f32(&good).unwrap(), [1.0, 2.0]);
        for bad in [external("../w.data", "0"), external("/etc/passwd", "0"), external("w.data", "8")] {
            assert!(matches!(load_external(&model, &mut bad.clone()), Err(ReadError::External { .. })));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), [0u8; 8]).unwrap();
        std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("w.data")).unwrap();
        let result = load_external(&folder.path().join("m.onnx"), &mut external("w.data", "0"));
        assert!(matches!(result, Err(ReadError::External { .. })), "{result:?}");
    }

    #[test]
    fn an_empty_file_and_garbage_are_not_models() {
        for content in [&b""[..], b"<html>", &[0xff; 64]] {
            assert!(matches!(decode(Path::new("x"), Bytes::copy_from_slice(content)), Err(ReadError::NotOnnx { .. })));
        }
    }
}
