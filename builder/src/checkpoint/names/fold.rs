//! What needs no layer of its own: a convolution's bias before a normalisation, and a classifier's normalisations.

use std::sync::Arc;

use super::tensor::Tensor;
use crate::checkpoint::values::Data;
use crate::checkpoint::values::{Computed, Norm};

/// The vectors of a normalisation.
pub(super) const VECTORS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Where a normalisation stands beside a linear layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It normalises what the layer takes.
    Before,
    /// It normalises what the layer gives.
    After,
}

/// Takes the bias of every convolution into the mean of the normalisation after it; returns their names in the file.
pub(super) fn biases(tensors: &mut Vec<Tensor>) -> Vec<String> {
    let mut folded = Vec::new();
    while let Some((bias, mean)) = (0..tensors.len()).find_map(|at| Some((at, mean_after(tensors, at)?))) {
        let mean_data = take(&mut tensors[mean].data);
        let bias_data = take(&mut tensors[bias].data);
        tensors[mean].data = Data::Computed(Box::new(Computed::Less(mean_data, bias_data)));
        folded.push(tensors.remove(bias).file);
    }
    folded
}

/// The running mean that the bias at `index` is taken into, where it is a convolution's.
fn mean_after(tensors: &[Tensor], index: usize) -> Option<usize> {
    let bias = &tensors[index];
    let convolution = bias.name.strip_suffix(".bias").filter(|_| bias.body)?;
    let (stage, part) = convolution.rsplit_once('.').map_or(("", convolution), |(stage, part)| (stage, part));
    let norm = match part.strip_prefix("conv") {
        Some(number) => format!("bn{number}"),
        None if part == "0" && stage.ends_with("downsample") => "1".to_owned(),
        None => return None,
    };
    let dot = if stage.is_empty() { "" } else { "." };
    let mean = format!("{stage}{dot}{norm}.running_mean");
    let fits = |tensor: &Tensor| tensor.body && tensor.name == mean && tensor.info.shape == bias.info.shape;
    tensors.iter().position(fits)
}

/// Folds the normalisation `base` into the linear layer `layer`, on whose `side` it stands.
pub(super) fn normalisation(tensors: &mut Vec<Tensor>, base: &str, layer: &str, side: Side) -> Option<()> {
    let at = |tensors: &[Tensor], name: &str| tensors.iter().position(|tensor| tensor.name == name);
    let mut part = |name: &str| {
        let index = at(tensors, &format!("{base}.{name}"))?;
        Some(tensors.remove(index).data)
    };
    let [scale, bias, mean, variance] = VECTORS.map(&mut part);
    let norm = Norm { name: base.to_owned(), scale: scale?, bias: bias?, mean: mean?, variance: variance? };
    let norm = Arc::new(norm);
    tensors.retain(|tensor| tensor.name != format!("{base}.num_batches_tracked"));
    let (weight_at, bias_at) = (at(tensors, &format!("{layer}.weight"))?, at(tensors, &format!("{layer}.bias"))?);
    let (weight, bias) = (take(&mut tensors[weight_at].data), take(&mut tensors[bias_at].data));
    let (weight, bias) = match side {
        Side::Before => {
            let weight = Arc::new(weight);
            let shifted = Computed::BiasAfterNorm { weight: weight.clone(), bias, norm: norm.clone() };
            (Computed::WeightAfterNorm { weight, norm }, shifted)
        }
        Side::After => {
            let shifted = Computed::BiasBeforeNorm { bias, norm: norm.clone() };
            (Computed::WeightBeforeNorm { weight, norm }, shifted)
        }
    };
    tensors[weight_at].data = Data::Computed(Box::new(weight));
    tensors[bias_at].data = Data::Computed(Box::new(bias));
    Some(())
}

fn take(data: &mut Data) -> Data {
    std::mem::replace(data, Data::Constant { value: 0.0, elements: 0 })
}
