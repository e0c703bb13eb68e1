//! The numbers of a tensor: storage bytes through one small buffer into a vector of the wanted type, checksummed and
//! checked on the way while they are still in the processor's cache.

use super::error::Fault;
use super::file::Source;
use super::layout::Layout;
use crate::architecture::EPSILON;
use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use onnx_file::element::ElementType;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

/// Bytes handled at a time: within the second-level cache.
const CHUNK: usize = 1 << 18;

/// A storage in the file.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// What to call it in messages: the zip entry, or the storage's key.
    pub(super) name: String,
    /// Where its bytes begin in the file.
    pub(super) start: u64,
    /// How many there are in the file.
    pub(super) stored: u64,
    /// How many there are once decompressed.
    pub(super) len: u64,
    /// Whether they are a deflate stream.
    pub(super) deflated: bool,
    /// CRC-32 of the decompressed bytes, where one is recorded.
    pub(super) crc: Option<u32>,
    /// The bytes themselves, where they do not lie in the file as they are.
    pub(super) memory: Option<Arc<[u8]>>,
}

/// A tensor in the file.
pub(super) struct Stored {
    /// Which of the checkpoint's files.
    pub(super) file: usize,
    pub(super) blob: Blob,
    pub(super) layout: Layout,
}

/// The numbers of a tensor.
pub(super) enum Data {
    /// As the file has them.
    Stored(Stored),
    /// The product of two tensors of one shape, element by element.
    Product(Box<[Stored; 2]>),
    /// With the order of the second dimension reversed.
    Reversed {
        /// `[out_channels, in_channels, ...]`.
        of: Box<Data>,
        /// Extent of the second dimension.
        channels: usize,
        /// Elements under each index of it.
        inner: usize,
    },
    /// Computed from several.
    Computed(Box<Computed>),
    /// One number everywhere: the file needs none.
    Constant { value: f64, elements: usize },
}

/// A type that tensors are read as.
pub(super) trait Real: Pod {
    fn from_f32(value: f32) -> Self;
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn extend_from_f16(out: &mut Vec<Self>, values: &[f16]);
    fn extend_from_bf16(out: &mut Vec<Self>, values: &[bf16]);
    fn all_finite(values: &[Self]) -> bool;
}

/// All bits of an infinity or NaN's exponent set: one pass of integer maxima, which the compiler vectorises.
macro_rules! real {
    ($float:ty, $bits:ty, $convert:ident) => {
        impl Real for $float {
            fn from_f32(value: f32) -> Self {
                value as $float
            }
            fn from_f64(value: f64) -> Self {
                value as $float
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn extend_from_f16(out: &mut Vec<Self>, values: &[f16]) {
                let start = out.len();
                out.resize(start + values.len(), 0.0);
                values.$convert(&mut out[start..]);
            }
            fn extend_from_bf16(out: &mut Vec<Self>, values: &[bf16]) {
                let start = out.len();
                out.resize(start + values.len(), 0.0);
                values.$convert(&mut out[start..]);
            }
            fn all_finite(values: &[Self]) -> bool {
                let magnitude = |value: &$float| value.to_bits() & (<$bits>::MAX >> 1);
                values.iter().map(magnitude).fold(0, <$bits>::max) < <$float>::INFINITY.to_bits()
            }
        }
    };
}
real!(f32, u32, convert_to_f32_slice);
real!(f64, u64, convert_to_f64_slice);

/// The values of `data`, row-major.
///
/// # Errors
///
/// If the type is no floating one, the bytes are damaged, or a value is NaN, infinite, or beyond the range of `T`.
pub(super) fn read<T: Real>(sources: &[Source], name: &str, data: &Data) -> Result<Vec<T>, Fault> {
    match data {
        Data::Stored(stored) => read_stored(sources, name, stored),
        Data::Product(factors) => {
            let mut product: Vec<T> = read_stored(sources, name, &factors[0])?;
            let mask: Vec<T> = read_stored(sources, name, &factors[1])?;
            for (value, factor) in product.iter_mut().zip(mask) {
                *value = T::from_f64(value.to_f64() * factor.to_f64());
            }
            Ok(product)
        }
        Data::Reversed { of, channels, inner } => {
            let values: Vec<T> = read(sources, name, of)?;
            let outer = values.chunks_exact((channels * inner).max(1));
            Ok(outer.flat_map(|filter| filter.chunks_exact((*inner).max(1)).rev().flatten().copied()).collect())
        }
        Data::Computed(computed) => Ok(computed.read(sources, name)?.into_iter().map(T::from_f64).collect()),
        Data::Constant { value, elements } => Ok(vec![T::from_f64(*value); *elements]),
    }
}

fn read_stored<T: Real>(sources: &[Source], name: &str, tensor: &Stored) -> Result<Vec<T>, Fault> {
    let Stored { file, blob, layout } = tensor;
    let source = source_of(sources, *file)?;
    match layout.dtype {
        ElementType::F16 => read_as(source, name, blob, layout, f16::to_f64, T::extend_from_f16),
        ElementType::BF16 => read_as(source, name, blob, layout, bf16::to_f64, T::extend_from_bf16),
        ElementType::F32 => read_as(source, name, blob, layout, f64::from, |out: &mut Vec<T>, values: &[f32]| {
            out.extend(values.iter().map(|value| T::from_f32(*value)));
        }),
        ElementType::F64 => read_as(
            source,
            name,
            blob,
            layout,
            |value| value,
            |out: &mut Vec<T>, values: &[f64]| {
                out.extend(values.iter().map(|value| T::from_f64(*value)));
            },
        ),
        dtype => Err(Fault::IntegerTensor { tensor: name.to_owned(), dtype }),
    }
}

fn source_of(sources: &[Source], file: usize) -> Result<&Source, Fault> {
    // Each tensor was given the number of an open file.
    sources.get(file).ok_or_else(|| Fault::Io { action: "read it", error: std::io::ErrorKind::NotFound.into() })
}

/// [`read`] for elements stored as `S`.
fn read_as<S: Pod, T: Real>(
    source: &Source,
    name: &str,
    blob: &Blob,
    layout: &Layout,
    exact: impl Fn(S) -> f64,
    extend: impl Fn(&mut Vec<T>, &[S]),
) -> Result<Vec<T>, Fault> {
    let mut out: Vec<T> = Vec::with_capacity(layout.elements());
    let mut bad_value = None; // told only when the bytes are known to be what was saved
    let mut convert = |values: &[S]| {
        let start = out.len();
        extend(&mut out, values);
        if bad_value.is_none() && !T::all_finite(&out[start..]) {
            let found = out[start..].iter().position(|value| !value.to_f64().is_finite()).unwrap_or(0);
            bad_value = Some((start + found, exact(values[found])));
        }
    };
    if layout.is_contiguous() {
        blob_bytes(source, name, blob, layout.bytes(), |bytes| convert(elements(bytes)))?;
    } else {
        let window = layout.bytes();
        let mut raw: Vec<S> = Vec::with_capacity((window.end - window.start) as usize / size_of::<S>());
        blob_bytes(source, name, blob, window, |bytes| raw.extend_from_slice(elements(bytes)))?;
        // Converted a buffer at a time, so that no third copy of the tensor is alive.
        let mut gathered = Vec::with_capacity(CHUNK / size_of::<S>());
        layout.positions(|position| {
            gathered.push(raw[position]);
            if gathered.len() == CHUNK / size_of::<S>() {
                convert(&gathered);
                gathered.clear();
            }
        });
        convert(&gathered);
    }
    match bad_value {
        None => Ok(out),
        Some((index, value)) if value.is_finite() => Err(Fault::BeyondF32 { tensor: name.to_owned(), index, value }),
        Some((index, value)) => Err(Fault::NotFinite { tensor: name.to_owned(), index, value }),
    }
}

/// Little-endian `bytes`, aligned for `S`, as elements.
fn elements<S: Pod>(bytes: &mut [u8]) -> &[S] {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size_of::<S>()).for_each(<[u8]>::reverse);
    }
    bytemuck::cast_slice(bytes)
}

/// Passes the bytes `window` of `blob` to `visit`, in pieces that begin and end between elements, little-endian as
/// stored. The rest of the storage is read too where a checksum covers it.
fn blob_bytes(
    source: &Source,
    tensor: &str,
    blob: &Blob,
    window: Range<u64>,
    mut visit: impl FnMut(&mut [u8]),
) -> Result<(), Fault> {
    if let Some(bytes) = &blob.memory {
        let piece = usize::try_from(window.start).ok().zip(usize::try_from(window.end).ok());
        let wanted = piece.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default();
        for chunk in wanted.chunks(CHUNK) {
            let mut words = vec![0u64; chunk.len().div_ceil(8)]; // words, so that any element type is aligned
            let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
            buffer[..chunk.len()].copy_from_slice(chunk);
            visit(&mut buffer[..chunk.len()]);
        }
        return Ok(());
    }
    let mut stored = source.stream(blob.start, blob.start.saturating_add(blob.stored));
    if !blob.deflated {
        let whole = blob.crc.is_some();
        if !whole {
            stored = source.stream(blob.start + window.start, blob.start + window.end);
        }
        let end = if whole { blob.len } else { window.end };
        return pump(tensor, blob, &mut stored, if whole { 0 } else { window.start }, end, window, visit);
    }
    let mut inflated = flate2::read::DeflateDecoder::new(stored);
    pump(tensor, blob, &mut inflated, 0, blob.len, window, visit)?;
    // A stream that goes on, or that ends before its entry does, is not what the directory declares.
    let ends = matches!(inflated.read(&mut [0]), Ok(0));
    if !ends || inflated.total_in() != blob.stored {
        return Err(Fault::Deflate { entry: blob.name.clone(), declared: blob.len });
    }
    Ok(())
}

/// Reads the storage from `position` to `end` and hands on what lies in `window`.
fn pump(
    tensor: &str,
    blob: &Blob,
    input: &mut dyn Read,
    mut position: u64,
    end: u64,
    window: Range<u64>,
    mut visit: impl FnMut(&mut [u8]),
) -> Result<(), Fault> {
    let longest = usize::try_from(end.saturating_sub(position)).unwrap_or(CHUNK).min(CHUNK);
    let mut words = vec![0u64; longest.div_ceil(8)]; // words, so that any element type is aligned
    let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    let mut hasher = blob.crc.map(|_| crc32fast::Hasher::new());
    while position < end {
        // Pieces end at the window's bounds, so that elements in it begin at the start of the buffer.
        let stop = [window.start, window.end, end].into_iter().find(|stop| *stop > position).unwrap_or(end);
        let take = usize::try_from(stop - position).unwrap_or(CHUNK).min(CHUNK);
        let piece = &mut buffer[..take];
        input.read_exact(piece).map_err(|error| {
            // An error without a number of the operating system's is the decompressor's.
            if blob.deflated && error.raw_os_error().is_none() {
                return Fault::Deflate { entry: blob.name.clone(), declared: blob.len };
            }
            Fault::Io { action: "read it", error }
        })?;
        if let Some(hasher) = &mut hasher {
            hasher.update(piece);
        }
        if window.contains(&position) {
            visit(piece);
        }
        position += take as u64;
    }
    match (hasher.map(crc32fast::Hasher::finalize), blob.crc) {
        (Some(found), Some(expected)) if found != expected => {
            Err(Fault::Checksum { entry: blob.name.clone(), tensor: Some(tensor.to_owned()), expected, found })
        }
        _ => Ok(()),
    }
}

/// A normalisation in evaluation: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, each `[C]`.
pub(super) struct Norm {
    /// Its name, for messages.
    pub(super) name: String,
    pub(super) scale: Data,
    pub(super) bias: Data,
    pub(super) mean: Data,
    pub(super) variance: Data,
}

/// How to compute a tensor.
pub(super) enum Computed {
    /// A running mean, less the bias of the convolution before it.
    Less(Data, Data),
    /// The weight `[out, in]` of a linear layer, the normalisation of its inputs multiplied in.
    WeightAfterNorm { weight: Arc<Data>, norm: Arc<Norm> },
    /// The bias `[out]` that goes with it.
    BiasAfterNorm { weight: Arc<Data>, bias: Data, norm: Arc<Norm> },
    /// The weight `[out, in]` of a linear layer, the normalisation of its outputs multiplied in.
    WeightBeforeNorm { weight: Data, norm: Arc<Norm> },
    /// The bias `[out]` that goes with it.
    BiasBeforeNorm { bias: Data, norm: Arc<Norm> },
}

impl Computed {
    pub(super) fn read(&self, sources: &[Source], name: &str) -> Result<Vec<f64>, Fault> {
        let read = |data: &Data| read::<f64>(sources, name, data);
        match self {
            Self::Less(mean, bias) => Ok(read(mean)?.into_iter().zip(read(bias)?).map(|(a, b)| a - b).collect()),
            Self::WeightAfterNorm { weight, norm } => {
                let (factor, _) = norm.affine(sources)?;
                let columns = factor.iter().cycle();
                Ok(read(weight)?.into_iter().zip(columns).map(|(weight, factor)| weight * factor).collect())
            }
            Self::BiasAfterNorm { weight, bias, norm } => {
                let (_, shift) = norm.affine(sources)?;
                let weight = read(weight)?;
                let rows = weight.chunks_exact(shift.len().max(1));
                let added = rows.map(|row| row.iter().zip(&shift).map(|(weight, shift)| weight * shift).sum::<f64>());
                Ok(read(bias)?.into_iter().zip(added).map(|(bias, added)| bias + added).collect())
            }
            Self::WeightBeforeNorm { weight, norm } => {
                let (factor, _) = norm.affine(sources)?;
                let weight = read(weight)?;
                let row = (weight.len() / factor.len().max(1)).max(1);
                let rows = weight.chunks_exact(row).zip(factor);
                Ok(rows.flat_map(|(row, factor)| row.iter().map(move |weight| weight * factor)).collect())
            }
            Self::BiasBeforeNorm { bias, norm } => {
                let (factor, shift) = norm.affine(sources)?;
                let affine = factor.into_iter().zip(shift);
                Ok(read(bias)?.into_iter().zip(affine).map(|(bias, (factor, shift))| bias * factor + shift).collect())
            }
        }
    }
}

impl Norm {
    /// Factor and shift of each channel.
    fn affine(&self, sources: &[Source]) -> Result<(Vec<f64>, Vec<f64>), Fault> {
        let read = |data: &Data, part: &str| read::<f64>(sources, &format!("{}.{part}", self.name), data);
        let variance = read(&self.variance, "running_var")?;
        if let Some(index) = variance.iter().position(|value| *value < 0.0) {
            let tensor = format!("{}.running_var", self.name);
            return Err(Fault::NegativeVariance { tensor, index, value: variance[index] });
        }
        let scale = read(&self.scale, "weight")?;
        let factor: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + EPSILON).sqrt()).collect();
        let (bias, mean) = (read(&self.bias, "bias")?, read(&self.mean, "running_mean")?);
        let shift = bias.iter().zip(&mean).zip(&factor).map(|((bias, mean), factor)| bias - mean * factor).collect();
        Ok((factor, shift))
    }
}
