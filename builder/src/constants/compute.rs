//! One node on constants, as onnxruntime computes it: each result is rounded to its type.

use std::collections::HashMap;

use ndarray::{ArrayD, Axis, IxDyn, Slice, Zip};
use onnx_file::element::ElementType;
use onnx_file::proto::{AttributeProto, NodeProto, TensorProto};

use super::account::{Account, TooLarge};
use super::known::Known;
use super::shapes::{axis, common, flatten, reshape, squeeze, unsqueeze};
use super::value::Value;

/// What `node` makes; `None` for what is not understood or does not follow from constants. All memory is taken from
/// `account` beforehand.
///
/// # Errors
///
/// [`TooLarge`] where it is short.
pub(super) fn compute(
    node: &NodeProto,
    tensors: &HashMap<String, TensorProto>,
    known: &dyn Fn(&str) -> Known,
    account: &mut Account,
) -> Result<Option<TensorProto>, TooLarge> {
    let stored = |index: usize| node.input.get(index).and_then(|name| tensors.get(name));
    match node.op_type.as_str() {
        "Constant" if node.input.is_empty() => {
            let literal = literal(&node.attribute);
            literal.iter().for_each(|tensor| account.stored(tensor));
            return Ok(literal);
        }
        "Identity" | "Dropout" => {
            let Some(tensor) = stored(0) else { return Ok(None) };
            account.copy(tensor)?;
            return Ok(Some(tensor.clone()));
        }
        "Shape" => {
            let rank = node.input.first().and_then(|name| tensors.get(name)).map_or(0, |tensor| tensor.dims.len());
            account.work(8 * rank as u64)?;
            let Some(part) = shape(node, tensors, known) else { return Ok(None) };
            account.result(&[part.len()], ElementType::I64)?;
            let value = Value::new(ElementType::I64, &[part.len()], part.iter().map(|&d| d as f64).collect());
            return Ok(value.and_then(|value| value.write()));
        }
        _ => {}
    }
    let Some(most) = operands(&node.op_type) else { return Ok(None) };
    let names = &node.input[..most.min(node.input.len())];
    if !names.iter().all(|name| name.is_empty() || tensors.contains_key(name)) {
        return Ok(None);
    }
    // An operand that is given many times is read once.
    let mut values: HashMap<&str, Value> = HashMap::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let Some(tensor) = tensors.get(name).filter(|_| !values.contains_key(name.as_str())) else { continue };
        account.operand(tensor)?;
        let Some(value) = Value::read(tensor) else { return Ok(None) };
        values.insert(name, value);
    }
    let operands: Vec<Option<&Value>> = names.iter().map(|name| values.get(name.as_str())).collect();
    let like = || {
        let like = node.input.get(1)?;
        tensors.get(like).map_or_else(|| known(like).element, |tensor| ElementType::from_proto(tensor.data_type))
    };
    let call = Call { op: &node.op_type, attributes: &node.attribute, operands: &operands, like: &like };
    let Some((dims, element)) = call.result() else { return Ok(None) };
    account.result(&dims, element)?;
    Ok(call.run(&dims).and_then(|value| value.write()))
}

/// How many operands are read of the operators that are understood.
fn operands(op: &str) -> Option<usize> {
    match op {
        // The second operand of CastLike lends its type alone.
        "ConstantOfShape" | "Cast" | "CastLike" | "Transpose" | "Flatten" | "Neg" | "Abs" | "Sqrt" | "Reciprocal" => {
            Some(1)
        }
        "Reshape" | "Squeeze" | "Unsqueeze" | "Expand" | "Gather" | "Add" | "Sub" | "Mul" | "Div" => Some(2),
        "DequantizeLinear" => Some(3),
        "Slice" => Some(5),
        "Concat" => Some(usize::MAX),
        _ => None,
    }
}

/// The integers that `tensor` holds.
pub(super) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let value = Value::read(tensor).filter(|value| !value.element.is_float())?;
    Some(value.numbers.iter().map(|&n| n as i64).collect())
}

/// The tensor in a Constant node.
fn literal(attributes: &[AttributeProto]) -> Option<TensorProto> {
    let [attribute] = attributes else { return None };
    let of = |element, dims: &[usize], numbers: Vec<f64>| Value::new(element, dims, numbers)?.write();
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

/// The extents that a Shape gives.
fn shape(
    node: &NodeProto,
    tensors: &HashMap<String, TensorProto>,
    known: &dyn Fn(&str) -> Known,
) -> Option<Vec<usize>> {
    let name = node.input.first()?;
    let constant = tensors.get(name).map(|t| t.dims.iter().filter_map(|&d| usize::try_from(d).ok()).collect());
    let dims: Vec<usize> = constant.or_else(|| known(name).shape)?;
    let rank = dims.len() as i64;
    let attribute = |name: &str, default: i64| {
        let given = node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.i);
        (if given < 0 { given + rank } else { given }).clamp(0, rank) as usize
    };
    Some(dims.get(attribute("start", 0)..attribute("end", rank))?.to_vec())
}

/// A node's operator on its operands.
struct Call<'a> {
    op: &'a str,
    attributes: &'a [AttributeProto],
    operands: &'a [Option<&'a Value>],
    /// The type of the operand after those that are read.
    like: &'a dyn Fn() -> Option<ElementType>,
}

impl Call<'_> {
    /// Extents and type of what it makes.
    fn result(&self) -> Option<(Vec<usize>, ElementType)> {
        if self.op == "ConstantOfShape" {
            return Some((self.dims(0)?, self.filling()?.element));
        }
        let x = self.operand(0)?;
        let from = x.numbers.shape();
        let dims = match self.op {
            "Transpose" => self.order(from.len())?.into_iter().map(|axis| from[axis]).collect(),
            "Reshape" => {
                let to = self.ints("shape", 1)?;
                let allowed = self.attribute("allowzero").is_none_or(|a| a.i == 0) || !to.contains(&0);
                reshape(from, &to).filter(|_| allowed)?
            }
            "Flatten" => flatten(from, axis(self.attribute("axis").map_or(1, |a| a.i), from.len() + 1)?)?,
            "Squeeze" => squeeze(from, self.ints("axes", 1).as_deref())?,
            "Unsqueeze" => unsqueeze(from, &self.ints("axes", 1)?)?,
            "Expand" => common(from, &self.dims(1)?)?,
            "Concat" => self.side_by_side(from)?,
            "Gather" => {
                let mut dims = from.to_vec();
                let at = axis(self.attribute("axis").map_or(0, |a| a.i), from.len())?;
                dims.splice(at..=at, self.operand(1)?.numbers.shape().iter().copied());
                dims
            }
            "Add" | "Sub" | "Mul" | "Div" => {
                common(from, self.operand(1).filter(|y| y.element == x.element)?.numbers.shape())?
            }
            // A Slice makes at most this.
            _ => from.to_vec(),
        };
        let element = match self.op {
            "Cast" => ElementType::from_proto(i32::try_from(self.attribute("to")?.i).ok()?)?,
            "CastLike" => (self.like)()?,
            "DequantizeLinear" => self.operand(1)?.element,
            _ => x.element,
        };
        Some((dims, element))
    }

    /// Computes the result, which has the extents `dims`.
    fn run(&self, dims: &[usize]) -> Option<Value> {
        if self.op == "ConstantOfShape" {
            let value = self.filling()?;
            return Some(value.with(ArrayD::from_elem(IxDyn(dims), *value.numbers.first()?)));
        }
        let x = self.operand(0)?;
        match self.op {
            "Cast" | "CastLike" => cast(x, self.result()?.1),
            "DequantizeLinear" => self.dequantized(x),
            "Transpose" => {
                let turned = x.numbers.view().permuted_axes(IxDyn(&self.order(x.numbers.ndim())?));
                Value::new(x.element, turned.shape(), turned.iter().copied().collect())
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => x.reshaped(dims),
            "Expand" => Some(x.with(x.numbers.broadcast(IxDyn(dims))?.to_owned())),
            "Concat" => self.joined(x),
            "Gather" => self.gathered(x, dims),
            "Slice" => self.sliced(x),
            "Neg" => self.unary(x, |n| -n),
            "Abs" => self.unary(x, f64::abs),
            "Sqrt" if x.element.is_float() => self.unary(x, f64::sqrt),
            "Reciprocal" if x.element.is_float() => self.unary(x, f64::recip),
            "Add" => self.binary(x, dims, |a, b| a + b),
            "Sub" => self.binary(x, dims, |a, b| a - b),
            "Mul" => self.binary(x, dims, |a, b| a * b),
            "Div" if x.element.is_float() => self.binary(x, dims, |a, b| a / b),
            // The runtime fails there, or does what the processor does.
            "Div" if self.operand(1)?.numbers.iter().any(|n| *n == 0.0) => None,
            "Div" => self.binary(x, dims, |a, b| (a / b).trunc()),
            _ => None,
        }
    }

    fn operand(&self, index: usize) -> Option<&Value> {
        *self.operands.get(index)?
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|a| a.name == name)
    }

    /// Integers that newer operator sets take as an operand and older ones as an attribute.
    fn ints(&self, name: &str, operand: usize) -> Option<Vec<i64>> {
        let given = self.operand(operand).map(Value::ints);
        given.or_else(|| self.attribute(name).map(|a| a.ints.clone()))
    }

    /// Extents given as an operand.
    fn dims(&self, operand: usize) -> Option<Vec<usize>> {
        let ints = self.operand(operand)?.ints();
        ints.into_iter().map(|n| usize::try_from(n).ok()).collect()
    }

    /// The number that a ConstantOfShape repeats.
    fn filling(&self) -> Option<Value> {
        self.attribute("value").and_then(|a| a.t.as_ref()).map_or_else(
            || Value::new(ElementType::F32, &[1], vec![0.0]),
            |tensor| Value::read(tensor).filter(|value| value.numbers.len() == 1),
        )
    }

    fn unary(&self, x: &Value, op: impl Fn(f64) -> f64) -> Option<Value> {
        exact(x.with(x.numbers.mapv(op)))
    }

    fn binary(&self, x: &Value, dims: &[usize], op: impl Fn(f64, f64) -> f64) -> Option<Value> {
        let y = self.operand(1)?;
        let (a, b) = (x.numbers.broadcast(IxDyn(dims))?, y.numbers.broadcast(IxDyn(dims))?);
        exact(x.with(Zip::from(a).and(b).map_collect(|&a, &b| op(a, b))))
    }

    /// (x - zero point) * scale, by tensor or by channel.
    fn dequantized(&self, x: &Value) -> Option<Value> {
        if self.attribute("block_size").is_some_and(|a| a.i != 0) || x.element.is_float() {
            return None;
        }
        let scale = self.operand(1)?;
        let zero = self.operand(2);
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
        let (scales, zeros) = (scales.broadcast(x.numbers.raw_dim())?, zeros.broadcast(x.numbers.raw_dim())?);
        Some(
            scale
                .with(Zip::from(&x.numbers).and(zeros).and(scales).map_collect(|&x, &zero, &scale| (x - zero) * scale)),
        )
    }

    /// The axes of a Transpose.
    fn order(&self, rank: usize) -> Option<Vec<usize>> {
        let order = match self.attribute("perm") {
            Some(perm) => perm.ints.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..rank).then_some(order)
    }

    /// The extents of a Concat, whose first part has the extents `first`.
    fn side_by_side(&self, first: &[usize]) -> Option<Vec<usize>> {
        let axis = axis(self.attribute("axis")?.i, first.len())?;
        let mut dims = first.to_vec();
        dims[axis] = 0;
        for part in self.operands {
            dims[axis] = dims[axis].checked_add(*part.as_ref()?.numbers.shape().get(axis)?)?;
        }
        Some(dims)
    }

    fn joined(&self, first: &Value) -> Option<Value> {
        let axis = axis(self.attribute("axis")?.i, first.numbers.ndim())?;
        let parts = self.operands.iter().map(|part| Some(part.as_ref()?.numbers.view())).collect::<Option<Vec<_>>>()?;
        Some(first.with(ndarray::concatenate(Axis(axis), &parts).ok()?))
    }

    fn gathered(&self, x: &Value, dims: &[usize]) -> Option<Value> {
        let axis = axis(self.attribute("axis").map_or(0, |a| a.i), x.numbers.ndim())?;
        let indices = self.operand(1)?;
        let extent = x.numbers.shape()[axis] as i64;
        let wrapped = indices.ints().into_iter().map(|n| if n < 0 { n + extent } else { n });
        let places =
            wrapped.map(|n| usize::try_from(n).ok().filter(|n| (*n as i64) < extent)).collect::<Option<Vec<_>>>()?;
        x.with(x.numbers.select(Axis(axis), &places)).reshaped(dims)
    }

    fn sliced(&self, x: &Value) -> Option<Value> {
        let (starts, ends) = (self.ints("starts", 1)?, self.ints("ends", 2)?);
        let axes = self.ints("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints("steps", 4).unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.iter().any(|step| *step != 1) {
            return None;
        }
        let mut part = x.numbers.view();
        for ((start, end), at) in starts.into_iter().zip(ends).zip(axes) {
            let at = axis(at, part.ndim())?;
            let extent = part.shape()[at] as i64;
            let bound = |n: i64| (if n < 0 { n.saturating_add(extent) } else { n }).clamp(0, extent) as isize;
            let (start, end) = (bound(start), bound(end));
            part.slice_axis_inplace(Axis(at), Slice::new(start, Some(end.max(start)), 1));
        }
        Some(x.with(part.to_owned()))
    }
}

/// To another type; fractions go where integers are made.
fn cast(x: &Value, element: ElementType) -> Option<Value> {
    if element.is_float() || element == ElementType::Bool {
        return Some(Value { element, numbers: x.numbers.clone() });
    }
    let numbers = x.numbers.mapv(f64::trunc);
    // The greatest of 64 bits is read as the number after it, which no other type means by it.
    let open = x.element != element && numbers.iter().any(|n| *n >= 2f64.powi(63));
    (!open).then_some(Value { element, numbers })
}

/// What arithmetic makes, unless f64 rounds an integer of it.
fn exact(value: Value) -> Option<Value> {
    let rounded = |n: &f64| n.abs() > 2f64.powi(53);
    (value.element.is_float() || !value.numbers.iter().any(rounded)).then_some(value)
}
