//! Pickle bytes into opcodes. Nothing is interpreted here; every length is checked against the bytes that are left
//! before memory is taken for it. Opcodes: Python's `pickletools`, protocols 0 to 5.

use super::error::{Fault, Place};
use std::io::{self, BufRead, Read};

/// Longest text argument accepted (a module, a class, a decimal number).
const MAX_LINE: u64 = 1024;

/// One opcode with its argument.
#[derive(Debug)]
pub(super) enum Op {
    Proto(u8),
    Frame,
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    None,
    Bool(bool),
    Int(i64),
    /// Two's complement, little-endian, more than 64 bits.
    Long(Vec<u8>),
    Float,
    Str(String),
    /// Empty where nobody asked for their content.
    Bytes(Vec<u8>),
    ByteArray(Vec<u8>),
    EmptySet,
    AddItems,
    FrozenSet,
    EmptyTuple,
    Tuple,
    /// `TUPLE1` to `TUPLE3`.
    TupleOf(usize),
    EmptyList,
    List,
    Append,
    Appends,
    EmptyDict,
    Dict,
    SetItem,
    SetItems,
    Get(u32),
    Put(u32),
    Memoize,
    Global {
        module: String,
        name: String,
    },
    StackGlobal,
    Inst {
        module: String,
        name: String,
    },
    Obj,
    NewObj,
    NewObjEx,
    Reduce,
    Build,
    PersId,
}

/// The bytes of one pickle.
pub(super) struct Source<'a> {
    input: &'a mut dyn BufRead,
    /// What to call it in messages.
    name: &'a str,
    /// Position of the next byte, from the start of the entry or file.
    offset: u64,
    /// Where the bytes end.
    end: u64,
    /// Where the current frame ends.
    frame: Option<u64>,
    /// Whether contents of `bytes` are wanted.
    keep_bytes: bool,
}

impl<'a> Source<'a> {
    /// `input` yields the bytes from `offset` to `end`.
    pub(super) fn new(input: &'a mut dyn BufRead, name: &'a str, offset: u64, end: u64) -> Self {
        Self { input, name, offset, end, frame: None, keep_bytes: false }
    }

    /// As [`Source::new`] from the start of a file, with the contents of `bytes` values.
    pub(super) fn keeping_bytes(input: &'a mut dyn BufRead, name: &'a str, end: u64) -> Self {
        Self { keep_bytes: true, ..Self::new(input, name, 0, end) }
    }

    /// Position of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// `offset` in this pickle.
    pub(super) fn place(&self, offset: u64) -> Place {
        Place { pickle: self.name.to_owned(), offset }
    }

    /// The next opcode. Frames (protocol 4) only tell how far to read ahead, but they must hold whole opcodes: some
    /// unpicklers stop at their ends and others do not.
    pub(super) fn next(&mut self) -> Result<Op, Fault> {
        let start = self.offset;
        let op = self.opcode(start)?;
        if self.frame.is_some_and(|end| self.offset > end || (self.offset < end && matches!(op, Op::Stop))) {
            return Err(self.malformed(start, "an opcode that crosses the end of its frame, or ends the pickle within"));
        }
        self.frame = self.frame.filter(|end| self.offset < *end);
        Ok(op)
    }

    fn opcode(&mut self, start: u64) -> Result<Op, Fault> {
        let [opcode] = self.array()?;
        Ok(match opcode {
            0x80 => Op::Proto(self.array::<1>()?[0]),
            0x95 => {
                let declared = u64::from_le_bytes(self.array()?);
                self.fits(start, declared)?;
                if self.frame.is_some() {
                    return Err(self.malformed(start, "a frame within a frame"));
                }
                self.frame = Some(self.offset + declared);
                Op::Frame
            }
            b'.' => Op::Stop,
            b'(' => Op::Mark,
            b'0' => Op::Pop,
            b'1' => Op::PopMark,
            b'2' => Op::Dup,
            b'N' => Op::None,
            0x88 => Op::Bool(true),
            0x89 => Op::Bool(false),
            b'J' => Op::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Op::Int(self.array::<1>()?[0].into()),
            b'M' => Op::Int(u16::from_le_bytes(self.array()?).into()),
            b'I' => self.text_int(start)?,
            b'L' => self.text_long(start)?,
            0x8a => {
                let length = u64::from(self.array::<1>()?[0]);
                long(self.bytes(start, length)?)
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?).into();
                long(self.bytes(start, length)?)
            }
            b'G' => {
                self.array::<8>()?;
                Op::Float
            }
            0x8c => {
                let length = self.array::<1>()?[0].into();
                self.unicode(start, length)?
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?).into();
                self.unicode(start, length)?
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.unicode(start, length)?
            }
            b'U' => {
                let length = self.array::<1>()?[0].into();
                self.python2_string(start, length)?
            }
            b'T' => {
                let length = u32::from_le_bytes(self.array()?).into();
                self.python2_string(start, length)?
            }
            b'C' => {
                let length = self.array::<1>()?[0].into();
                Op::Bytes(self.content(start, length)?)
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?).into();
                Op::Bytes(self.content(start, length)?)
            }
            0x8e => {
                let length = u64::from_le_bytes(self.array()?);
                Op::Bytes(self.content(start, length)?)
            }
            BYTEARRAY8 => {
                let length = u64::from_le_bytes(self.array()?);
                Op::ByteArray(self.content(start, length)?)
            }
            0x8f => Op::EmptySet,
            0x90 => Op::AddItems,
            0x91 => Op::FrozenSet,
            b')' => Op::EmptyTuple,
            b't' => Op::Tuple,
            0x85..=0x87 => Op::TupleOf(usize::from(opcode - 0x84)),
            b']' => Op::EmptyList,
            b'l' => Op::List,
            b'a' => Op::Append,
            b'e' => Op::Appends,
            b'}' => Op::EmptyDict,
            b'd' => Op::Dict,
            b's' => Op::SetItem,
            b'u' => Op::SetItems,
            b'h' => Op::Get(self.array::<1>()?[0].into()),
            b'j' => Op::Get(u32::from_le_bytes(self.array()?)),
            b'q' => Op::Put(self.array::<1>()?[0].into()),
            b'r' => Op::Put(u32::from_le_bytes(self.array()?)),
            0x94 => Op::Memoize,
            b'c' => Op::Global { module: self.line()?, name: self.line()? },
            b'i' => Op::Inst { module: self.line()?, name: self.line()? },
            0x93 => Op::StackGlobal,
            b'o' => Op::Obj,
            0x81 => Op::NewObj,
            0x92 => Op::NewObjEx,
            b'R' => Op::Reduce,
            b'b' => Op::Build,
            b'Q' => Op::PersId,
            _ => return Err(Fault::Opcode { place: self.place(start), opcode, name: refused_name(opcode) }),
        })
    }

    /// Refuses a `declared` length that reaches beyond the end.
    fn fits(&self, start: u64, declared: u64) -> Result<(), Fault> {
        let left = self.end.saturating_sub(self.offset);
        if declared > left {
            return Err(Fault::PickleLength { place: self.place(start), declared, left });
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        if self.end.saturating_sub(self.offset) < N as u64 {
            return Err(Fault::PickleCut { place: self.place(self.offset) });
        }
        let mut array = [0; N];
        self.input.read_exact(&mut array).map_err(|error| self.io(error))?;
        self.offset += N as u64;
        Ok(array)
    }

    fn bytes(&mut self, start: u64, length: u64) -> Result<Vec<u8>, Fault> {
        self.fits(start, length)?;
        let mut bytes = Vec::new();
        let read = (&mut *self.input).take(length).read_to_end(&mut bytes).map_err(|error| self.io(error))?;
        self.offset += read as u64;
        if (read as u64) < length {
            return Err(Fault::PickleCut { place: self.place(self.offset) });
        }
        Ok(bytes)
    }

    /// Passes over the contents of a `bytes` value: no tensor depends on one.
    fn content(&mut self, start: u64, length: u64) -> Result<Vec<u8>, Fault> {
        if self.keep_bytes {
            return self.bytes(start, length);
        }
        self.fits(start, length)?;
        let read = io::copy(&mut (&mut *self.input).take(length), &mut io::sink()).map_err(|error| self.io(error))?;
        self.offset += read;
        if read < length {
            return Err(Fault::PickleCut { place: self.place(self.offset) });
        }
        Ok(Vec::new())
    }

    fn unicode(&mut self, start: u64, length: u64) -> Result<Op, Fault> {
        let bytes = self.bytes(start, length)?;
        String::from_utf8(bytes).map(Op::Str).map_err(|_| self.malformed(start, "a string that is not UTF-8"))
    }

    /// Python 2 wrote names as byte strings; what is not UTF-8 is no name.
    fn python2_string(&mut self, start: u64, length: u64) -> Result<Op, Fault> {
        let text = String::from_utf8(self.bytes(start, length)?);
        Ok(text.map_or_else(|error| Op::Bytes(error.into_bytes()), Op::Str))
    }

    /// A text argument, without its line feed.
    fn line(&mut self) -> Result<String, Fault> {
        let start = self.offset;
        let limit = MAX_LINE.min(self.end.saturating_sub(start));
        let mut line = Vec::new();
        (&mut *self.input).take(limit).read_until(b'\n', &mut line).map_err(|error| self.io(error))?;
        self.offset += line.len() as u64;
        if line.pop() != Some(b'\n') {
            return Err(if limit < MAX_LINE {
                Fault::PickleCut { place: self.place(self.offset) }
            } else {
                self.malformed(start, "a text argument without an end")
            });
        }
        String::from_utf8(line).map_err(|_| self.malformed(start, "a text argument that is not UTF-8"))
    }

    /// `INT`: protocols 0 and 1 write booleans as `00` and `01`.
    fn text_int(&mut self, start: u64) -> Result<Op, Fault> {
        let text = self.line()?;
        match text.as_str() {
            "00" => Ok(Op::Bool(false)),
            "01" => Ok(Op::Bool(true)),
            _ => self.decimal(start, &text),
        }
    }

    fn text_long(&mut self, start: u64) -> Result<Op, Fault> {
        let text = self.line()?;
        self.decimal(start, text.strip_suffix('L').unwrap_or(&text))
    }

    fn decimal(&self, start: u64, text: &str) -> Result<Op, Fault> {
        text.parse::<i128>()
            .map(|value| long(value.to_le_bytes().to_vec()))
            .map_err(|_| self.malformed(start, "a number that is not decimal, or beyond 128 bits"))
    }

    fn malformed(&self, start: u64, what: &str) -> Fault {
        Fault::Malformed { place: self.place(start), what: what.to_owned() }
    }

    fn io(&self, error: io::Error) -> Fault {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Fault::PickleCut { place: self.place(self.offset) };
        }
        Fault::Io { action: "read it", error }
    }
}

/// A two's complement little-endian integer, as an [`Op::Int`] where 64 bits hold it.
fn long(mut bytes: Vec<u8>) -> Op {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    // Bytes that only repeat the sign say nothing, so that equal numbers end as equal bytes.
    while let [.., before, last] = bytes[..]
        && last == fill
        && (before & 0x80) == (fill & 0x80)
    {
        bytes.pop();
    }
    if bytes.len() > 8 {
        return Op::Long(bytes);
    }
    let mut value = [fill; 8];
    value[..bytes.len()].copy_from_slice(&bytes);
    Op::Int(i64::from_le_bytes(value))
}

/// The opcode of `bytearray`.
pub(super) const BYTEARRAY8: u8 = 0x96;

/// The name of an opcode that is refused: extension codes, buffers outside the pickle, the text forms that only protocol
/// 0 writes, which torch cannot use, and byte arrays where they are no argument.
pub(super) fn refused_name(opcode: u8) -> &'static str {
    match opcode {
        b'S' => "STRING",
        b'F' => "FLOAT",
        b'V' => "UNICODE",
        b'P' => "PERSID",
        b'g' => "GET",
        b'p' => "PUT",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        BYTEARRAY8 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => "unknown",
    }
}
