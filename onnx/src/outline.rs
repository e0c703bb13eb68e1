//! The outline of a model: all of the file but the data of its tensors.
//!
//! Inputs, outputs, nodes and metadata are a few hundred kilobytes of a file of hundreds of megabytes, so the weights are
//! stepped over instead of read: whoever asks for shapes waits for no disk, and needs no memory.

mod wire;

use std::collections::BTreeSet;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use prost::Message as _;

use crate::cost::{self, CostError};
use crate::kind::{self, Kind, Wanted};
use crate::open;
use crate::proto::{GraphProto, ModelProto, TensorProto, tensor_proto::DataLocation};
use crate::raw;
use crate::read::named_twice;

pub use wire::WireError;

/// Why there is no outline of a file.
#[derive(Debug, thiserror::Error)]
pub enum OutlineError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of another kind.
    #[error("{} is {kind}, not an ONNX model; {}", path.display(), kind.advice(Wanted::Model, path))]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Box<Kind>,
    },
    /// The bytes are no ONNX model.
    #[error("{}: {source}", path.display())]
    Wire {
        /// The file.
        path: PathBuf,
        /// What was found where.
        source: WireError,
    },
    /// Two initializers of one name.
    #[error("{} holds two initializers of the name '{name}', so that nobody can tell which one is meant; export it again", path.display())]
    NamedTwice {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// It would take more memory than a file may.
    #[error("{} is refused: {source}", path.display())]
    Cost {
        /// The file.
        path: PathBuf,
        /// What takes it.
        source: CostError,
    },
    /// The messages do not decode, or there is no graph.
    #[error("{}: {reason}: not an ONNX model", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl OutlineError {
    /// The same of a file that people know by another name.
    #[must_use]
    pub fn called(mut self, name: &Path) -> Self {
        let (Self::Io { path, .. }
        | Self::OtherKind { path, .. }
        | Self::Wire { path, .. }
        | Self::NamedTwice { path, .. }
        | Self::Cost { path, .. }
        | Self::NotOnnx { path, .. }) = &mut self;
        name.clone_into(path);
        self
    }
}

/// A model without the data of its tensors, which have names, types, shapes and the places of external data. Training
/// information is left out.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Size of the file in bytes, external data not counted.
    pub bytes: u64,
    /// The model, with a graph but for it.
    pub model: ModelProto,
    /// Its graph.
    pub graph: GraphProto,
}

impl Outline {
    /// Reads all of the file at `path` but the data of its tensors.
    ///
    /// # Errors
    /// [`OutlineError`] where the file cannot be read or is no ONNX model.
    pub fn read(path: &Path) -> Result<Outline, OutlineError> {
        let io = |source| OutlineError::Io { path: path.to_owned(), source };
        let mut file = open::file(path).map_err(io)?;
        if let Some(kind) = kind::other_than_onnx(&mut file).map_err(io)? {
            return Err(OutlineError::OtherKind { path: path.to_owned(), kind: Box::new(kind) });
        }
        let bytes = file.metadata().map_err(io)?.len();
        Self::of(path, BufReader::with_capacity(64 << 10, file), bytes)
    }

    /// Reads the outline of a model of `bytes` bytes from `reader`; `path` is for messages.
    ///
    /// # Errors
    /// As for [`Outline::read`].
    pub fn of(path: &Path, mut reader: impl io::BufRead + io::Seek, bytes: u64) -> Result<Outline, OutlineError> {
        let not_onnx = |reason: String| OutlineError::NotOnnx { path: path.to_owned(), reason };
        if bytes == 0 {
            return Err(not_onnx("the file is empty".into()));
        }
        let wire = |source| OutlineError::Wire { path: path.to_owned(), source };
        let kept = wire::outline(&mut reader, bytes).map_err(wire)?;
        match cost::check(&kept, bytes) {
            // The decoder says where.
            Ok(_) | Err(CostError::Malformed | CostError::Deep) => {}
            Err(source) => return Err(OutlineError::Cost { path: path.to_owned(), source }),
        }
        let mut model = ModelProto::decode(kept.as_slice()).map_err(|error| not_onnx(error.to_string()))?;
        let graph = model.graph.take().ok_or_else(|| not_onnx("there is no graph".into()))?;
        if let Some(name) = named_twice(&graph) {
            return Err(OutlineError::NamedTwice { path: path.to_owned(), name: name.to_owned() });
        }
        Ok(Outline { bytes, model, graph })
    }

    /// Program that wrote the file, with its version.
    pub fn producer(&self) -> String {
        format!("{} {}", self.model.producer_name, self.model.producer_version).trim().to_owned()
    }

    /// Version of the default operator set, where the file names it.
    pub fn opset(&self) -> Option<i64> {
        let mut sets = self.model.opset_import.iter();
        sets.find(|set| matches!(set.domain.as_str(), "" | "ai.onnx")).map(|set| set.version)
    }
}

/// The initializers of `graph` whose data lies in other files.
pub fn external(graph: &GraphProto) -> impl Iterator<Item = &TensorProto> {
    graph.initializer.iter().filter(|tensor| tensor.data_location == DataLocation::External as i32)
}

/// Names of the files that hold data of `graph`, relative to the model's folder, each once.
pub fn data_files(graph: &GraphProto) -> BTreeSet<&str> {
    let entries = external(graph).flat_map(|tensor| &tensor.external_data);
    entries.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str()).collect()
}

/// Bytes of the data of `graph` that lies in other files, as far as its types and shapes tell.
pub fn external_bytes(graph: &GraphProto) -> u64 {
    external(graph).filter_map(|tensor| raw::len(tensor).ok()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};

    use super::*;
    use crate::proto::{NodeProto, OperatorSetIdProto, StringStringEntryProto};

    fn model(bytes: usize) -> ModelProto {
        let tensor = TensorProto {
            name: "w".into(),
            data_type: 1,
            dims: vec![bytes as i64 / 4],
            raw_data: vec![1; bytes].into(),
            ..Default::default()
        };
        let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
        let apart = TensorProto {
            name: "b".into(),
            raw_data: Default::default(),
            data_location: 1,
            external_data: vec![entry("location", "b.data"), entry("offset", "0")],
            ..tensor.clone()
        };
        ModelProto {
            ir_version: 8,
            producer_name: "somebody".into(),
            opset_import: vec![
                OperatorSetIdProto { domain: "com.microsoft".into(), version: 1 },
                OperatorSetIdProto { domain: String::new(), version: 17 },
            ],
            graph: Some(GraphProto {
                node: vec![NodeProto { op_type: "Relu".into(), ..Default::default() }],
                initializer: vec![tensor, apart],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Counts what is read of what lies beneath.
    struct Counting<R>(R, u64);

    impl<R: Read> Read for Counting<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read as u64;
            Ok(read)
        }
    }

    impl<R: Seek> Seek for Counting<R> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn the_data_of_tensors_is_stepped_over() {
        let encoded = model(8 << 20).encode_to_vec();
        let bytes = encoded.len() as u64;
        let mut reader = BufReader::with_capacity(4096, Counting(Cursor::new(encoded), 0));
        assert!(reader.fill_buf().is_ok_and(|first| !first.is_empty()));
        let outline = Outline::of(Path::new("m.onnx"), &mut reader, bytes).unwrap();
        assert!(reader.get_ref().1 <= 3 * 4096, "{} bytes were read", reader.get_ref().1);
        assert_eq!((outline.bytes, outline.producer().as_str(), outline.opset()), (bytes, "somebody", Some(17)));
        assert_eq!(data_files(&outline.graph), BTreeSet::from(["b.data"]));
        assert_eq!(external_bytes(&outline.graph), 8 << 20);
        let names: Vec<&str> = outline.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        assert!(names == ["w", "b"] && outline.graph.initializer.iter().all(|tensor| tensor.raw_data.is_empty()));
    }

    #[test]
    fn what_is_no_model_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.onnx");
        for (bytes, reason) in
            [(b"".as_slice(), "empty"), (b"\x08\x08", "no graph"), (b"some text, no model", "not an ONNX model")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = Outline::read(&path).unwrap_err().to_string();
            assert!(error.contains("odd.onnx") && error.contains(reason), "{error}");
        }
        let named = |name: &str| TensorProto { name: name.into(), ..Default::default() };
        let graph = GraphProto { initializer: vec![named("a"), named("b"), named("a")], ..Default::default() };
        std::fs::write(&path, ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()).unwrap();
        let error = Outline::read(&path).unwrap_err();
        assert!(matches!(&error, OutlineError::NamedTwice { name, .. } if name == "a"), "{error}");
        for path in [folder.path(), &folder.path().join("none")] {
            assert!(matches!(Outline::read(path), Err(OutlineError::Io { .. })), "{}", path.display());
        }
    }
}
