//! What a protobuf file would cost once it is decoded, counted before it is.
//!
//! Two bytes are enough for an empty message, and decoded it takes a kilobyte: a file may cost hundreds of times its
//! size. So its messages, texts and numbers are counted first, by the schema, stepping over what they contain.

use crate::budget::{self, OverBudget};
use crate::proto::{self, tensor_proto, tensor_shape_proto, type_proto};

/// Most messages in a file. The graph of a ResNeXt-152 has ten thousand.
pub const MOST_MESSAGES: u64 = 1_000_000;
/// Memory that every file may take once decoded, in bytes.
const FREE: u64 = 128 << 20;
/// Further bytes of memory for each byte of the file.
const PER_BYTE: u64 = 64;
/// Deepest nesting: that of the decoder.
const DEEPEST: u32 = 100;
/// A growing list holds up to twice what is in it.
const GROWTH: u64 = 2;

/// Why a file is not decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CostError {
    /// More messages than any network needs.
    #[error(
        "it holds more than {MOST_MESSAGES} nodes, attributes, shapes and other messages; no network needs so many"
    )]
    Messages,
    /// More memory than its size allows.
    #[error(
        "its {bytes} bytes would take more than {allowed} bytes of memory, because of countless tiny or empty parts; no exporter writes such a file"
    )]
    Memory {
        /// Size of the file.
        bytes: u64,
        /// Memory that a file of this size may take.
        allowed: u64,
    },
    /// More than this process may take.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// Bytes that the schema has no place for.
    #[error("it is no protobuf message of ONNX")]
    Malformed,
    /// Messages within messages.
    #[error("its messages are nested more than {DEEPEST} deep")]
    Deep,
}

/// Bytes of memory that decoding `encoded`, a `ModelProto` or what is left of one of `bytes` bytes, takes at most.
///
/// # Errors
/// [`CostError`] where that is more than a file of this size may take, or than this process may.
pub fn check(encoded: &[u8], bytes: u64) -> Result<u64, CostError> {
    let allowed = FREE.saturating_add(bytes.saturating_mul(PER_BYTE));
    let mut count = Count { bytes, allowed, messages: 0, memory: 0 };
    count.message(encoded, &MODEL, 0)?;
    budget::check("the decoded model", count.memory)?;
    Ok(count.memory)
}

struct Count {
    bytes: u64,
    allowed: u64,
    messages: u64,
    memory: u64,
}

impl Count {
    fn message(&mut self, mut rest: &[u8], kind: &Kind, depth: u32) -> Result<(), CostError> {
        self.messages += 1;
        if self.messages > MOST_MESSAGES {
            return Err(CostError::Messages);
        }
        if depth > DEEPEST {
            return Err(CostError::Deep);
        }
        self.take((kind.size as u64) * GROWTH)?;
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let field = u32::try_from(key >> 3).map_err(|_| CostError::Malformed)?;
            match key & 7 {
                0 => drop(varint(&mut rest)?),
                1 => drop(cut(&mut rest, 8)?),
                5 => drop(cut(&mut rest, 4)?),
                2 => {
                    let length = varint(&mut rest)?;
                    let content = cut(&mut rest, length)?;
                    self.delimited(content, kind, field, depth)?;
                    continue;
                }
                // Groups, which no ONNX file has: what they hold would go uncounted.
                _ => return Err(CostError::Malformed),
            }
            if kind.numbers.contains(&field) {
                self.take(8 * GROWTH)?;
            }
        }
        Ok(())
    }

    fn delimited(&mut self, content: &[u8], kind: &Kind, field: u32, depth: u32) -> Result<(), CostError> {
        let length = content.len() as u64;
        if let Some((_, inner)) = kind.messages.iter().find(|(number, _)| *number == field) {
            return self.message(content, inner(), depth + 1);
        }
        if kind.texts.contains(&field) {
            return self.take(size_of::<prost::bytes::Bytes>() as u64 * GROWTH + length);
        }
        // A packed number takes a byte at least, and eight decoded.
        self.take(if kind.numbers.contains(&field) { length.saturating_mul(8 * GROWTH) } else { length })
    }

    fn take(&mut self, bytes: u64) -> Result<(), CostError> {
        self.memory = self.memory.saturating_add(bytes);
        let (bytes, allowed) = (self.bytes, self.allowed);
        if self.memory > allowed { Err(CostError::Memory { bytes, allowed }) } else { Ok(()) }
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, CostError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(CostError::Malformed)?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CostError::Malformed)
}

fn cut<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], CostError> {
    let length = usize::try_from(length).map_err(|_| CostError::Malformed)?;
    let (content, after) = rest.split_at_checked(length).ok_or(CostError::Malformed)?;
    *rest = after;
    Ok(content)
}

/// A message of the schema: what costs memory in it.
struct Kind {
    /// Its name in the schema.
    #[cfg_attr(not(test), allow(dead_code, reason = "the test that holds the table against the schema reads it"))]
    name: &'static str,
    /// Bytes of the decoded struct, without what it points to.
    size: usize,
    /// Fields that are messages.
    messages: &'static [Inner],
    /// Fields that are lists of texts or bytes.
    texts: &'static [u32],
    /// Fields that are lists of numbers.
    numbers: &'static [u32],
}

/// A field that is a message, and that message: asked for by a function, since messages hold each other in circles.
type Inner = (u32, fn() -> &'static Kind);

/// One message of the schema, by field numbers.
macro_rules! kind {
    ($name:ident, $message:literal, $type:ty, { $($field:literal => $inner:ident),* }, [$($text:literal),*], [$($number:literal),*]) => {
        static $name: Kind = Kind {
            name: $message,
            size: size_of::<$type>(),
            messages: &[$(($field, || &$inner)),*],
            texts: &[$($text),*],
            numbers: &[$($number),*],
        };
    };
}

kind!(MODEL, "ModelProto", proto::ModelProto, { 7 => GRAPH, 8 => OPSET, 14 => ENTRY, 20 => TRAINING, 25 => FUNCTION, 26 => DEVICE }, [], []);
kind!(GRAPH, "GraphProto", proto::GraphProto, { 1 => NODE, 5 => TENSOR, 15 => SPARSE, 11 => VALUE, 12 => VALUE, 13 => VALUE, 14 => ANNOTATION, 16 => ENTRY }, [], []);
kind!(NODE, "NodeProto", proto::NodeProto, { 5 => ATTRIBUTE, 9 => ENTRY, 10 => NODE_DEVICE }, [1, 2], []);
kind!(ATTRIBUTE, "AttributeProto", proto::AttributeProto, { 5 => TENSOR, 6 => GRAPH, 22 => SPARSE, 14 => TYPE, 10 => TENSOR, 11 => GRAPH, 23 => SPARSE, 15 => TYPE }, [9], [7, 8]);
kind!(TENSOR, "TensorProto", proto::TensorProto, { 3 => SEGMENT, 13 => ENTRY, 16 => ENTRY }, [6], [1, 4, 5, 7, 10, 11]);
kind!(SEGMENT, "Segment", tensor_proto::Segment, {}, [], []);
kind!(SPARSE, "SparseTensorProto", proto::SparseTensorProto, { 1 => TENSOR, 2 => TENSOR }, [], [3]);
kind!(VALUE, "ValueInfoProto", proto::ValueInfoProto, { 2 => TYPE, 4 => ENTRY }, [], []);
kind!(ENTRY, "StringStringEntryProto", proto::StringStringEntryProto, {}, [], []);
kind!(ANNOTATION, "TensorAnnotation", proto::TensorAnnotation, { 2 => ENTRY }, [], []);
kind!(OPSET, "OperatorSetIdProto", proto::OperatorSetIdProto, {}, [], []);
kind!(TRAINING, "TrainingInfoProto", proto::TrainingInfoProto, { 1 => GRAPH, 2 => GRAPH, 3 => ENTRY, 4 => ENTRY }, [], []);
kind!(FUNCTION, "FunctionProto", proto::FunctionProto, { 11 => ATTRIBUTE, 7 => NODE, 9 => OPSET, 12 => VALUE, 14 => ENTRY }, [4, 5, 6], []);
kind!(DEVICE, "DeviceConfigurationProto", proto::DeviceConfigurationProto, {}, [3], []);
kind!(NODE_DEVICE, "NodeDeviceConfigurationProto", proto::NodeDeviceConfigurationProto, { 2 => SHARDING }, [], []);
kind!(SHARDING, "ShardingSpecProto", proto::ShardingSpecProto, { 3 => INT_LIST, 4 => SHARDED }, [], [2]);
kind!(INT_LIST, "IntIntListEntryProto", proto::IntIntListEntryProto, {}, [], [2]);
kind!(SHARDED, "ShardedDimProto", proto::ShardedDimProto, { 2 => SIMPLE_SHARDED }, [], []);
kind!(SIMPLE_SHARDED, "SimpleShardedDimProto", proto::SimpleShardedDimProto, {}, [], []);
kind!(SHAPE, "TensorShapeProto", proto::TensorShapeProto, { 1 => DIMENSION }, [], []);
kind!(DIMENSION, "Dimension", tensor_shape_proto::Dimension, {}, [], []);
kind!(TYPE, "TypeProto", proto::TypeProto, { 1 => TENSOR_TYPE, 4 => SEQUENCE, 5 => MAP, 9 => OPTIONAL, 8 => SPARSE_TYPE }, [], []);
kind!(TENSOR_TYPE, "Tensor", type_proto::Tensor, { 2 => SHAPE }, [], []);
kind!(SEQUENCE, "Sequence", type_proto::Sequence, { 1 => TYPE }, [], []);
kind!(MAP, "Map", type_proto::Map, { 2 => TYPE }, [], []);
kind!(OPTIONAL, "Optional", type_proto::Optional, { 1 => TYPE }, [], []);
kind!(SPARSE_TYPE, "SparseTensor", type_proto::SparseTensor, { 2 => SHAPE }, [], []);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};
    use prost::Message as _;
    use prost_types::DescriptorProto;
    use prost_types::field_descriptor_proto::{Label, Type};
    use std::collections::BTreeSet;

    /// Every message of the schema, by name and by the last part of it.
    fn schema() -> Vec<DescriptorProto> {
        fn with_inner(message: &DescriptorProto, all: &mut Vec<DescriptorProto>) {
            all.push(message.clone());
            message.nested_type.iter().for_each(|inner| with_inner(inner, all));
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = protox::compile([root.join("onnx.proto")], [root]).expect("onnx.proto compiles");
        let mut all = Vec::new();
        files.file.iter().flat_map(|file| &file.message_type).for_each(|message| with_inner(message, &mut all));
        all
    }

    #[test]
    fn the_table_is_the_schema() {
        let schema = schema();
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![&MODEL]);
        while let Some(kind) = waiting.pop() {
            if !seen.insert(kind.name) {
                continue;
            }
            let message = schema.iter().find(|message| message.name() == kind.name).expect(kind.name);
            for field in &message.field {
                let (number, list) = (field.number() as u32, field.label() == Label::Repeated);
                let inner = kind.messages.iter().find(|(n, _)| *n == number).map(|(_, inner)| inner().name);
                let (text, amount) = (kind.texts.contains(&number), kind.numbers.contains(&number));
                let place = format!("{}.{}", kind.name, field.name());
                match field.r#type() {
                    Type::Message => {
                        assert_eq!(inner, field.type_name().rsplit('.').next(), "{place}");
                        assert!(!text && !amount, "{place}");
                    }
                    Type::String | Type::Bytes => assert_eq!((inner, text, amount), (None, list, false), "{place}"),
                    _ => assert_eq!((inner, text, amount), (None, false, list), "{place}"),
                }
            }
            waiting.extend(kind.messages.iter().map(|(_, inner)| inner()));
        }
        assert_eq!(seen.len(), schema.len(), "{seen:?}");
    }

    fn cost(graph: GraphProto) -> Result<u64, CostError> {
        let encoded = ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec();
        check(&encoded, encoded.len() as u64)
    }

    /// A model whose graph holds `content` `count` times as its field `number`.
    fn repeated(number: u32, content: &[u8], count: usize) -> Vec<u8> {
        let field = |number: u32, content: &[u8]| {
            let mut bytes = Vec::new();
            prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
            prost::encoding::encode_varint(content.len() as u64, &mut bytes);
            bytes.extend(content);
            bytes
        };
        field(7, &field(number, content).repeat(count))
    }

    #[test]
    fn a_mebibyte_of_empty_messages_is_refused_and_of_content_is_not() {
        let check = |encoded: &[u8]| check(encoded, encoded.len() as u64);
        let node = [0x2a, 0].repeat(1 << 19);
        assert!(matches!(check(&repeated(1, &node, 1)), Err(CostError::Memory { .. })), "attributes");
        for (number, name) in [(1, "nodes"), (5, "tensors"), (15, "sparse tensors")] {
            assert!(matches!(check(&repeated(number, &[], 1 << 19)), Err(CostError::Memory { .. })), "{name}");
        }
        // Field 9 of a tensor is its raw data.
        let weights = [&[0x4a, 0x80, 0x80, 0x40][..], &vec![0; 1 << 20]].concat();
        assert!(check(&repeated(5, &weights, 1)).unwrap() < 2 << 20);
    }

    #[test]
    fn a_million_messages_are_the_most() {
        let entry = proto::StringStringEntryProto { key: "k".repeat(20), value: "v".repeat(20) }.encode_to_vec();
        let check = |count: u64| check(&repeated(16, &entry, count as usize), 1 << 30);
        assert!(check(MOST_MESSAGES - 2).is_ok());
        assert_eq!(check(MOST_MESSAGES - 1), Err(CostError::Messages));
    }

    #[test]
    fn numbers_cost_what_they_take_however_they_are_written() {
        let attribute = |ints: Vec<i64>| AttributeProto { ints, ..Default::default() };
        let node = |ints| NodeProto { attribute: vec![attribute(ints)], ..Default::default() };
        let of = |count: usize| cost(GraphProto { node: vec![node(vec![0; count])], ..Default::default() }).unwrap();
        assert!(of(1000) - of(0) >= 8000);
        // The same, packed: field 8 of the attribute, 1000 bytes.
        let mut packed = vec![0x42, 0xe8, 0x07];
        packed.extend([0; 1000]);
        let mut count = Count { bytes: 0, allowed: u64::MAX, messages: 0, memory: 0 };
        count.message(&packed, &ATTRIBUTE, 0).unwrap();
        assert!(count.memory >= 8000);
    }

    #[test]
    fn groups_cuts_and_depth_are_refused() {
        assert_eq!(check(&[0x0b], 1), Err(CostError::Malformed));
        assert_eq!(check(&[0x3a, 5, 0], 3), Err(CostError::Malformed));
        assert_eq!(check(&[0xff; 12], 12), Err(CostError::Malformed));
        let mut inner = GraphProto::default();
        for _ in 0..60 {
            let attribute = AttributeProto { g: Some(inner), ..Default::default() };
            let node = NodeProto { attribute: vec![attribute], ..Default::default() };
            inner = GraphProto { node: vec![node], ..Default::default() };
        }
        assert_eq!(cost(inner), Err(CostError::Deep));
    }
}
