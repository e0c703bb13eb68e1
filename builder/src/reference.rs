//! The oracle: straightforward f64 forward passes.
//!
//! [`forward`] goes straight from an architecture and its tensors, batch normalisation unfolded, and shares nothing
//! with graphs and passes. [`evaluate`] runs a graph, whatever passes have made of it. Where the two agree, the
//! passes are right.

mod integers;
mod kernels;
#[cfg(test)]
pub(crate) mod testing;

use std::borrow::Cow;
use std::collections::HashMap;

use ndarray::{Array4, ArrayD, Axis, Ix2, Ix4};

use onnx_file::element::ElementType;

use crate::architecture::{EPSILON, StrideIn, hidden};
use crate::graph::{Conv, Op, Pool, ValueId};
use crate::validate::Valid;
use crate::variant::{Block, Stem, Variant};
use crate::weight::Read;

/// What a network outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Output of each stage, `[N, C, H, W]`.
    pub stages: Vec<ArrayD<f64>>,
    /// Class scores, `[N, classes]`, where the network has a head.
    pub logits: Option<ArrayD<f64>>,
}

/// What stands in for every ReLU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// x / 2 below 0. Not what the network means, but where two graphs are the same but for exact rewrites of linear
    /// parts, they agree under this as well, and no weight can hide behind a channel that happens to be dead.
    Leaky,
}

impl Activation {
    fn apply(self, x: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Leaky => x.max(x / 2.0),
        }
    }
}

/// The whole network in f64 on images `[N, C, H, W]`; `head` has the outputs of its linear layers, the classes last, with
/// ReLU between, and where it is empty there are only the stages.
///
/// # Errors
/// What `source` returns.
pub fn forward<R: Read>(
    variant: &Variant,
    stride_in: StrideIn,
    head: &[usize],
    source: &mut R,
    images: &Array4<f64>,
    activation: Activation,
) -> Result<Forward, R::Error> {
    let mut net = Net { source, activation };
    let stem = match variant.stem {
        Stem::ImageNet => Conv::square(7, 2, 3, 1),
        Stem::Cifar => Conv::square(3, 1, 1, 1),
    };
    let mut x =
        net.conv_bn("conv1", "bn1", stem, [variant.planes, images.dim().1], images)?.mapv(|v| activation.apply(v));
    if variant.stem == Stem::ImageNet {
        x = kernels::max_pool(&x, &Pool { kernel: [3; 2], stride: [2; 2], padding: [1; 4] });
    }
    let mut stages = Vec::new();
    let mut channels = variant.planes;
    for (stage, &count) in variant.blocks.iter().enumerate() {
        for index in 0..count {
            let stride = if index == 0 && stage > 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            x = net.block(variant, stride_in, stage, &name, [channels, stride], &x)?;
            channels = variant.out_channels(stage);
        }
        stages.push(x.clone().into_dyn());
    }
    let mut values = kernels::global_average(&x);
    for (index, &out) in head.iter().enumerate() {
        let last = index + 1 == head.len();
        let name = if last { "fc".to_owned() } else { hidden(index) };
        let weight = net.source.read_f64(&format!("{name}.weight"), &[out, channels])?;
        let bias = net.source.read_f64(&format!("{name}.bias"), &[out])?;
        values = kernels::gemm(&values, &weight, &bias);
        if !last {
            values.mapv_inplace(|v| activation.apply(v));
        }
        channels = out;
    }
    let logits = (!head.is_empty()).then(|| values.into_dyn());
    Ok(Forward { stages, logits })
}

struct Net<'a, R> {
    source: &'a mut R,
    activation: Activation,
}

impl<R: Read> Net<'_, R> {
    fn block(
        &mut self,
        variant: &Variant,
        stride_in: StrideIn,
        stage: usize,
        name: &str,
        [channels, stride]: [usize; 2],
        x: &Array4<f64>,
    ) -> Result<Array4<f64>, R::Error> {
        let (width, out) = (variant.width(stage), variant.out_channels(stage));
        let [stride1, stride2] = match (variant.block, stride_in) {
            (Block::Bottleneck, StrideIn::Conv3x3) => [1, stride],
            _ => [stride, 1],
        };
        let part = |k: usize| (format!("{name}.conv{k}"), format!("{name}.bn{k}"));
        let activation = self.activation;
        let relu = |x: Array4<f64>| x.mapv(|v| activation.apply(v));
        let mut conv = |k: usize, conv: Conv, shape: [usize; 2], x: &Array4<f64>| {
            let (conv_name, bn_name) = part(k);
            self.conv_bn(&conv_name, &bn_name, conv, shape, x)
        };
        let branch = match variant.block {
            Block::Basic => {
                let y = relu(conv(1, Conv::square(3, stride1, 1, 1), [width, channels], x)?);
                conv(2, Conv::square(3, 1, 1, 1), [width, width], &y)?
            }
            Block::Bottleneck => {
                let groups = variant.cardinality;
                let y = relu(conv(1, Conv::square(1, stride1, 0, 1), [width, channels], x)?);
                let y = relu(conv(2, Conv::square(3, stride2, 1, groups), [width, width / groups], &y)?);
                conv(3, Conv::square(1, 1, 0, 1), [out, width], &y)?
            }
        };
        let identity = if stride != 1 || channels != out {
            let (conv, bn) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            self.conv_bn(&conv, &bn, Conv::square(1, stride, 0, 1), [out, channels], x)?
        } else {
            x.clone()
        };
        Ok(relu(branch + identity))
    }

    fn conv_bn(
        &mut self,
        conv_name: &str,
        bn_name: &str,
        conv: Conv,
        [out, inner]: [usize; 2],
        x: &Array4<f64>,
    ) -> Result<Array4<f64>, R::Error> {
        let [height, width] = conv.kernel;
        let weight = self.source.read_f64(&format!("{conv_name}.weight"), &[out, inner, height, width])?;
        let y = kernels::conv(x, &weight, [out, inner], None, &conv);
        let mut parameter = |name: &str| self.source.read_f64(&format!("{bn_name}.{name}"), &[out]);
        let (scale, bias) = (parameter("weight")?, parameter("bias")?);
        let (mean, variance) = (parameter("running_mean")?, parameter("running_var")?);
        Ok(kernels::batch_norm(y, [&scale, &bias, &mean, &variance], EPSILON))
    }
}

/// Runs a graph of one image input in f64 and returns its outputs in order.
///
/// # Errors
/// What `source` returns.
pub fn evaluate<R: Read>(
    valid: Valid<'_>,
    source: &mut R,
    images: &Array4<f64>,
    activation: Activation,
) -> Result<Vec<ArrayD<f64>>, R::Error> {
    let graph = valid.graph();
    let mut values: HashMap<ValueId, ArrayD<f64>> = HashMap::new();
    values.extend(graph.inputs.iter().map(|&id| (id, images.clone().into_dyn())));
    let mut remaining = graph.use_counts();
    for node in &graph.nodes {
        let count = node.op.data_inputs(node.inputs.len());
        let mut data: Vec<Cow<'_, ArrayD<f64>>> = Vec::new();
        let mut weights: Vec<Vec<f64>> = Vec::new();
        for (index, &id) in node.inputs.iter().enumerate() {
            let operand = match &graph.value(id).weight {
                Some(weight) => {
                    let shape = weight.shape();
                    Cow::Owned(ArrayD::from_shape_vec(shape, weight.eval_f64(source)?).unwrap_or_default())
                }
                None => values.get(&id).map(Cow::Borrowed).unwrap_or_default(),
            };
            if index < count {
                data.push(operand);
            } else {
                weights.push(operand.iter().copied().collect());
            }
        }
        let operands: Vec<&ArrayD<f64>> = data.iter().map(AsRef::as_ref).collect();
        let result = apply(&node.op, &operands, &weights, activation, graph.value(node.output).element);
        drop(data);
        values.insert(node.output, result);
        for &id in &node.inputs {
            remaining[id.0 as usize] -= 1;
            if remaining[id.0 as usize] == 0 {
                values.remove(&id);
            }
        }
    }
    Ok(graph.outputs.iter().filter_map(|id| values.get(id).cloned()).collect())
}

/// One operator; `data` and `weights` are its operands in order, as validation has checked them.
fn apply(
    op: &Op,
    data: &[&ArrayD<f64>],
    weights: &[Vec<f64>],
    activation: Activation,
    made: ElementType,
) -> ArrayD<f64> {
    let image =
        |index: usize| data[index].view().into_dimensionality::<Ix4>().map(|v| v.to_owned()).unwrap_or_default();
    match op {
        Op::Conv(conv) => {
            let x = image(0);
            let inner = x.len_of(Axis(1)) / conv.group;
            let [height, width] = conv.kernel;
            let out = weights[0].len() / (inner * height * width);
            kernels::conv(&x, &weights[0], [out, inner], weights.get(1).map(Vec::as_slice), conv).into_dyn()
        }
        Op::BatchNorm { epsilon } => {
            let parameters = [&weights[0], &weights[1], &weights[2], &weights[3]].map(Vec::as_slice);
            kernels::batch_norm(image(0), parameters, *epsilon).into_dyn()
        }
        Op::Relu => data[0].mapv(|v| activation.apply(v)),
        Op::Add | Op::Sum => data[1..].iter().fold(data[0].clone(), |sum, &x| sum + x),
        Op::Concat => {
            let views: Vec<_> = data.iter().map(|x| x.view()).collect();
            ndarray::concatenate(Axis(1), &views).unwrap_or_default()
        }
        Op::MaxPool(pool) => kernels::max_pool(&image(0), pool).into_dyn(),
        Op::GlobalAveragePool => {
            let means = kernels::global_average(&image(0));
            means.insert_axis(Axis(2)).insert_axis(Axis(3)).into_dyn()
        }
        Op::Flatten => data[0].index_axis(Axis(3), 0).index_axis(Axis(2), 0).to_owned(),
        Op::Gemm => {
            let x = data[0].view().into_dimensionality::<Ix2>().map(|v| v.to_owned()).unwrap_or_default();
            kernels::gemm(&x, &weights[0], &weights[1]).into_dyn()
        }
        Op::Cast => data[0].clone(),
        Op::QuantizeLinear { axis } => integers::quantize(data[0], weights, *axis, made),
        Op::DequantizeLinear { axis } => integers::dequantize(data[0], weights, *axis),
        Op::Slice { start, len } => data[0].slice_axis(Axis(1), (*start..start + len).into()).to_owned(),
        Op::Pad { channels } => integers::pad(data[0], *channels, weights[1][0]),
        Op::Clip => data[0].mapv(|v| v.max(weights[0][0]).min(weights[1][0])),
    }
}
