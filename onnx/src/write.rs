//! Writes a model whose weights arrive one tensor at a time.
//!
//! Protobuf puts a message's length before its content, so a naive encoder holds the whole model in memory. Here every
//! length is known beforehand: an initializer's size follows from its shape and type, and the rest is small. The
//! weights are asked for in file order and are never held together.

use std::io::{self, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto, tensor_proto::DataLocation};
use crate::raw::{self, TensorError};

/// The longest protobuf message: readers keep lengths in a signed 32-bit integer.
pub const MESSAGE_LIMIT: u64 = 0x7fff_ffff;

/// External data offsets are multiples of this, so that each tensor can be memory-mapped on every platform.
pub const EXTERNAL_ALIGNMENT: u64 = 65536;

// Field numbers in onnx.proto.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// Why a model could not be written; `E` is the error of whatever supplies the weights.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The disk or pipe refused.
    #[error("cannot write the model")]
    Io(#[from] io::Error),
    /// An initializer's declaration is impossible.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The supplier of the weights failed.
    #[error(transparent)]
    Weights(E),
    /// The supplier returned another number of bytes than declared.
    #[error("the weights of '{name}' came as {found} bytes where its shape calls for {expected}")]
    Length {
        /// Initializer name.
        name: String,
        /// Bytes declared.
        expected: u64,
        /// Bytes supplied.
        found: u64,
    },
    /// One protobuf message cannot hold the model.
    #[error(
        "the model takes {bytes} bytes, more than the 2,147,483,647 a protobuf file can hold; keep its weights in an external data file"
    )]
    TooLarge {
        /// Bytes of the whole model.
        bytes: u64,
    },
}

/// A model split at the places where streamed weights go.
struct Layout {
    before_graph: Vec<u8>,
    graph_head: Vec<u8>,
    initializers: Vec<InitializerLayout>,
    graph_tail: Vec<u8>,
    after_graph: Vec<u8>,
    graph_len: u64,
}

struct InitializerLayout {
    head: Vec<u8>,
    /// Bytes to be streamed; 0 for a tensor that is empty or lies elsewhere.
    raw_len: u64,
    message_len: u64,
}

impl InitializerLayout {
    fn new(tensor: &TensorProto) -> Result<Self, TensorError> {
        let external = tensor.data_location == DataLocation::External as i32;
        let raw_len = if external { 0 } else { raw::len(tensor)? };
        let head = tensor.encode_to_vec();
        let raw_field = if raw_len == 0 { 0 } else { field_len(TENSOR_RAW_DATA, raw_len) };
        let message_len = head.len() as u64 + raw_field;
        Ok(Self { head, raw_len, message_len })
    }
}

/// Bytes of a length-delimited field with its key and length prefix.
fn field_len(tag: u32, content: u64) -> u64 {
    key_len(tag) as u64 + encoded_len_varint(content) as u64 + content
}

fn write_field_head(out: &mut impl Write, tag: u32, content: u64) -> io::Result<()> {
    let mut head = Vec::with_capacity(16);
    encode_key(tag, WireType::LengthDelimited, &mut head);
    encode_varint(content, &mut head);
    out.write_all(&head)
}

impl Layout {
    fn new(model: &ModelProto) -> Result<Self, TensorError> {
        let mut rest = ModelProto { graph: None, ..model.clone_without_graph() };
        let after = ModelProto {
            opset_import: std::mem::take(&mut rest.opset_import),
            metadata_props: std::mem::take(&mut rest.metadata_props),
            training_info: std::mem::take(&mut rest.training_info),
            functions: std::mem::take(&mut rest.functions),
            configuration: std::mem::take(&mut rest.configuration),
            ..Default::default()
        };
        let empty = GraphProto::default();
        let graph = model.graph.as_ref().unwrap_or(&empty);
        let head = GraphProto { node: graph.node.clone(), name: graph.name.clone(), ..Default::default() };
        let tail = GraphProto {
            node: Vec::new(),
            name: String::new(),
            initializer: Vec::new(),
            doc_string: graph.doc_string.clone(),
            input: graph.input.clone(),
            output: graph.output.clone(),
            value_info: graph.value_info.clone(),
            quantization_annotation: graph.quantization_annotation.clone(),
            metadata_props: graph.metadata_props.clone(),
            sparse_initializer: graph.sparse_initializer.clone(),
        };
        let initializers = graph.initializer.iter().map(InitializerLayout::new).collect::<Result<Vec<_>, _>>()?;
        let (graph_head, graph_tail) = (head.encode_to_vec(), tail.encode_to_vec());
        let weights: u64 = initializers.iter().map(|i| field_len(GRAPH_INITIALIZER, i.message_len)).sum();
        let graph_len = graph_head.len() as u64 + weights + graph_tail.len() as u64;
        Ok(Self {
            before_graph: rest.encode_to_vec(),
            graph_head,
            initializers,
            graph_tail,
            after_graph: after.encode_to_vec(),
            graph_len,
        })
    }

    fn total(&self) -> u64 {
        self.before_graph.len() as u64 + field_len(MODEL_GRAPH, self.graph_len) + self.after_graph.len() as u64
    }
}

impl ModelProto {
    fn clone_without_graph(&self) -> Self {
        Self {
            ir_version: self.ir_version,
            opset_import: self.opset_import.clone(),
            producer_name: self.producer_name.clone(),
            producer_version: self.producer_version.clone(),
            domain: self.domain.clone(),
            model_version: self.model_version,
            doc_string: self.doc_string.clone(),
            graph: None,
            metadata_props: self.metadata_props.clone(),
            training_info: self.training_info.clone(),
            functions: self.functions.clone(),
            configuration: self.configuration.clone(),
        }
    }
}

/// Bytes [`write()`] would write, metadata included.
///
/// # Errors
/// [`TensorError`] if an initializer's declaration is impossible.
pub fn encoded_len(model: &ModelProto) -> Result<u64, TensorError> {
    Ok(Layout::new(model)?.total())
}

/// Streams `model` to `out`. Its initializers carry name, type and dimensions but no data; `weights` is asked for each
/// one's little-endian bytes, in order. `metadata` is called after the last weight, so that it may hold a digest
/// computed meanwhile; what it returns follows the model's own `metadata_props`. Returns the number of bytes written.
///
/// # Errors
/// [`WriteError`]; `out` then holds an incomplete model.
pub fn write<E, B: AsRef<[u8]>>(
    model: &ModelProto,
    out: &mut impl Write,
    mut weights: impl FnMut(usize, &TensorProto) -> Result<B, E>,
    metadata: impl FnOnce() -> Result<Vec<StringStringEntryProto>, E>,
) -> Result<u64, WriteError<E>> {
    let layout = Layout::new(model)?;
    if layout.graph_len > MESSAGE_LIMIT {
        return Err(WriteError::TooLarge { bytes: layout.total() });
    }
    out.write_all(&layout.before_graph)?;
    write_field_head(out, MODEL_GRAPH, layout.graph_len)?;
    out.write_all(&layout.graph_head)?;
    let tensors = model.graph.iter().flat_map(|g| &g.initializer);
    for (index, (tensor, initializer)) in tensors.zip(&layout.initializers).enumerate() {
        write_field_head(out, GRAPH_INITIALIZER, initializer.message_len)?;
        out.write_all(&initializer.head)?;
        if initializer.raw_len == 0 {
            continue;
        }
        let data = weights(index, tensor).map_err(WriteError::Weights)?;
        check_length(tensor, initializer.raw_len, data.as_ref())?;
        write_field_head(out, TENSOR_RAW_DATA, initializer.raw_len)?;
        out.write_all(data.as_ref())?;
    }
    out.write_all(&layout.graph_tail)?;
    out.write_all(&layout.after_graph)?;
    let last = ModelProto { metadata_props: metadata().map_err(WriteError::Weights)?, ..Default::default() };
    let last = last.encode_to_vec();
    out.write_all(&last)?;
    let total = layout.total() + last.len() as u64;
    if total > MESSAGE_LIMIT { Err(WriteError::TooLarge { bytes: total }) } else { Ok(total) }
}

/// Gives every initializer of `model` its place in a data file named `location` and returns that file's length.
/// Offsets are multiples of [`EXTERNAL_ALIGNMENT`]. Tensors under 1 KiB stay in the model, as with other
/// exporters, and so do strings and types without a known form as bytes.
///
/// # Errors
/// [`TensorError`] if an initializer's declaration is impossible.
pub fn place_externally(model: &mut ModelProto, location: &str) -> Result<u64, TensorError> {
    let mut offset = 0u64;
    for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        let bytes = match raw::len(tensor) {
            Err(TensorError::Type { .. }) => continue,
            bytes => bytes?,
        };
        if bytes < 1024 {
            continue;
        }
        offset = offset.next_multiple_of(EXTERNAL_ALIGNMENT);
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", offset.to_string()),
            entry("length", bytes.to_string()),
        ];
        tensor.data_location = DataLocation::External as i32;
        offset += bytes;
    }
    Ok(offset)
}

/// Writes the data file that [`place_externally`] laid out: the bytes of the external tensors, zeros between them.
///
/// # Errors
/// [`WriteError`]; `out` then holds an incomplete file.
pub fn write_external<E, B: AsRef<[u8]>>(
    model: &ModelProto,
    out: &mut impl Write,
    mut weights: impl FnMut(usize, &TensorProto) -> Result<B, E>,
) -> Result<u64, WriteError<E>> {
    let mut written = 0u64;
    for (index, tensor) in model.graph.iter().flat_map(|g| &g.initializer).enumerate() {
        if tensor.data_location != DataLocation::External as i32 {
            continue;
        }
        let start = written.next_multiple_of(EXTERNAL_ALIGNMENT);
        io::copy(&mut io::Read::take(io::repeat(0), start - written), out)?;
        let data = weights(index, tensor).map_err(WriteError::Weights)?;
        let bytes = raw::len(tensor)?;
        check_length(tensor, bytes, data.as_ref())?;
        out.write_all(data.as_ref())?;
        written = start + bytes;
    }
    Ok(written)
}

fn check_length<E>(tensor: &TensorProto, expected: u64, data: &[u8]) -> Result<(), WriteError<E>> {
    let found = data.len() as u64;
    if found == expected { Ok(()) } else { Err(WriteError::Length { name: tensor.name.clone(), expected, found }) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::element::ElementType;
    use crate::proto::{NodeProto, OperatorSetIdProto};

    fn declared(name: &str, dims: &[i64]) -> TensorProto {
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: ElementType::F32.to_proto(),
            ..Default::default()
        }
    }

    fn model() -> ModelProto {
        ModelProto {
            ir_version: 8,
            producer_name: "p".into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            graph: Some(GraphProto {
                name: "g".into(),
                node: vec![NodeProto { op_type: "Relu".into(), ..Default::default() }],
                initializer: vec![declared("a", &[300]), declared("b", &[2, 3]), declared("none", &[0])],
                doc_string: "d".into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn bytes(tensor: &TensorProto) -> Vec<u8> {
        let count = tensor.dims.iter().product::<i64>() as usize;
        (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect()
    }

    #[test]
    fn the_stream_equals_the_encoding_of_the_whole_model() {
        let mut streamed = Vec::new();
        let entry = StringStringEntryProto { key: "k".into(), value: "v".into() };
        let written =
            write::<Infallible, _>(&model(), &mut streamed, |_, t| Ok(bytes(t)), || Ok(vec![entry.clone()])).unwrap();
        assert_eq!(written, streamed.len() as u64);
        let mut whole = model();
        whole.metadata_props.push(entry);
        for tensor in &mut whole.graph.as_mut().unwrap().initializer {
            tensor.raw_data = bytes(tensor).into();
        }
        assert_eq!(ModelProto::decode(&streamed[..]).unwrap(), whole);
        assert_eq!(streamed.len(), whole.encoded_len());
    }

    #[test]
    fn a_supplier_that_returns_the_wrong_length_is_an_error() {
        let result = write::<Infallible, _>(&model(), &mut Vec::new(), |_, _| Ok(vec![0u8; 3]), || Ok(vec![]));
        assert!(matches!(result, Err(WriteError::Length { expected: 1200, found: 3, .. })), "{result:?}");
    }

    #[test]
    fn more_than_a_protobuf_message_can_hold_is_refused_before_a_byte_is_written() {
        let mut model = model();
        model.graph.as_mut().unwrap().initializer.push(declared("huge", &[1 << 29]));
        let mut out = Vec::new();
        let result = write::<Infallible, Vec<u8>>(&model, &mut out, |_, t| Ok(bytes(t)), || Ok(vec![]));
        assert!(matches!(result, Err(WriteError::TooLarge { .. })), "{result:?}");
        assert!(out.is_empty());
    }

    #[test]
    fn external_tensors_are_aligned_and_small_ones_stay() {
        let mut model = model();
        model.graph.as_mut().unwrap().initializer.push(declared("c", &[256]));
        place_externally(&mut model, "w.data").unwrap();
        let graph = model.graph.as_ref().unwrap();
        assert_eq!(graph.initializer[0].external_data[1].value, "0");
        assert!(graph.initializer[1].external_data.is_empty());
        assert_eq!(graph.initializer[3].external_data[1].value, EXTERNAL_ALIGNMENT.to_string());
        let mut data = Vec::new();
        write_external::<Infallible, _>(&model, &mut data, |_, t| Ok(bytes(t))).unwrap();
        assert_eq!(data.len() as u64, EXTERNAL_ALIGNMENT + 1024);
        assert_eq!(data[EXTERNAL_ALIGNMENT as usize + 4..][..4], 1f32.to_le_bytes());
    }
}
