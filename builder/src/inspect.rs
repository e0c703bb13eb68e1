//! What a checkpoint or an ONNX file holds.

mod describe;
mod model;
mod result;
mod structure;

use std::collections::BTreeMap;
use std::path::Path;

use onnx_file::digest;
use onnx_file::kind::{self, Kind};
use onnx_file::open;

use crate::checkpoint::{Checkpoint, Choice, Undecided};
use crate::published;
use crate::sidecar::Sidecar;
use crate::weights::identified;

pub use result::{
    Architecture, Content, Declared, Extent, Inferred, InspectError, Inspection, Onnx, SCHEMA_VERSION, Stage, Tensor,
    Unknown, Weights,
};

use describe::describe;
use result::elements;

/// Looks into the file at `path`, recognised by content. The weights of a model are not read.
///
/// # Errors
/// [`InspectError`].
pub fn inspect(path: &Path, choice: &Choice) -> Result<Inspection, InspectError> {
    let io = |source| InspectError::Io { path: path.display().to_string(), source };
    let onnx_bytes = if path.is_dir() {
        // A hub's folder of weights.
        None
    } else {
        let mut file = open::file(path).map_err(io)?;
        let is_onnx = kind::of_file(&mut file).map_err(io)? == Kind::Onnx;
        if is_onnx { Some(file.metadata().map_err(io)?.len()) } else { None }
    };
    let (content, tensors, architecture, bytes, sha256) = if let Some(bytes) = onnx_bytes {
        let (content, tensors, architecture) = model::inspect(path)?;
        (content, tensors, architecture, bytes, None)
    } else {
        let checkpoint = Checkpoint::open_with(path, choice)?;
        let sha256 = digest::hex(&checkpoint.sha256()?);
        let (content, tensors) = contents(&checkpoint);
        (content, tensors, architecture(&checkpoint, path), checkpoint.file_len(), Some(sha256))
    };
    let mut element_types = BTreeMap::new();
    for tensor in &tensors {
        *element_types.entry(tensor.element_type.clone()).or_insert(0) += 1;
    }
    let elements = elements(tensors.iter().filter(|tensor| tensor.is_float));
    Ok(Inspection {
        schema_version: SCHEMA_VERSION,
        file: path.display().to_string(),
        bytes,
        known: sha256.as_deref().and_then(published::by_sha256),
        sha256,
        content,
        tensors: tensors.len(),
        tensor_list: Some(tensors),
        element_types,
        elements,
        architecture,
    })
}

fn architecture(checkpoint: &Checkpoint, path: &Path) -> Architecture {
    // As for a build: a file beside the weights may say what no tensor shows.
    match Sidecar::beside(path) {
        Ok(Sidecar { otherwise: Some((otherwise, file)), .. }) => {
            return Architecture::Unknown(Unknown::Otherwise { file, otherwise });
        }
        Err(error) => return Architecture::Unknown(Unknown::Beside { reason: error.to_string() }),
        Ok(_) => {}
    }
    if let (Some(Undecided::Prefixes { .. }), Err(error)) = (checkpoint.undecided(), checkpoint.decided()) {
        return Architecture::Unknown(Unknown::Undecided { reason: error.fault.to_string() });
    }
    match identified(checkpoint) {
        Ok(found) => describe(&found, None, Vec::new()),
        Err(other) => Architecture::Unknown(Unknown::Checkpoint(other)),
    }
}

fn contents(checkpoint: &Checkpoint) -> (Content, Vec<Tensor>) {
    let tensors = checkpoint.tensors().iter().map(|info| Tensor {
        name: info.name.clone(),
        shape: info.shape.clone(),
        element_type: info.dtype.to_string(),
        is_float: info.dtype.is_float(),
    });
    let tensors = tensors.collect();
    let content = Weights {
        container: checkpoint.format().to_string(),
        nested_under: checkpoint.nested_under().map(str::to_string),
        prefix: checkpoint.stripped_prefix().map(str::to_string),
        naming: checkpoint.naming(),
        others: checkpoint.alternatives().to_vec(),
        classifier: checkpoint.head().map(|head| head.layers.clone()).unwrap_or_default(),
        undecided: checkpoint.undecided().cloned(),
        left_out: checkpoint.left_out().to_vec(),
        skipped: checkpoint.skipped().iter().map(ToString::to_string).collect(),
    };
    (Content::Checkpoint(Box::new(content)), tensors)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::{Duration, Instant};

    use onnx_file::element::ElementType;
    use onnx_file::proto::{ModelProto, OperatorSetIdProto, TensorProto};
    use prost::Message as _;
    use prost::encoding::{WireType, encode_key, encode_varint};

    use super::*;

    /// A field of `length` bytes, of which `content` is the beginning.
    fn field(tag: u32, content: &[u8], length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut bytes);
        encode_varint(length, &mut bytes);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn the_weights_of_a_model_are_not_read() {
        // 64 GiB of zeros that take no place on the disk: reading them would take a minute.
        let zeros: u64 = 64 << 30;
        let tensor = TensorProto {
            name: "fc.weight".into(),
            data_type: ElementType::F32.to_proto(),
            dims: vec![1 << 17, 1 << 17],
            ..TensorProto::default()
        };
        let tensor = [tensor.encode_to_vec(), field(9, &[], zeros)].concat();
        let initializer = field(5, &tensor, tensor.len() as u64 + zeros);
        let graph = field(7, &initializer, initializer.len() as u64 + zeros);
        let opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
        let model = ModelProto { ir_version: 8, opset_import, ..ModelProto::default() }.encode_to_vec();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&[model, graph].concat()).unwrap();
        let length = file.metadata().unwrap().len() + zeros;
        file.set_len(length).unwrap();
        let start = Instant::now();
        let found = inspect(&path, &Choice::default()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        assert_eq!((found.bytes, found.tensors, found.elements, found.sha256), (length, 1, 1 << 34, None));
    }

    #[test]
    fn the_digest_of_a_model_is_told_where_it_is_asked_for() {
        let opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
        let graph = Some(onnx_file::proto::GraphProto { name: "g".into(), ..Default::default() });
        let model = ModelProto { ir_version: 8, opset_import, graph, ..ModelProto::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let found = inspect(&path, &Choice::default()).unwrap();
        assert_eq!(found.sha256, None);
        assert_eq!(found.with_sha256(&path).unwrap().sha256, Some(digest::file(&path).unwrap()));
        std::fs::write(&path, ModelProto { opset_import: vec![], ..model }.encode_to_vec()).unwrap();
        assert!(inspect(&path, &Choice::default()).unwrap_err().to_string().contains("no opset"));
    }
}
