//! One node on constants, as onnxruntime computes it: each result is rounded to its type.

use std::collections::HashMap;

use ndarray::{ArrayD, Axis, IxDyn, Slice, Zip};
use onnx_file::element::ElementType;
use onnx_file::proto::{AttributeProto, NodeProto, TensorProto};
use onnx_file::tensor;

use super::known::Known;
use crate::weight::to_half;

/// What `node` makes, in at most `most` bytes; `None` for what is not understood or does not follow from constants.
pub(super) fn compute(
    node: &NodeProto,
    tensors: &HashMap<String, TensorProto>,
    known: &dyn Fn(&str) -> Known,
    most: u64,
) -> Option<TensorProto> {
    let stored = |index: usize| node.input.get(index).and_then(|name| tensors.get(name));
    match node.op_type.as_str() {
        "Constant" if node.input.is_empty() => return literal(&node.attribute),
        "Identity" | "Dropout" => return stored(0).cloned(),
        "Shape" => return shape(node, tensors, known),
        _ => {}
    }
    // The second operand of CastLike lends its type alone.
    let values = if node.op_type == "CastLike" { 1 } else { node.input.len() };
    let mut operands = Vec::new();
    for name in &node.input[..values.min(node.input.len())] {
        operands.push(if name.is_empty() { None } else { Some(Value::read(tensors.get(name)?)?) });
    }
    if values == 1 && node.op_type == "CastLike" {
        let like = node.input.get(1)?;
        let element = tensors.get(like).map(|t| ElementType::from_proto(t.data_type)).unwrap_or(known(like).element);
        return Some(cast(operands.first()?.as_ref()?, element?).write());
    }
    let call = Call { attributes: &node.attribute, operands: &operands, most };
    Some(call.run(&node.op_type)?.write())
}

/// The integers that `tensor` holds.
pub(super) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let value = Value::read(tensor).filter(|value| !value.element.is_float())?;
    Some(value.numbers.iter().map(|&n| n as i64).collect())
}

/// The tensor in a Constant node.
fn literal(attributes: &[AttributeProto]) -> Option<TensorProto> {
    let [attribute] = attributes else { return None };
    let of = |element, dims: &[usize], numbers: Vec<f64>| Some(Value::new(element, dims, numbers)?.write());
    let (floats, ints) = (&attribute.floats, &attribute.ints);
    match attribute.name.as_str() {
        "value" => attribute.t.clone(),
        "value_float" => of(ElementType::F32, &[], vec![attribute.f.into()]),
        "value_int" => of(ElementType::I64, &[], vec![attribute.i as f64]),
        "value_floats" => of(ElementType::F32, &[floats.len()], floats.iter().map(|&f| f.into()).collect()),
        "value_ints" => of(ElementType::I64, &[ints.len()], ints.iter().map(|&i| i as f64).collect()),
        _ => None,
    }
}

fn shape(
    node: &NodeProto,
    tensors: &HashMap<String, TensorProto>,
    known: &dyn Fn(&str) -> Known,
) -> Option<TensorProto> {
    let name = node.input.first()?;
    let constant = tensors.get(name).map(|t| t.dims.iter().filter_map(|&d| usize::try_from(d).ok()).collect());
    let dims: Vec<usize> = constant.or_else(|| known(name).shape)?;
    let rank = dims.len() as i64;
    let attribute = |name: &str, default: i64| {
        let given = node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.i);
        (if given < 0 { given + rank } else { given }).clamp(0, rank) as usize
    };
    let part = dims.get(attribute("start", 0)..attribute("end", rank))?;
    Some(Value::new(ElementType::I64, &[part.len()], part.iter().map(|&d| d as f64).collect())?.write())
}

/// Numbers and their type. f64 holds all that occurs: integers beyond 2^53 stand for "to the end" in slices.
#[derive(Clone)]
struct Value {
    element: ElementType,
    numbers: ArrayD<f64>,
}

impl Value {
    fn new(element: ElementType, dims: &[usize], numbers: Vec<f64>) -> Option<Self> {
        Some(Self { element, numbers: ArrayD::from_shape_vec(IxDyn(dims), numbers).ok()? })
    }

    fn read(tensor: &TensorProto) -> Option<Self> {
        let (element, ..) = tensor::extent(tensor).ok()?;
        let dims: Vec<usize> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        Self::new(element, &dims, tensor::to_f64(tensor).ok()?)
    }

    /// As a tensor without a name, its numbers rounded to their type.
    fn write(&self) -> TensorProto {
        let mut raw = Vec::with_capacity(self.numbers.len() * self.element.size());
        for &n in &self.numbers {
            match self.element {
                ElementType::F32 => raw.extend((n as f32).to_le_bytes()),
                ElementType::F64 => raw.extend(n.to_le_bytes()),
                ElementType::F16 => raw.extend(to_half(n).to_le_bytes()),
                ElementType::BF16 => raw.extend(half::bf16::from_f64(n).to_le_bytes()),
                ElementType::I64 => raw.extend((n as i64).to_le_bytes()),
                ElementType::U64 => raw.extend((n as u64).to_le_bytes()),
                ElementType::I32 => raw.extend((n as i32).to_le_bytes()),
                ElementType::U32 => raw.extend((n as u32).to_le_bytes()),
                ElementType::I16 => raw.extend((n as i16).to_le_bytes()),
                ElementType::U16 => raw.extend((n as u16).to_le_bytes()),
                ElementType::I8 => raw.extend((n as i8).to_le_bytes()),
                ElementType::U8 => raw.push(n as u8),
                ElementType::Bool => raw.push(u8::from(n != 0.0)),
            }
        }
        TensorProto {
            data_type: self.element.to_proto(),
            dims: self.numbers.shape().iter().map(|&n| n as i64).collect(),
            raw_data: raw.into(),
            ..Default::default()
        }
    }

    /// Its numbers as integers.
    fn ints(&self) -> Vec<i64> {
        self.numbers.iter().map(|&n| n as i64).collect()
    }

    fn with(&self, numbers: ArrayD<f64>) -> Self {
        Self { element: self.element, numbers }
    }

    fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        Self::new(self.element, dims, self.numbers.iter().copied().collect())
    }
}

/// A node's operator on its operands.
struct Call<'a> {
    attributes: &'a [AttributeProto],
    operands: &'a [Option<Value>],
    most: u64,
}

impl Call<'_> {
    fn run(&self, op: &str) -> Option<Value> {
        if op == "ConstantOfShape" {
            let value = self.attribute("value").and_then(|a| a.t.as_ref()).map_or_else(
                || Value::new(ElementType::F32, &[1], vec![0.0]),
                |tensor| Value::read(tensor).filter(|value| value.numbers.len() == 1),
            )?;
            let dims = self.dims(0)?;
            self.affordable(&dims, value.element)?;
            return Some(value.with(ArrayD::from_elem(IxDyn(&dims), *value.numbers.first()?)));
        }
        let x = self.operands.first()?.as_ref()?;
        match op {
            "Cast" => Some(cast(x, ElementType::from_proto(i32::try_from(self.attribute("to")?.i).ok()?)?)),
            "DequantizeLinear" => self.dequantized(x),
            "Transpose" => self.transposed(x),
            "Reshape"
                if self.attribute("allowzero").is_none_or(|a| a.i == 0) || !self.ints("shape", 1)?.contains(&0) =>
            {
                x.reshaped(&reshape(x.numbers.shape(), &self.ints("shape", 1)?)?)
            }
            "Flatten" => {
                let axis = axis(self.attribute("axis").map_or(1, |a| a.i), x.numbers.ndim() + 1)?;
                let (outer, inner) = x.numbers.shape().split_at(axis);
                x.reshaped(&[outer.iter().product(), inner.iter().product()])
            }
            "Squeeze" => x.reshaped(&squeeze(x.numbers.shape(), self.ints("axes", 1).as_deref())?),
            "Unsqueeze" => x.reshaped(&unsqueeze(x.numbers.shape(), &self.ints("axes", 1)?)?),
            "Expand" => {
                let dims = common(x.numbers.shape(), &self.dims(1)?)?;
                self.affordable(&dims, x.element)?;
                Some(x.with(x.numbers.broadcast(IxDyn(&dims))?.to_owned()))
            }
            "Concat" => self.joined(x),
            "Gather" => self.gathered(x),
            "Slice" => self.sliced(x),
            "Neg" => Some(x.with(x.numbers.mapv(|n| -n))),
            "Abs" => Some(x.with(x.numbers.mapv(f64::abs))),
            "Sqrt" if x.element.is_float() => Some(x.with(x.numbers.mapv(f64::sqrt))),
            "Reciprocal" if x.element.is_float() => Some(x.with(x.numbers.mapv(f64::recip))),
            "Add" => self.binary(x, |a, b| a + b),
            "Sub" => self.binary(x, |a, b| a - b),
            "Mul" => self.binary(x, |a, b| a * b),
            "Div" if x.element.is_float() => self.binary(x, |a, b| a / b),
            "Div" => self.binary(x, |a, b| if b == 0.0 { 0.0 } else { (a / b).trunc() }),
            _ => None,
        }
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|a| a.name == name)
    }

    /// Integers that newer operator sets take as an operand and older ones as an attribute.
    fn ints(&self, name: &str, operand: usize) -> Option<Vec<i64>> {
        let given = self.operands.get(operand).and_then(Option::as_ref).map(Value::ints);
        given.or_else(|| self.attribute(name).map(|a| a.ints.clone()))
    }

    /// Extents given as an operand.
    fn dims(&self, operand: usize) -> Option<Vec<usize>> {
        let ints = self.operands.get(operand)?.as_ref()?.ints();
        ints.into_iter().map(|n| usize::try_from(n).ok()).collect()
    }

    /// Refuses what would take more memory than is left.
    fn affordable(&self, dims: &[usize], element: ElementType) -> Option<()> {
        let bytes = dims.iter().fold(8.max(element.size()) as u64, |n, &dim| n.saturating_mul(dim as u64));
        (bytes <= self.most).then_some(())
    }

    fn binary(&self, x: &Value, op: impl Fn(f64, f64) -> f64) -> Option<Value> {
        let y = self.operands.get(1)?.as_ref().filter(|y| y.element == x.element)?;
        let dims = common(x.numbers.shape(), y.numbers.shape())?;
        self.affordable(&dims, x.element)?;
        let (a, b) = (x.numbers.broadcast(IxDyn(&dims))?, y.numbers.broadcast(IxDyn(&dims))?);
        Some(x.with(Zip::from(a).and(b).map_collect(|&a, &b| op(a, b))))
    }

    /// (x - zero point) * scale, by tensor or by channel.
    fn dequantized(&self, x: &Value) -> Option<Value> {
        if self.attribute("block_size").is_some_and(|a| a.i != 0) || x.element.is_float() {
            return None;
        }
        let scale = self.operands.get(1)?.as_ref()?;
        let zero = self.operands.get(2).and_then(Option::as_ref);
        let rank = x.numbers.ndim();
        let along = |value: &Value| -> Option<ArrayD<f64>> {
            if value.numbers.len() == 1 {
                return Some(ArrayD::from_elem(IxDyn(&vec![1; rank]), *value.numbers.first()?));
            }
            let axis = axis(self.attribute("axis").map_or(1, |a| a.i), rank)?;
            let mut dims = vec![1; rank];
            dims[axis] = *x.numbers.shape().get(axis).filter(|n| **n == value.numbers.len())?;
            ArrayD::from_shape_vec(IxDyn(&dims), value.numbers.iter().copied().collect()).ok()
        };
        let scales = along(scale)?;
        let zeros = zero.map_or(Some(ArrayD::zeros(IxDyn(&vec![1; rank]))), along)?;
        self.affordable(x.numbers.shape(), scale.element)?;
        let (scales, zeros) = (scales.broadcast(x.numbers.raw_dim())?, zeros.broadcast(x.numbers.raw_dim())?);
        Some(
            scale
                .with(Zip::from(&x.numbers).and(zeros).and(scales).map_collect(|&x, &zero, &scale| (x - zero) * scale)),
        )
    }

    fn transposed(&self, x: &Value) -> Option<Value> {
        let rank = x.numbers.ndim();
        let order = match self.attribute("perm") {
            Some(perm) => perm.ints.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..rank) {
            return None;
        }
        let turned = x.numbers.view().permuted_axes(IxDyn(&order));
        Value::new(x.element, turned.shape(), turned.iter().copied().collect())
    }

    fn joined(&self, first: &Value) -> Option<Value> {
        let axis = axis(self.attribute("axis")?.i, first.numbers.ndim())?;
        let parts = self.operands.iter().map(|part| Some(part.as_ref()?.numbers.view())).collect::<Option<Vec<_>>>()?;
        Some(first.with(ndarray::concatenate(Axis(axis), &parts).ok()?))
    }

    fn gathered(&self, x: &Value) -> Option<Value> {
        let axis = axis(self.attribute("axis").map_or(0, |a| a.i), x.numbers.ndim())?;
        let indices = self.operands.get(1)?.as_ref()?;
        let extent = x.numbers.shape()[axis] as i64;
        let wrapped = indices.ints().into_iter().map(|n| if n < 0 { n + extent } else { n });
        let places =
            wrapped.map(|n| usize::try_from(n).ok().filter(|n| (*n as i64) < extent)).collect::<Option<Vec<_>>>()?;
        let mut dims = x.numbers.shape().to_vec();
        dims.splice(axis..=axis, indices.numbers.shape().iter().copied());
        self.affordable(&dims, x.element)?;
        x.with(x.numbers.select(Axis(axis), &places)).reshaped(&dims)
    }

    fn sliced(&self, x: &Value) -> Option<Value> {
        let (starts, ends) = (self.ints("starts", 1)?, self.ints("ends", 2)?);
        let axes = self.ints("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints("steps", 4).unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.iter().any(|step| *step != 1) {
            return None;
        }
        let mut part = x.numbers.clone();
        for ((start, end), at) in starts.into_iter().zip(ends).zip(axes) {
            let at = axis(at, part.ndim())?;
            let extent = part.shape()[at] as i64;
            let bound = |n: i64| (if n < 0 { n.saturating_add(extent) } else { n }).clamp(0, extent) as isize;
            let (start, end) = (bound(start), bound(end));
            part = part.slice_axis(Axis(at), Slice::new(start, Some(end.max(start)), 1)).to_owned();
        }
        Some(x.with(part))
    }
}

/// To another type; fractions go where integers are made.
fn cast(x: &Value, element: ElementType) -> Value {
    let numbers =
        if element.is_float() || element == ElementType::Bool { x.numbers.clone() } else { x.numbers.mapv(f64::trunc) };
    Value { element, numbers }
}

/// An axis counted from the front.
fn axis(given: i64, rank: usize) -> Option<usize> {
    let front = if given < 0 { given + rank as i64 } else { given };
    usize::try_from(front).ok().filter(|axis| *axis < rank)
}

/// The shape that both broadcast to.
fn common(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (1, other) | (other, 1) => Some(other),
            (one, other) => (one == other).then_some(one),
        })
        .collect()
}

/// The extents that Reshape gives `from`: 0 takes over, -1 follows from the others.
pub(crate) fn reshape(from: &[usize], to: &[i64]) -> Option<Vec<usize>> {
    let all = from.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    let mut open = None;
    let mut dims = Vec::new();
    for (axis, &extent) in to.iter().enumerate() {
        dims.push(match extent {
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            0 => *from.get(axis)?,
            extent => usize::try_from(extent).ok()?,
        });
    }
    let given = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    match open {
        Some(axis) if given > 0 && all % given == 0 => dims[axis] = all / given,
        Some(_) => return None,
        None => {}
    }
    (dims.iter().product::<usize>() == all).then_some(dims)
}

/// The extents that Squeeze leaves: without `axes`, all but those of 1.
pub(crate) fn squeeze(from: &[usize], axes: Option<&[i64]>) -> Option<Vec<usize>> {
    let gone: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&at| axis(at, from.len())).collect::<Option<_>>()?,
        None => (0..from.len()).filter(|&at| from[at] == 1).collect(),
    };
    if gone.iter().any(|&at| from[at] != 1) {
        return None;
    }
    Some(from.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, &extent)| extent).collect())
}

/// The extents after Unsqueeze.
pub(crate) fn unsqueeze(from: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
    let rank = from.len() + axes.len();
    let new: Vec<usize> = axes.iter().map(|&at| axis(at, rank)).collect::<Option<_>>()?;
    let mut old = from.iter();
    let dims: Vec<usize> =
        (0..rank).filter_map(|at| if new.contains(&at) { Some(1) } else { old.next().copied() }).collect();
    (dims.len() == rank && old.next().is_none()).then_some(dims)
}
