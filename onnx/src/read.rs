//! Reads an ONNX file, with limits, and finds its external data.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::beside;
use crate::budget::{self, Budget, OverBudget};
use crate::cost::{self, CostError};
use crate::kind::{self, Kind, Wanted};
use crate::open;
use crate::proto::{GraphProto, ModelProto, TensorProto, tensor_proto::DataLocation};
use crate::raw::{self, TensorError};
use crate::write::MESSAGE_LIMIT;

/// Why an ONNX file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
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
    /// A file of another kind.
    #[error("{path} is {kind}, not an ONNX model; {}", kind.advice(Wanted::Model, path))]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Box<Kind>,
    },
    /// Not protobuf, or cut off.
    #[error("{path} is not an ONNX model, or is cut off: {reason}; export or copy it again")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// Two initializers of one name.
    #[error(
        "{path} holds two initializers of the name '{name}', so that nobody can tell which one is meant; export it again"
    )]
    NamedTwice {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// It would take more memory than a file may.
    #[error("{path} is refused: {source}")]
    Cost {
        /// The file.
        path: PathBuf,
        /// What takes it.
        source: CostError,
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
    let mut file = open::file(path).map_err(io)?;
    if let Some(kind) = kind::other_than_onnx(&mut file).map_err(io)? {
        return Err(ReadError::OtherKind { path: path.to_owned(), kind: Box::new(kind) });
    }
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > MESSAGE_LIMIT {
        return Err(ReadError::TooLarge { path: path.to_owned(), bytes });
    }
    let over = |source: OverBudget| ReadError::Cost { path: path.to_owned(), source: source.into() };
    budget::check("the file", bytes).map_err(over)?;
    decode(path, open::read_all(file, MESSAGE_LIMIT).map_err(io)?.into())
}

/// A model with its external data in memory.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The model; its initializers hold their data.
    pub model: ModelProto,
    /// The files that held data, links followed, each once.
    pub data_files: Vec<PathBuf>,
}

/// Reads the file at `path` and the data files that its initializers name, all of them within the memory that this
/// process may take.
///
/// # Errors
/// As for [`read`] and [`load_external`].
pub fn read_whole(path: &Path) -> Result<Whole, ReadError> {
    whole(path, read(path)?)
}

/// Loads the data files that the initializers of `model` name, which was read from `path`.
///
/// # Errors
/// As for [`load_external`].
pub fn whole(path: &Path, mut model: ModelProto) -> Result<Whole, ReadError> {
    let over = |source: OverBudget| ReadError::Cost { path: path.to_owned(), source: source.into() };
    let mut budget = Budget::new();
    budget.take("the model", model.encoded_len() as u64).map_err(over)?;
    let mut data_files = Vec::new();
    for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        if tensor.data_location != DataLocation::External as i32 {
            continue;
        }
        let bytes = raw::len(tensor).map_err(|source| ReadError::Tensor { path: path.to_owned(), source })?;
        budget.take("the model with its external data", bytes).map_err(over)?;
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        if let Some(file) = location.and_then(|entry| beside::resolve(path, &entry.value).ok())
            && !data_files.contains(&file)
        {
            data_files.push(file);
        }
        load_external(path, tensor)?;
    }
    Ok(Whole { model, data_files })
}

/// Decodes `content`; `path` is for messages.
///
/// # Errors
/// [`ReadError::NotOnnx`], and [`ReadError::Cost`] before anything is decoded.
pub fn decode(path: &Path, content: Bytes) -> Result<ModelProto, ReadError> {
    let not_onnx = |reason: String| ReadError::NotOnnx { path: path.to_owned(), reason };
    match cost::check(&content, content.len() as u64) {
        // The decoder says where.
        Ok(_) | Err(CostError::Malformed | CostError::Deep) => {}
        Err(source) => return Err(ReadError::Cost { path: path.to_owned(), source }),
    }
    let model = ModelProto::decode(content).map_err(|error| not_onnx(error.to_string()))?;
    if model.graph.is_none() {
        return Err(not_onnx("it holds no graph".into()));
    }
    if let Some(name) = model.graph.as_ref().and_then(named_twice) {
        return Err(ReadError::NamedTwice { path: path.to_owned(), name: name.to_owned() });
    }
    if model.opset_import.is_empty() {
        return Err(not_onnx("it names no opset".into()));
    }
    Ok(model)
}

/// A name that two initializers of `graph`, dense or sparse, have.
pub fn named_twice(graph: &GraphProto) -> Option<&str> {
    let dense = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()).map(|v| v.name.as_str());
    let mut seen = HashSet::new();
    dense.chain(sparse).find(|name| !seen.insert(*name))
}

/// Fills `tensor.raw_data` from the data file it points to, which the model at `path` must be allowed to name
/// ([`beside::resolve`]); a tensor whose data is in the model is left alone.
///
/// # Errors
/// [`ReadError::External`] for a location that leads out of the model's folder, and for a range that the file does not
/// hold; [`ReadError::Io`]; [`ReadError::Cost`] for more than may be taken of memory.
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
    let (offset, length) = (number("offset", 0)?, number("length", expected)?);
    if length != expected {
        return Err(external(format!("has {length} bytes where the shape calls for {expected}")));
    }
    let mut file = beside::open(path, location).map_err(|error| external(error.to_string()))?;
    let data_path = path.with_file_name("").join(location);
    let io = |source| ReadError::Io { path: data_path.clone(), source };
    let available = file.metadata().map_err(io)?.len();
    if offset.checked_add(length).is_none_or(|end| end > available) {
        return Err(external(format!(
            "at {offset}, {length} bytes long, reaches beyond the {available} bytes of '{location}'; copy that file again"
        )));
    }
    let over = |source: OverBudget| ReadError::Cost { path: path.to_owned(), source: source.into() };
    budget::check(&format!("the external data of tensor '{}'", tensor.name), length).map_err(over)?;
    let length = usize::try_from(length).map_err(|_| external(format!("has {length} bytes, too many to hold")))?;
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut raw = Vec::new();
    raw.try_reserve_exact(length).map_err(|error| io(error.into()))?;
    // As much memory as there is content to fill it: a sparse file costs no disk and all of the memory.
    file.take(length as u64).read_to_end(&mut raw).map_err(io)?;
    if raw.len() != length {
        return Err(io(io::ErrorKind::UnexpectedEof.into()));
    }
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
        std::fs::write(&model, "").unwrap();
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
    fn a_link_that_leads_outside_is_refused_and_one_that_stays_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("models")).unwrap();
        for name in ["models/m.onnx", "models/real", "secret"] {
            std::fs::write(at(name), [0u8; 8]).unwrap();
        }
        std::os::unix::fs::symlink("real", at("models/w.data")).unwrap();
        std::os::unix::fs::symlink("../secret", at("models/outside")).unwrap();
        std::os::unix::fs::symlink("..", at("models/up")).unwrap();
        load_external(&at("models/m.onnx"), &mut external("w.data", "0")).unwrap();
        for location in ["outside", "up/secret"] {
            let result = load_external(&at("models/m.onnx"), &mut external(location, "0"));
            assert!(matches!(result, Err(ReadError::External { .. })), "{location}: {result:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_sparse_terabyte_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        std::fs::write(&model, "").unwrap();
        std::fs::File::create(folder.path().join("w.data")).unwrap().set_len(1 << 40).unwrap();
        let mut tensor = TensorProto { dims: vec![1 << 19, 1 << 19], ..external("w.data", "0") };
        let result = load_external(&model, &mut tensor);
        assert!(matches!(result, Err(ReadError::Cost { .. })), "{result:?}");
    }

    #[test]
    fn a_model_of_empty_messages_is_refused_before_it_is_decoded() {
        // Half a million empty nodes in a graph.
        let nodes = [0x0a, 0].repeat(1 << 19);
        let content = [&[0x3a, 0x80, 0x80, 0x40][..], &nodes].concat();
        assert!(matches!(decode(Path::new("x"), content.into()), Err(ReadError::Cost { .. })));
    }

    #[test]
    fn a_model_has_a_graph_and_an_opset() {
        use crate::proto::{GraphProto, OperatorSetIdProto};
        use prost::Message as _;
        let whole = ModelProto {
            graph: Some(GraphProto::default()),
            opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
            ..Default::default()
        };
        let decoded = |model: &ModelProto| decode(Path::new("x"), model.encode_to_vec().into());
        decoded(&whole).unwrap();
        for (model, reason) in [
            (ModelProto { graph: None, ..whole.clone() }, "it holds no graph"),
            (ModelProto { opset_import: vec![], ..whole }, "it names no opset"),
        ] {
            let error = decoded(&model).unwrap_err();
            assert!(matches!(&error, ReadError::NotOnnx { reason: found, .. } if found == reason), "{error}");
        }
    }

    #[test]
    fn two_initializers_of_one_name_are_refused() {
        let named = |name: &str| TensorProto { name: name.into(), ..Default::default() };
        let model = |names: &[&str]| ModelProto {
            opset_import: vec![crate::proto::OperatorSetIdProto::default()],
            graph: Some(GraphProto { initializer: names.iter().copied().map(named).collect(), ..Default::default() }),
            ..Default::default()
        };
        let decode = |names: &[&str]| decode(Path::new("x"), model(names).encode_to_vec().into());
        decode(&["a", "b"]).unwrap();
        let error = decode(&["a", "b", "a"]).unwrap_err();
        assert!(matches!(&error, ReadError::NamedTwice { name, .. } if name == "a"), "{error}");
    }

    #[test]
    fn an_empty_file_and_garbage_are_not_models() {
        for content in [&b""[..], b"<html>", &[0xff; 64]] {
            assert!(matches!(decode(Path::new("x"), Bytes::copy_from_slice(content)), Err(ReadError::NotOnnx { .. })));
        }
    }
}
