//! What exporters write in many ways: the end of a classifier, and arithmetic with a constant for each channel.
//!
//! The step from `[N, C, 1, 1]` to `[N, C]` is a Flatten, Reshape, Squeeze or a mean that drops its axes, and the last
//! layer a Gemm in any of its forms or a MatMul with an Add. None of them moves an element, so that the first are
//! other views of one value.

use onnx_file::proto::NodeProto;

use super::importer::{Importer, View};
use super::{Attributes, label};
use crate::constants::{flatten, reshape, squeeze, unsqueeze};
use crate::graph::{Dim, Op, ValueId};

impl Importer {
    /// The value that `node` makes, where it is another view of one before it or a part of a classifier; `None` for all
    /// else.
    pub(super) fn view(&mut self, node: &NodeProto, output: &str) -> Result<Option<View>, String> {
        let attributes = Attributes(&node.attribute);
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let source = inputs.first().and_then(|name| self.values.get(*name)).cloned();
        let Some(source) = source else {
            return match node.op_type.as_str() {
                "Mul" | "Add" => self.per_channel(node, output, &inputs),
                _ => Ok(None),
            };
        };
        let integers = |name: &str| -> Option<Vec<i64>> {
            let given = attributes.get(name).map(|attribute| attribute.ints.clone());
            given.or_else(|| self.constants.integers(inputs.get(1)?))
        };
        let from = self.dims(&source).unwrap_or_default();
        let to = match node.op_type.as_str() {
            "Identity" | "Dropout" => return Ok(Some(source)),
            "Flatten" => {
                let axis = attributes.int("axis", 1);
                let axis = usize::try_from(if axis < 0 { axis + from.len() as i64 } else { axis }).ok();
                axis.and_then(|axis| flatten(&from, axis))
            }
            "Reshape" => {
                let allowed = |to: &Vec<i64>| attributes.int("allowzero", 0) == 0 || !to.contains(&0);
                integers("shape").filter(allowed).and_then(|to| reshape(&from, &to))
            }
            "Squeeze" => squeeze(&from, integers("axes").as_deref()),
            "Unsqueeze" => integers("axes").and_then(|axes| unsqueeze(&from, &axes)),
            "Transpose" => integers("perm").and_then(|order| moved(&from, &order)),
            "ReduceMean" => {
                attributes.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
                let axes = integers("axes").unwrap_or_default();
                return self.mean(node, output, &source, &axes, attributes.int("keepdims", 1) != 0).map(Some);
            }
            "Gemm" => return self.gemm(node, output, &inputs).map(Some),
            "MatMul" => return self.matmul(node, output, &inputs).map(Some),
            "Mul" | "Add" | "Sub" | "Div" => return self.per_channel(node, output, &inputs),
            _ => return Ok(None),
        };
        let to = to.ok_or_else(|| format!("how it changes the shape {from:?} does not follow from the file"))?;
        Ok(Some(View { id: source.id, dims: Some(to) }))
    }

    /// The mean over height and width, however the plane is laid out by now.
    fn mean(
        &mut self,
        node: &NodeProto,
        output: &str,
        source: &View,
        axes: &[i64],
        keeps: bool,
    ) -> Result<View, String> {
        let from = self.dims(source).unwrap_or_default();
        let rank = from.len() as i64;
        let mut axes: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis + rank } else { axis }).collect();
        axes.sort_unstable();
        let own: Vec<usize> = self.graph.value(source.id).shape.iter().filter_map(Dim::fixed).collect();
        let whole = match (&own[..], &axes[..]) {
            ([..], [2, 3]) => own.len() == 4 && own == from,
            (&[batch, channels, height, width], [2]) => {
                height.checked_mul(width).is_some_and(|plane| from == [batch, channels, plane])
            }
            _ => false,
        };
        if !whole {
            return Err("it takes the mean over something else than height and width".into());
        }
        let id = self.add(node, output, Op::GlobalAveragePool, &[source.id]).map_err(|error| error.to_string())?;
        let kept = |axis: &usize| keeps || !axes.contains(&(*axis as i64));
        let extent = |axis: usize| if axes.contains(&(axis as i64)) { 1 } else { from[axis] };
        Ok(View { id, dims: Some((0..from.len()).filter(kept).map(extent).collect()) })
    }

    /// alpha x W + beta b (ONNX Gemm-13), as x W'^T + b'.
    fn gemm(&mut self, node: &NodeProto, output: &str, inputs: &[&str]) -> Result<View, String> {
        let attributes = Attributes(&node.attribute);
        attributes.only(&["alpha", "beta", "transA", "transB"])?;
        let factor = |name: &str| attributes.get(name).map_or(1.0, |a| f64::from(a.f));
        if attributes.int("transA", 0) != 0 {
            return Err("it transposes what it computes on".into());
        }
        let transposed = attributes.int("transB", 0) != 0;
        let &[data, weight, ref rest @ ..] = inputs else { return Err("it has no weight".into()) };
        let bias = rest.first().copied();
        self.linear(node, output, data, (weight, transposed, factor("alpha")), (bias, factor("beta")))
    }

    /// x W with W `[in, out]`.
    fn matmul(&mut self, node: &NodeProto, output: &str, inputs: &[&str]) -> Result<View, String> {
        let &[data, weight] = inputs else { return Err("it should have two operands".into()) };
        self.linear(node, output, data, (weight, false, 1.0), (None, 1.0))
    }

    /// A linear layer: factor x W^T, W `[out, in]` where it is `transposed`, and a bias times its factor.
    fn linear(
        &mut self,
        node: &NodeProto,
        output: &str,
        data: &str,
        (weight, transposed, alpha): (&str, bool, f64),
        (bias, beta): (Option<&str>, f64),
    ) -> Result<View, String> {
        let data = self.data(node, data)?;
        let parameter = self.parameter(weight)?;
        let element = self.graph.value(parameter).element;
        let (numbers, dims) = self.numbers(weight)?;
        let &[rows, columns] = &dims[..] else { return Err(format!("its weight has the shape {dims:?}")) };
        let (out, inner) = if transposed { (rows, columns) } else { (columns, rows) };
        let weight_id = if transposed && alpha == 1.0 {
            parameter
        } else {
            let at = |place: usize| match transposed {
                true => numbers[place],
                false => numbers[place % inner * out + place / inner],
            };
            let numbers = (0..out * inner).map(|place| alpha * at(place)).collect();
            self.computed(&format!("{weight}/linear"), &[out, inner], numbers, element)
        };
        let is_plain = |name: &str| beta == 1.0 && self.constants.get(name).is_some_and(|t| t.dims == [out as i64]);
        let bias_id = match bias {
            Some(name) if is_plain(name) => self.parameter(name)?,
            Some(name) => {
                let numbers =
                    self.spread(name, out, 2)?.ok_or_else(|| format!("'{name}' is no bias for {out} outputs"))?;
                let numbers = numbers.into_iter().map(|n| beta * n).collect();
                self.computed(&format!("{name}/bias"), &[out], numbers, element)
            }
            None => self.computed(&format!("{weight}/bias"), &[out], vec![0.0; out], element),
        };
        let id = self.add(node, output, Op::Gemm, &[data, weight_id, bias_id]).map_err(|error| error.to_string())?;
        Ok(View { id, dims: None })
    }

    /// The constant `name` as a number for each of `channels` of a value of rank `rank`; `None` where it varies otherwise.
    fn spread(&self, name: &str, channels: usize, rank: usize) -> Result<Option<Vec<f64>>, String> {
        let (numbers, dims) = self.numbers(name)?;
        if let &[number] = &numbers[..] {
            return Ok((dims.len() <= rank).then(|| vec![number; channels]));
        }
        // Aligned at the last axis, all extents but the channels' must be 1.
        let axis = dims.len().checked_sub(rank - 1);
        let fits = axis.is_some_and(|axis| {
            dims.len() <= rank && dims.iter().enumerate().all(|(at, &n)| n == if at == axis { channels } else { 1 })
        });
        Ok(fits.then_some(numbers))
    }

    /// Arithmetic with a constant for each channel: a normalisation without statistics, or the bias of a linear layer.
    fn per_channel(&mut self, node: &NodeProto, output: &str, inputs: &[&str]) -> Result<Option<View>, String> {
        let &[first, second] = inputs else { return Ok(None) };
        let is_constant = |name: &str| self.constants.get(name).is_some();
        let op = node.op_type.as_str();
        let (data, constant) = match (is_constant(first), is_constant(second)) {
            (false, true) => (first, second),
            (true, false) if matches!(op, "Mul" | "Add") => (second, first),
            _ => return Ok(None),
        };
        let data_id = self.data(node, data)?;
        let shape = self.graph.value(data_id).shape.clone();
        let channels = shape.get(1).and_then(Dim::fixed).ok_or("it has no channels")?;
        let numbers = self.spread(constant, channels, shape.len())?;
        let numbers = numbers.ok_or_else(|| format!("'{constant}' is not one number a channel"))?;
        let (scale, bias) = match op {
            "Mul" => (numbers, vec![0.0; channels]),
            "Div" => (numbers.iter().map(|n| 1.0 / n).collect(), vec![0.0; channels]),
            "Sub" => (vec![1.0; channels], numbers.iter().map(|n| -n).collect()),
            _ => (vec![1.0; channels], numbers),
        };
        if shape.len() == 2 {
            return self.add_to_bias(data_id, &scale, &bias).map(Some);
        }
        let element = self.graph.value(data_id).element;
        let stem = label(node);
        let mut constant =
            |part: &str, numbers| self.computed(&format!("{stem}/{part}"), &[channels], numbers, element);
        let parameters = [
            constant("scale", scale),
            constant("bias", bias),
            constant("mean", vec![0.0; channels]),
            constant("variance", vec![1.0; channels]),
        ];
        let operands = [&[data_id][..], &parameters].concat();
        let norm = Op::BatchNorm { epsilon: 0.0 };
        let id = self.add(node, output, norm, &operands).map_err(|error| error.to_string())?;
        Ok(Some(View { id, dims: None }))
    }

    /// Adds `bias` to that of the linear layer that makes the value `id`, where nothing else computes on it.
    fn add_to_bias(&mut self, id: ValueId, scale: &[f64], bias: &[f64]) -> Result<View, String> {
        let layer = self.graph.nodes.iter().rposition(|made| made.output == id && made.op == Op::Gemm);
        let layer = layer.filter(|_| !self.is_shared(id) && scale.iter().all(|s| *s == 1.0));
        let layer = layer.ok_or("it does not follow a linear layer whose bias it could be")?;
        let old = self.graph.nodes[layer].inputs[2];
        let (old, element) = (self.graph.value(old).name.clone(), self.graph.value(old).element);
        let (numbers, _) = self.numbers(&old)?;
        let sum = numbers.iter().zip(bias).map(|(a, b)| a + b).collect();
        self.graph.nodes[layer].inputs[2] = self.computed(&format!("{old}/sum"), &[bias.len()], sum, element);
        Ok(View { id, dims: None })
    }
}

/// `from` with its axes in another order that leaves the elements where they are: only extents of 1 pass others.
fn moved(from: &[usize], order: &[i64]) -> Option<Vec<usize>> {
    let order: Vec<usize> = order.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let long: Vec<usize> = order.iter().copied().filter(|&axis| from.get(axis).is_some_and(|n| *n != 1)).collect();
    let stays = sorted.iter().copied().eq(0..from.len()) && long.is_sorted();
    stays.then(|| order.iter().map(|&axis| from[axis]).collect())
}
