//! The protobuf wire format of a model, copied but for the contents of tensors.
//!
//! Every length is checked against what encloses it before anything is allocated.

use std::io::{BufRead, Seek};

/// Most that may remain once the weights are left out, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// Deepest nesting of messages that is followed.
const DEEPEST: usize = 64;

/// Why a file is not a readable ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A field claims more bytes than are left.
    #[error(
        "at byte {offset} a field needs {needed} bytes and {left} are left: the file is truncated or no ONNX model"
    )]
    Truncated {
        /// Where the field's content begins.
        offset: u64,
        /// Its length.
        needed: u64,
        /// Bytes up to the end of what encloses it.
        left: u64,
    },
    /// Bytes that are no protobuf message.
    #[error("at byte {offset} {what}: not an ONNX model")]
    NotProtobuf {
        /// Where.
        offset: u64,
        /// What was found.
        what: &'static str,
    },
    /// More structure than any network needs.
    #[error("the graph without its weights exceeds {} MiB", MOST_BYTES >> 20)]
    TooLarge,
    /// Messages nested beyond any real model.
    #[error("at byte {offset} messages are nested more than {DEEPEST} deep")]
    TooDeep {
        /// Where.
        offset: u64,
    },
}

/// The messages on the way to a tensor, by what their fields hold.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
    Sparse,
    Tensor,
}

/// What to do with a length-delimited field.
#[derive(Clone, Copy)]
enum Content {
    Copy,
    Skip,
    Descend(Message),
}

impl Message {
    /// Field numbers are those of `onnx.proto`.
    fn content(self, field: u64) -> Content {
        match (self, field) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Content::Descend(Message::Graph),
            (Message::Model, 25) => Content::Descend(Message::Function),
            (Message::Graph, 1) | (Message::Function, 7) => Content::Descend(Message::Node),
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) => Content::Descend(Message::Tensor),
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Content::Descend(Message::Sparse),
            (Message::Sparse, 1 | 2) => Content::Descend(Message::Tensor),
            (Message::Node, 5) | (Message::Function, 11) => Content::Descend(Message::Attribute),
            // training_info, which nothing executes.
            (Message::Model, 20) => Content::Skip,
            // Of a tensor: dims, data_type, name, external_data, data_location.
            (Message::Tensor, 1 | 2 | 8 | 13 | 14) => Content::Copy,
            (Message::Tensor, _) => Content::Skip,
            _ => Content::Copy,
        }
    }
}

/// Reads a `ModelProto` of `length` bytes and returns its encoding without the contents of tensors.
///
/// # Errors
/// [`WireError`] where the bytes are no protobuf, a length leads beyond the end, or reading fails.
pub(super) fn outline(reader: &mut (impl BufRead + Seek), length: u64) -> Result<Vec<u8>, WireError> {
    let mut scan = Scan { reader, offset: 0, kept: 0 };
    scan.message(Message::Model, length, 0)
}

struct Scan<'a, R> {
    reader: &'a mut R,
    offset: u64,
    kept: u64,
}

impl<R: BufRead + Seek> Scan<'_, R> {
    fn message(&mut self, message: Message, end: u64, depth: usize) -> Result<Vec<u8>, WireError> {
        if depth > DEEPEST {
            return Err(WireError::TooDeep { offset: self.offset });
        }
        let mut out = Vec::new();
        while self.offset < end {
            let start = self.offset;
            let key = self.varint(end)?;
            let content = message.content(key >> 3);
            if key >> 3 == 0 || key >> 32 != 0 {
                return Err(WireError::NotProtobuf { offset: start, what: "is no field number" });
            }
            match key & 7 {
                0 => {
                    let value = self.varint(end)?;
                    self.keep(18)?;
                    put_varint(&mut out, key);
                    put_varint(&mut out, value);
                }
                wire @ (1 | 5) => {
                    put_varint(&mut out, key);
                    self.copy(if wire == 1 { 8 } else { 4 }, end, &mut out)?;
                }
                2 => self.delimited(key, content, end, depth, &mut out)?,
                _ => {
                    return Err(WireError::NotProtobuf { offset: start, what: "is no field type in use" });
                }
            }
        }
        Ok(out)
    }

    fn delimited(
        &mut self,
        key: u64,
        content: Content,
        end: u64,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let length = self.varint(end)?;
        self.check(length, end)?;
        match content {
            Content::Skip => self.skip(length)?,
            Content::Copy => {
                put_varint(out, key);
                put_varint(out, length);
                self.copy(length, end, out)?;
            }
            Content::Descend(message) => {
                let inner = self.message(message, self.offset + length, depth + 1)?;
                put_varint(out, key);
                put_varint(out, inner.len() as u64);
                out.extend(inner);
            }
        }
        Ok(())
    }

    fn check(&self, needed: u64, end: u64) -> Result<(), WireError> {
        let left = end - self.offset;
        if needed > left { Err(WireError::Truncated { offset: self.offset, needed, left }) } else { Ok(()) }
    }

    fn keep(&mut self, bytes: u64) -> Result<(), WireError> {
        self.kept += bytes;
        if self.kept > MOST_BYTES { Err(WireError::TooLarge) } else { Ok(()) }
    }

    fn varint(&mut self, end: u64) -> Result<u64, WireError> {
        let start = self.offset;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            self.check(1, end)?;
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.offset += 1;
            value |= u64::from(byte[0] & 0x7F).checked_shl(shift).unwrap_or(0);
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::NotProtobuf { offset: start, what: "is no variable-length number" })
    }

    fn copy(&mut self, length: u64, end: u64, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.check(length, end)?;
        self.keep(length)?;
        let start = out.len();
        out.resize(start + length as usize, 0);
        self.reader.read_exact(&mut out[start..])?;
        self.offset += length;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), WireError> {
        let mut left = length;
        while left > 0 {
            let step = left.min(i64::MAX as u64);
            self.reader.seek_relative(step as i64)?;
            left -= step;
        }
        self.offset += length;
        Ok(())
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
    use prost::Message as _;

    use super::*;

    fn tensor(name: &str, bytes: usize) -> TensorProto {
        TensorProto {
            dims: vec![bytes as i64],
            data_type: 2,
            name: name.into(),
            raw_data: vec![7; bytes].into(),
            ..Default::default()
        }
    }

    fn model() -> ModelProto {
        let constant = AttributeProto { name: "value".into(), t: Some(tensor("inside", 300)), ..Default::default() };
        ModelProto {
            ir_version: 8,
            producer_name: "somebody".into(),
            graph: Some(GraphProto {
                name: "g".into(),
                node: vec![NodeProto {
                    op_type: "Constant".into(),
                    output: vec!["c".into()],
                    attribute: vec![constant],
                    ..Default::default()
                }],
                initializer: vec![tensor("weight", 100_000)],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn scan(bytes: &[u8]) -> Result<Vec<u8>, WireError> {
        outline(&mut Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn everything_but_the_contents_of_tensors_is_kept() {
        let mut expected = model();
        let found = scan(&expected.encode_to_vec()).unwrap();
        assert!(found.len() < 200, "{} bytes", found.len());
        let graph = expected.graph.as_mut().unwrap();
        graph.initializer[0].raw_data.clear();
        graph.node[0].attribute[0].t.as_mut().unwrap().raw_data.clear();
        assert_eq!(ModelProto::decode(found.as_slice()).unwrap(), expected);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_or_a_shorter_model_but_never_a_panic() {
        let whole = model().encode_to_vec();
        let mut refused = 0;
        for length in (0..600).chain((600..whole.len()).step_by(997)) {
            match scan(&whole[..length]) {
                Err(WireError::Truncated { .. }) => refused += 1,
                Err(other) => panic!("at {length}: {other}"),
                Ok(kept) => assert!(ModelProto::decode(kept.as_slice()).unwrap().graph.is_none(), "at {length}"),
            }
        }
        assert!(refused > 600);
    }

    #[test]
    fn text_and_images_are_refused() {
        for bytes in
            [b"Hello, this is no model\n".as_slice(), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04\x14\0\0\0"]
        {
            assert!(scan(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_allocates_nothing() {
        let error = scan(&[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]).unwrap_err();
        assert!(matches!(error, WireError::Truncated { left: 0, .. }), "{error}");
        assert!(scan(&[0xFF; 20]).is_err(), "a number without an end");
    }

    #[test]
    fn graphs_within_graphs_end() {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            // graph { node { attribute { g { ..., from the inside out
            for key in [0x32u64, 0x2A, 0x0A] {
                let mut outer = Vec::new();
                put_varint(&mut outer, key);
                put_varint(&mut outer, bytes.len() as u64);
                outer.extend(&bytes);
                bytes = outer;
            }
        }
        let mut model = vec![0x3A];
        put_varint(&mut model, bytes.len() as u64);
        model.extend(bytes);
        assert!(matches!(scan(&model), Err(WireError::TooDeep { .. })));
    }
}
