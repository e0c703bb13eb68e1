//! Tensors that are computed from several of the file's, all arithmetic in f64.

use std::sync::Arc;

use super::error::Fault;
use super::file::Source;
use super::values::{self, Data};
use crate::architecture::EPSILON;

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
        let read = |data: &Data| values::read::<f64>(sources, name, data);
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
        let read = |data: &Data, part: &str| values::read::<f64>(sources, &format!("{}.{part}", self.name), data);
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
