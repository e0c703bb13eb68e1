//! A constant as a recipe over the tensors of a source.
//!
//! Passes rewrite recipes, not numbers. The exporter materializes one at a time, so that no more than one tensor and its
//! result are in memory. All arithmetic on the way is f64; a result is rounded to f32 once, at the end of each step
//! that computes, or to f16 once, from the f64 result.

use std::sync::Arc;

use onnx_file::element::ElementType;

use super::integer::{self, Part, WeightRange};
use super::rounding::to_half;

/// The parameters of an inference-mode batch normalisation: y = (x - mean) / sqrt(variance + epsilon) * scale + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// gamma, `[C]`.
    pub scale: Weight,
    /// beta, `[C]`.
    pub bias: Weight,
    /// Running mean, `[C]`.
    pub mean: Weight,
    /// Running variance, `[C]`.
    pub variance: Weight,
    /// Added to the variance.
    pub epsilon: f64,
}

/// The weights of a convolution or a linear layer, and its bias, as integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Integers {
    /// `[out, channels, kH, kW]` or `[out, channels]`.
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Weight>,
    /// Scale of the data that the weights are multiplied by.
    pub data_scale: f32,
    /// What the weights use of their 8 bits.
    pub range: WeightRange,
}

/// How to compute a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Weight {
    /// A tensor of the source.
    Stored {
        /// Its name there.
        name: String,
        /// The shape it must have.
        shape: Vec<usize>,
    },
    /// `len` indices of `of` from `start`, along `axis`.
    Slice {
        /// What to cut.
        of: Box<Weight>,
        /// Dimension to cut along.
        axis: usize,
        /// First index kept.
        start: usize,
        /// Number of indices kept.
        len: usize,
    },
    /// A grouped convolution's weight with `merge` neighbouring groups joined by zeros.
    Widened {
        /// `[out_channels, in_channels / groups, kH, kW]`.
        of: Box<Weight>,
        /// Groups before.
        groups: usize,
        /// Groups joined into one; divides `groups`.
        merge: usize,
    },
    /// A convolution's weight with the normalisation that follows it multiplied in: each output channel times
    /// scale / sqrt(variance + epsilon).
    Scaled {
        /// `[out_channels, in_channels / group, kH, kW]`.
        of: Box<Weight>,
        /// The normalisation, over `out_channels`.
        norm: Arc<Norm>,
    },
    /// The bias that goes with [`Weight::Scaled`]: bias + (of - mean) * scale / sqrt(variance + epsilon).
    Shifted {
        /// The convolution's own bias, `[out_channels]`; zeros where it has none.
        of: Option<Box<Weight>>,
        /// The normalisation.
        norm: Arc<Norm>,
    },
    /// Rounded to f16 once, from the exact result of the recipe inside: always the outermost step.
    Half {
        /// What to round.
        of: Box<Weight>,
    },
    /// One of the constants that weights become in 8 bits.
    Integer {
        /// All of them.
        of: Arc<Integers>,
        /// Which.
        part: Part,
    },
    /// Zeros behind the input channels of a convolution's weight.
    Padded {
        /// `[out_channels, in_channels, kH, kW]`.
        of: Box<Weight>,
        /// Input channels with them.
        channels: usize,
    },
    /// Numbers that the recipe itself holds: a scale, a zero point.
    Numbers {
        /// Their shape.
        shape: Vec<usize>,
        /// Row-major.
        values: Vec<f64>,
    },
}

impl Weight {
    /// A tensor of the source.
    pub fn stored(name: impl Into<String>, shape: &[usize]) -> Self {
        Self::Stored { name: name.into(), shape: shape.to_vec() }
    }

    /// One number.
    pub fn number(value: f64) -> Self {
        Self::Numbers { shape: Vec::new(), values: vec![value] }
    }

    /// The type that the result must have in a file, where the recipe says so.
    pub fn element(&self) -> Option<ElementType> {
        match self {
            Self::Half { .. } => Some(ElementType::F16),
            Self::Integer { part: Part::Weights, .. } => Some(ElementType::I8),
            Self::Integer { part: Part::Bias, .. } => Some(ElementType::I32),
            Self::Integer { .. } => Some(ElementType::F32),
            Self::Slice { of, .. } | Self::Widened { of, .. } | Self::Padded { of, .. } => of.element(),
            Self::Stored { .. } | Self::Scaled { .. } | Self::Shifted { .. } | Self::Numbers { .. } => None,
        }
    }

    /// The recipe without the zeros that widening or padding adds around its result.
    fn without_zeros(&self) -> &Self {
        match self {
            Self::Widened { of, .. } | Self::Padded { of, .. } => of.without_zeros(),
            other => other,
        }
    }

    /// Part of this one.
    pub fn slice(self, axis: usize, start: usize, len: usize) -> Self {
        Self::Slice { of: Box::new(self), axis, start, len }
    }

    /// The shape of the result.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Stored { shape, .. } => shape.clone(),
            Self::Slice { of, axis, len, .. } => {
                let mut shape = of.shape();
                shape[*axis] = *len;
                shape
            }
            Self::Widened { of, merge, .. } => {
                let mut shape = of.shape();
                shape[1] *= merge;
                shape
            }
            Self::Padded { of, channels } => {
                let mut shape = of.shape();
                shape[1] = *channels;
                shape
            }
            Self::Scaled { of, .. } | Self::Half { of } => of.shape(),
            Self::Shifted { norm, .. } => norm.bias.shape(),
            Self::Integer { of, part } => of.shape(*part),
            Self::Numbers { shape, .. } => shape.clone(),
        }
    }

    /// Calls `visit` with the name and shape of every tensor of the source that the recipe reads.
    pub fn for_each_stored<'a>(&'a self, visit: &mut impl FnMut(&'a str, &'a [usize])) {
        match self {
            Self::Stored { name, shape } => visit(name, shape),
            Self::Slice { of, .. } | Self::Widened { of, .. } | Self::Padded { of, .. } | Self::Half { of } => {
                of.for_each_stored(visit);
            }
            Self::Integer { of, .. } => {
                of.weight.for_each_stored(visit);
                of.bias.iter().for_each(|bias| bias.for_each_stored(visit));
            }
            Self::Numbers { .. } => {}
            Self::Scaled { of, norm } => {
                of.for_each_stored(visit);
                norm.for_each_stored(visit);
            }
            Self::Shifted { of, norm } => {
                if let Some(of) = of {
                    of.for_each_stored(visit);
                }
                norm.for_each_stored(visit);
            }
        }
    }

    /// Computes the recipe in f32.
    ///
    /// # Errors
    /// What `read` returns.
    pub fn eval_f32<E>(&self, read: &mut impl Read<Error = E>) -> Result<Vec<f32>, E> {
        self.eval(read, &|read, name, shape| read.read_f32(name, shape))
    }

    /// Computes the recipe in f64 throughout.
    ///
    /// # Errors
    /// What `read` returns.
    pub fn eval_f64<E>(&self, read: &mut impl Read<Error = E>) -> Result<Vec<f64>, E> {
        self.eval(read, &|read, name, shape| read.read_f64(name, shape))
    }

    fn eval<T: Number, R: Read>(
        &self,
        read: &mut R,
        stored: &impl Fn(&mut R, &str, &[usize]) -> Result<Vec<T>, R::Error>,
    ) -> Result<Vec<T>, R::Error> {
        match self {
            Self::Stored { name, shape } => stored(read, name, shape),
            Self::Slice { of, axis, start, len } => Ok(cut(&of.eval(read, stored)?, &of.shape(), *axis, *start, *len)),
            Self::Widened { of, groups, merge } => Ok(widen(&of.eval(read, stored)?, &of.shape(), *groups, *merge)),
            Self::Scaled { of, norm } => {
                let (multipliers, _) = norm.multipliers(read)?;
                let mut data = of.eval(read, stored)?;
                let channel = data.len() / multipliers.len().max(1);
                for (weights, multiplier) in data.chunks_exact_mut(channel.max(1)).zip(multipliers) {
                    weights.iter_mut().for_each(|w| *w = T::from_f64(w.to_f64() * multiplier));
                }
                Ok(data)
            }
            Self::Shifted { of, norm } => {
                let (multipliers, mean) = norm.multipliers(read)?;
                let bias = norm.bias.eval_f64(read)?;
                let own = of.as_ref().map(|of| of.eval_f64(read)).transpose()?.unwrap_or_else(|| vec![0.0; mean.len()]);
                let shift = |c: usize| T::from_f64(bias[c] + (own[c] - mean[c]) * multipliers[c]);
                Ok((0..mean.len()).map(shift).collect())
            }
            Self::Padded { of, channels } => {
                let shape = of.shape();
                let outputs: usize = shape[..1].iter().product();
                let (data, plane) = (of.eval(read, stored)?, shape[2..].iter().product::<usize>());
                let mut padded = vec![T::default(); outputs * channels * plane];
                let rows = data.chunks_exact((shape[1] * plane).max(1));
                for (old, new) in rows.zip(padded.chunks_exact_mut((channels * plane).max(1))) {
                    new[..old.len()].copy_from_slice(old);
                }
                Ok(padded)
            }
            Self::Integer { of, part } => Ok(of.eval(*part, read)?.into_iter().map(T::from_f64).collect()),
            Self::Numbers { values, .. } => Ok(values.iter().map(|&value| T::from_f64(value)).collect()),
            Self::Half { of } => Ok(of.eval_f64(read)?.into_iter().map(|w| T::from_f64(to_half(w).to_f64())).collect()),
        }
    }
}

impl Integers {
    fn shape(&self, part: Part) -> Vec<usize> {
        let shape = self.weight.shape();
        if part == Part::Weights { shape } else { shape.into_iter().take(1).collect() }
    }

    /// Computes a part; every number is exact in f64.
    fn eval<R: Read>(&self, part: Part, read: &mut R) -> Result<Vec<f64>, R::Error> {
        // Zeros that widening adds change no scale, so the scales are those of the weights without them.
        let narrow = self.weight.without_zeros();
        let weights = narrow.eval_f64(read)?;
        let bias = self.bias.as_ref().map(|bias| bias.eval_f64(read)).transpose()?;
        let scales = integer::scales(self.range, &weights, &narrow.shape(), bias.as_deref(), self.data_scale);
        let steps = scales.iter().map(|&scale| f64::from(self.data_scale) * f64::from(scale));
        Ok(match part {
            Part::Scales => scales.iter().map(|&scale| f64::from(scale)).collect(),
            Part::BiasScales => steps.map(|step| f64::from(step as f32)).collect(),
            Part::Bias => {
                bias.iter().flatten().zip(steps).map(|(bias, step)| (bias / step).round_ties_even()).collect()
            }
            Part::Weights => {
                let mut weights = if *narrow == self.weight { weights } else { self.weight.eval_f64(read)? };
                integer::round(&mut weights, &scales);
                weights
            }
        })
    }
}

impl Norm {
    fn for_each_stored<'a>(&'a self, visit: &mut impl FnMut(&'a str, &'a [usize])) {
        for weight in [&self.scale, &self.bias, &self.mean, &self.variance] {
            weight.for_each_stored(visit);
        }
    }

    /// scale / sqrt(variance + epsilon), and the mean.
    fn multipliers<R: Read>(&self, read: &mut R) -> Result<(Vec<f64>, Vec<f64>), R::Error> {
        let (scale, variance) = (self.scale.eval_f64(read)?, self.variance.eval_f64(read)?);
        let epsilon = self.epsilon;
        let multipliers = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        Ok((multipliers, self.mean.eval_f64(read)?))
    }
}

/// Where recipes get their tensors from.
pub trait Read {
    /// Why a tensor could not be read.
    type Error;

    /// The tensor `name`, of exactly this shape, row-major.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    fn read_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Self::Error>;

    /// As [`Read::read_f32`], without rounding.
    ///
    /// # Errors
    /// As for [`Read::read_f32`].
    fn read_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, Self::Error>;
}

/// f32 or f64.
trait Number: Copy + Default {
    fn to_f64(self) -> f64;
    fn from_f64(value: f64) -> Self;
}

impl Number for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Number for f64 {
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(value: f64) -> Self {
        value
    }
}

fn cut<T: Copy>(data: &[T], shape: &[usize], axis: usize, start: usize, len: usize) -> Vec<T> {
    let inner: usize = shape[axis + 1..].iter().product();
    let step = inner * shape[axis];
    if step == 0 {
        return Vec::new();
    }
    data.chunks_exact(step).flat_map(|outer| &outer[start * inner..(start + len) * inner]).copied().collect()
}

/// Output channel o of old group g keeps its row of I input channels at offset (g mod merge) I of a row merge times as
/// long.
fn widen<T: Number>(data: &[T], shape: &[usize], groups: usize, merge: usize) -> Vec<T> {
    let row: usize = shape[1..].iter().product();
    let outputs = shape[0] / groups;
    let mut wide = vec![T::default(); data.len() * merge];
    for (channel, (old, new)) in data.chunks_exact(row).zip(wide.chunks_exact_mut(row * merge)).enumerate() {
        let offset = channel / outputs % merge * row;
        new[offset..offset + row].copy_from_slice(old);
    }
    wide
}

#[cfg(test)]
#[path = "recipe/tests.rs"]
mod tests;
