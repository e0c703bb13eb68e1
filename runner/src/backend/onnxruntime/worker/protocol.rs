//! What the parent and a worker say to each other: frames over a stream of bytes, one answer to each request.
//!
//! A frame is 4 bytes of magic, the last of which is the version, the length of a JSON header (u32), the length of the
//! elements (u64), the header, and the elements of the tensors the header describes, one tensor after the other. Both
//! ends are one machine, so numbers and elements are in its own byte order.

use std::io::{self, Read, Write};
use std::ops::Range;

use half::f16;
use onnx_file::budget::{self, OverBudget};
use onnx_file::element::ElementType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::onnxruntime::runtime::Description;
use crate::backend::onnxruntime::runtime::find::Library;
use crate::backend::onnxruntime::spec::Spec;
use crate::model::coverage::Coverage;
use crate::model::opened::{Block, Loaded, Memory, ModelError, OutputRange, Part, Ports};
use crate::model::tensor::{Data, Tensor};

/// Version of this protocol; both ends must speak the same.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = [b'R', b'N', b'X', VERSION];
const MAX_HEADER: u32 = 16 << 20;
const MAX_ELEMENT_BYTES: u64 = 8 << 30;

/// What the parent asks for. The tensors of `Run`, `Ranges` and `Time` travel beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Load the library and tell about it.
    Describe { library: Library, verbose: bool },
    /// Load a model; once in a worker's life.
    Load(Box<Spec>),
    /// Run once.
    Run,
    /// Run once and tell the ranges of the outputs.
    Ranges(Part),
    /// Run a block and time it.
    Time(Block),
    /// Tell the memory used so far.
    Memory,
    /// Tell which multiplications run in integers.
    Coverage,
}

/// What the worker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// To `Describe`.
    Description(Description),
    /// To `Load`.
    Loaded(Box<Loaded>, Ports),
    /// To `Run`, with the outputs, and to `Time`, with the seconds as one tensor.
    Tensors,
    /// To `Ranges`.
    Ranges(Vec<OutputRange>),
    /// To `Memory`.
    Memory(Memory),
    /// To `Coverage`.
    Coverage(Option<Coverage>),
    /// Before the answer to `Time`, now and again: the worker is alive and between two runs.
    Working,
    /// To any.
    Failed(ModelError),
}

/// Why bytes were not a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// The stream ended before or in a frame.
    #[error("the stream ended")]
    Ended,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something other than a frame.
    #[error("{0:02x?} instead of a frame")]
    Garbage([u8; 4]),
    /// Another version of this program.
    #[error("it speaks version {0} of the protocol, this program version {VERSION}")]
    Version(u8),
    /// Lengths that cannot be.
    #[error("a frame of impossible size")]
    Size,
    /// A tensor whose shape and elements disagree.
    #[error("`{0}` has another number of elements than its shape says")]
    Shape(String),
    /// A tensor of a type that no tensor is sent in.
    #[error("`{0}` is {1}, which is not sent")]
    Element(String, ElementType),
    /// More elements than this process may hold.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// A header that does not parse.
    #[error("a frame that does not parse: {0}")]
    Header(#[from] serde_json::Error),
}

impl ProtocolError {
    /// What it means where inputs could not be sent.
    pub(crate) fn of_inputs(self) -> ModelError {
        match self {
            ProtocolError::Budget(over) => ModelError::OutOfMemory(format!("the inputs of a run: {over}")),
            other => ModelError::BadInput(format!("the inputs cannot be sent to a worker: {other}")),
        }
    }

    /// What it means where outputs could not be sent.
    pub(crate) fn of_outputs(self) -> ModelError {
        match self {
            ProtocolError::Budget(over) => ModelError::OutOfMemory(format!("the outputs of a run: {over}")),
            other => ModelError::Failed(format!("the outputs cannot be sent: {other}")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header<M> {
    message: M,
    tensors: Vec<Described>,
}

#[derive(Serialize, Deserialize)]
struct Described {
    name: String,
    shape: Vec<usize>,
    element: ElementType,
}

/// A message and its tensors as one frame, in the buffer of an old one. With `rows` only these of every tensor, counted
/// along its first dimension.
pub(crate) fn encode<M: Serialize>(
    message: &M,
    tensors: &[Tensor],
    rows: Option<&Range<usize>>,
    mut frame: Vec<u8>,
) -> Result<Vec<u8>, ProtocolError> {
    let parts = tensors.iter().map(|tensor| part(tensor, rows)).collect::<Result<Vec<_>, _>>()?;
    let elements: u64 = parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let (described, parts): (Vec<Described>, Vec<&[u8]>) = parts.into_iter().unzip();
    let header = serde_json::to_vec(&Header { message, tensors: described })?;
    let header_length = u32::try_from(header.len()).ok().filter(|&length| length <= MAX_HEADER);
    let header_length = header_length.ok_or(ProtocolError::Size)?;
    if elements > MAX_ELEMENT_BYTES {
        return Err(ProtocolError::Size);
    }
    frame.clear();
    reserve(&mut frame, 16 + header.len() + usize::try_from(elements).unwrap_or(usize::MAX))?;
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&header_length.to_ne_bytes());
    frame.extend_from_slice(&elements.to_ne_bytes());
    frame.extend_from_slice(&header);
    parts.iter().for_each(|bytes| frame.extend_from_slice(bytes));
    Ok(frame)
}

/// Makes room for so many elements in all, or says that there is none: running out must not end this process.
fn reserve<T>(buffer: &mut Vec<T>, count: usize) -> Result<(), ProtocolError> {
    let needed = (count as u64).saturating_mul(size_of::<T>() as u64);
    budget::check("a message with tensors", needed)?;
    // What the budget allows and the system does not have after all.
    let refused =
        |_| OverBudget { what: "a message with tensors".into(), needed, left: 0, limit: budget::limit(), set: true };
    buffer.try_reserve_exact(count.saturating_sub(buffer.len())).map_err(refused)?;
    Ok(())
}

/// What is sent of a tensor: its description and its elements.
fn part<'a>(tensor: &'a Tensor, rows: Option<&Range<usize>>) -> Result<(Described, &'a [u8]), ProtocolError> {
    let wrong = || ProtocolError::Shape(tensor.name.clone());
    let (mut described, bytes) = (describe(tensor), bytes(&tensor.data));
    if size(&tensor.shape, described.element) != Some(bytes.len() as u64) {
        return Err(wrong());
    }
    let Some(rows) = rows else { return Ok((described, bytes)) };
    let count = *described.shape.first().filter(|&&count| count > 0).ok_or_else(wrong)?;
    let row = bytes.len() / count;
    let part = bytes.get(rows.start * row..rows.end * row).ok_or_else(wrong)?;
    described.shape[0] = rows.len();
    Ok((described, part))
}

/// Writes a message and its tensors.
pub(crate) fn send<M: Serialize>(
    writer: &mut impl Write,
    message: &M,
    tensors: &[Tensor],
) -> Result<(), ProtocolError> {
    writer.write_all(&encode(message, tensors, None, Vec::new())?)?;
    Ok(writer.flush()?)
}

/// Reads a message and its tensors, in the buffer of old ones.
pub(crate) fn receive<M: DeserializeOwned>(
    reader: &mut impl Read,
    buffer: Vec<Tensor>,
) -> Result<(M, Vec<Tensor>), ProtocolError> {
    let magic: [u8; 4] = exactly(reader)?;
    if magic[..3] != MAGIC[..3] {
        return Err(ProtocolError::Garbage(magic));
    }
    if magic[3] != VERSION {
        return Err(ProtocolError::Version(magic[3]));
    }
    let header_length = u32::from_ne_bytes(exactly(reader)?);
    let elements = u64::from_ne_bytes(exactly(reader)?);
    if header_length > MAX_HEADER || elements > MAX_ELEMENT_BYTES {
        return Err(ProtocolError::Size);
    }
    budget::check("a message with tensors", elements)?;
    let mut header = vec![0; header_length as usize];
    fill(reader, &mut header)?;
    let header: Header<M> = serde_json::from_slice(&header)?;
    let mut left = elements;
    let mut tensors = Vec::with_capacity(header.tensors.len());
    let mut buffer = buffer.into_iter().map(|tensor| tensor.data);
    for described in header.tensors {
        let (tensor, read) = read_tensor(reader, described, left, buffer.next())?;
        left -= read;
        tensors.push(tensor);
    }
    if left == 0 { Ok((header.message, tensors)) } else { Err(ProtocolError::Size) }
}

fn read_tensor(
    reader: &mut impl Read,
    described: Described,
    left: u64,
    buffer: Option<Data>,
) -> Result<(Tensor, u64), ProtocolError> {
    fn elements<T: bytemuck::Pod>(
        reader: &mut impl Read,
        count: usize,
        mut buffer: Vec<T>,
    ) -> Result<Vec<T>, ProtocolError> {
        reserve(&mut buffer, count)?;
        buffer.resize(count, T::zeroed());
        fill(reader, bytemuck::cast_slice_mut(&mut buffer))?;
        Ok(buffer)
    }
    let bytes = size(&described.shape, described.element).filter(|&bytes| bytes <= left);
    let bytes = bytes.ok_or(ProtocolError::Size)?;
    let count = described.shape.iter().product();
    let data = match (described.element, buffer) {
        (ElementType::F32, Some(Data::F32(buffer))) => Data::F32(elements(reader, count, buffer)?),
        (ElementType::F32, _) => Data::F32(elements(reader, count, Vec::new())?),
        (ElementType::F16, Some(Data::F16(buffer))) => Data::F16(elements(reader, count, buffer)?),
        (ElementType::F16, _) => Data::F16(elements::<f16>(reader, count, Vec::new())?),
        (ElementType::F64, _) => Data::F64(elements(reader, count, Vec::new())?),
        (ElementType::I64, _) => Data::I64(elements(reader, count, Vec::new())?),
        (ElementType::U8, _) => Data::U8(elements(reader, count, Vec::new())?),
        (ElementType::I8, _) => Data::I8(elements(reader, count, Vec::new())?),
        (ElementType::I32, _) => Data::I32(elements(reader, count, Vec::new())?),
        (ElementType::Bool, _) => {
            let bytes: Vec<u8> = elements(reader, count, Vec::new())?;
            Data::Bool(bytes.into_iter().map(|byte| byte != 0).collect())
        }
        (other, _) => return Err(ProtocolError::Element(described.name, other)),
    };
    Ok((Tensor { name: described.name, shape: described.shape, data }, bytes))
}

/// Bytes of a tensor, if that is a number at all.
fn size(shape: &[usize], element: ElementType) -> Option<u64> {
    let width = element.size() as u64;
    // A zero would hide that the other extents overflow.
    shape
        .iter()
        .filter(|&&extent| extent > 0)
        .try_fold(width, |product: u64, &extent| product.checked_mul(extent as u64))?;
    Some(shape.iter().map(|&extent| extent as u64).product::<u64>() * width)
}

fn describe(tensor: &Tensor) -> Described {
    Described { name: tensor.name.clone(), shape: tensor.shape.clone(), element: tensor.data.element_type() }
}

fn bytes(data: &Data) -> &[u8] {
    match data {
        Data::F32(data) => bytemuck::cast_slice(data),
        Data::F16(data) => bytemuck::cast_slice(data),
        Data::F64(data) => bytemuck::cast_slice(data),
        Data::I64(data) => bytemuck::cast_slice(data),
        Data::U8(data) => data,
        Data::I8(data) => bytemuck::cast_slice(data),
        Data::I32(data) => bytemuck::cast_slice(data),
        Data::Bool(data) => bytemuck::cast_slice(data),
    }
}

fn exactly<const N: usize>(reader: &mut impl Read) -> Result<[u8; N], ProtocolError> {
    let mut bytes = [0; N];
    fill(reader, &mut bytes)?;
    Ok(bytes)
}

fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), ProtocolError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ProtocolError::Ended,
        _ => ProtocolError::Io(error),
    })
}

#[cfg(test)]
mod tests;
