//! What each operator makes of its operands' shapes.

use onnx_file::element::ElementType;

use crate::graph::op::{Conv, Dim, Op, Pool, Shape, Value};

/// Operands that an operator cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node '{node}' ({op}): {reason}")]
pub struct ShapeError {
    /// The node.
    pub node: String,
    /// Its operator.
    pub op: &'static str,
    /// What does not fit.
    pub reason: String,
}

/// The shape of the value that `op` makes of `operands`.
///
/// # Errors
/// [`ShapeError`] if their number, ranks or extents do not fit the operator.
pub fn infer(node: &str, op: &Op, operands: &[&Value]) -> Result<Shape, ShapeError> {
    let shapes: Vec<&Shape> = operands.iter().map(|v| &v.shape).collect();
    infer_shapes(op, &shapes).map_err(|reason| ShapeError { node: node.into(), op: op.name(), reason })
}

/// The type of the value that `op` makes of `operands`: that of the first, but where integers are made or read.
pub fn element(op: &Op, operands: &[&Value]) -> ElementType {
    let operand = |index: usize| operands.get(index).map(|value| value.element);
    match op {
        Op::QuantizeLinear { .. } => operand(2).unwrap_or(ElementType::U8),
        Op::DequantizeLinear { .. } => operand(1).unwrap_or(ElementType::F32),
        _ => operand(0).unwrap_or(ElementType::F32),
    }
}

fn infer_shapes(op: &Op, shapes: &[&Shape]) -> Result<Shape, String> {
    match op {
        Op::Conv(conv) => infer_conv(conv, shapes),
        Op::BatchNorm { .. } => {
            let [data, parameters @ ..] = exactly::<5>(shapes)?;
            let channels = channels(data)?;
            for parameter in parameters {
                expect(parameter, &[channels])?;
            }
            Ok(data.clone())
        }
        Op::Relu | Op::Cast => Ok(exactly::<1>(shapes)?[0].clone()),
        Op::QuantizeLinear { axis } | Op::DequantizeLinear { axis } => infer_scaled(*axis, shapes),
        Op::Slice { start, len } => {
            let data = exactly::<4>(shapes)?[0];
            let channels = channels(data)?;
            if *len == 0 || start.checked_add(*len).is_none_or(|end| end > channels) {
                return Err(format!("takes {len} channels from {start} on of {channels}"));
            }
            Ok(with_channels(data, *len))
        }
        Op::Pad { channels: more } => {
            let data = exactly::<3>(shapes)?[0];
            Ok(with_channels(data, channels(data)?.checked_add(*more).ok_or("has too many channels")?))
        }
        Op::Clip => {
            let [data, bounds @ ..] = exactly::<3>(shapes)?;
            bounds.iter().try_for_each(|bound| expect(bound, &[]))?;
            Ok(data.clone())
        }
        Op::Add => same(&exactly::<2>(shapes)?),
        Op::Sum => same(shapes),
        Op::Concat => infer_concat(shapes),
        Op::MaxPool(pool) => infer_pool(pool, exactly::<1>(shapes)?[0]),
        Op::GlobalAveragePool => match exactly::<1>(shapes)?[0].as_slice() {
            [n, c, _, _] => Ok(vec![n.clone(), c.clone(), Dim::Fixed(1), Dim::Fixed(1)]),
            other => Err(format!("takes [N, C, H, W], not rank {}", other.len())),
        },
        Op::Flatten => match exactly::<1>(shapes)?[0].as_slice() {
            [n, c, Dim::Fixed(1), Dim::Fixed(1)] => Ok(vec![n.clone(), c.clone()]),
            _ => Err("takes [N, C, 1, 1]".into()),
        },
        Op::Gemm => {
            let [data, weight, bias] = exactly::<3>(shapes)?;
            let [n, features] = data.as_slice() else { return Err("takes [N, features]".into()) };
            let [out, inner] = fixed_dims::<2>(weight)?;
            if features.fixed() != Some(inner) {
                return Err(format!("has weights for {inner} features and is given {features}"));
            }
            expect(bias, &[out])?;
            Ok(vec![n.clone(), Dim::Fixed(out)])
        }
    }
}

fn infer_conv(conv: &Conv, shapes: &[&Shape]) -> Result<Shape, String> {
    let (data, weight, bias) = match shapes {
        [data, weight] => (data, weight, None),
        [data, weight, bias] => (data, weight, Some(bias)),
        _ => return Err(format!("takes 2 or 3 operands, not {}", shapes.len())),
    };
    let [n, _, height, width] = data.as_slice() else { return Err("takes [N, C, H, W]".into()) };
    let channels = channels(data)?;
    let [out, per_group, kernel_height, kernel_width] = fixed_dims::<4>(weight)?;
    let group = conv.group;
    if group == 0 || per_group * group != channels || out % group != 0 {
        return Err(format!(
            "{channels} input and {out} output channels in {group} groups do not go with a weight of {per_group} input channels a group"
        ));
    }
    if conv.kernel != [kernel_height, kernel_width] {
        return Err(format!("kernel {:?} and weight {kernel_height} x {kernel_width} differ", conv.kernel));
    }
    if let Some(bias) = bias {
        expect(bias, &[out])?;
    }
    let extent = |axis: usize| {
        let reach = conv.dilation[axis] * (conv.kernel[axis] - 1) + 1;
        [reach, conv.stride[axis], conv.padding[axis] + conv.padding[axis + 2]]
    };
    Ok(vec![n.clone(), Dim::Fixed(out), window(height, extent(0))?, window(width, extent(1))?])
}

/// Data with one scale, or one for each index along `axis`; a zero point, if any, for each scale.
fn infer_scaled(axis: usize, shapes: &[&Shape]) -> Result<Shape, String> {
    let (data, scale, zero) = match shapes {
        [data, scale] => (data, scale, scale),
        [data, scale, zero] => (data, scale, zero),
        _ => return Err(format!("takes 2 or 3 operands, not {}", shapes.len())),
    };
    if scale != zero {
        return Err("takes a scale and a zero point of one shape".into());
    }
    match scale.as_slice() {
        [] | [Dim::Fixed(1)] => Ok((*data).clone()),
        [count] if data.get(axis) == Some(count) => Ok((*data).clone()),
        _ => Err(format!("takes one scale, or one for each index along axis {axis}")),
    }
}

fn with_channels(data: &Shape, channels: usize) -> Shape {
    let mut shape = data.clone();
    shape[1] = Dim::Fixed(channels);
    shape
}

fn infer_pool(pool: &Pool, data: &Shape) -> Result<Shape, String> {
    let [n, c, height, width] = data.as_slice() else { return Err("takes [N, C, H, W]".into()) };
    let extent = |axis: usize| [pool.kernel[axis], pool.stride[axis], pool.padding[axis] + pool.padding[axis + 2]];
    Ok(vec![n.clone(), c.clone(), window(height, extent(0))?, window(width, extent(1))?])
}

fn infer_concat(shapes: &[&Shape]) -> Result<Shape, String> {
    let first = shapes.first().ok_or("takes at least one operand")?;
    let mut total = 0;
    for shape in shapes {
        total += channels(shape)?;
        if shape[..1] != first[..1] || shape[2..] != first[2..] {
            return Err("takes operands that agree in all but their channels".into());
        }
    }
    let mut joined = (*first).clone();
    joined[1] = Dim::Fixed(total);
    Ok(joined)
}

/// Positions of a window: floor((extent + padding - reach) / stride) + 1.
fn window(extent: &Dim, [reach, stride, padding]: [usize; 3]) -> Result<Dim, String> {
    let Some(extent) = extent.fixed() else { return Ok(Dim::Unknown) };
    if stride == 0 || extent + padding < reach {
        return Err(format!("a window of {reach} does not fit {extent} + {padding} of padding; use a larger image"));
    }
    Ok(Dim::Fixed((extent + padding - reach) / stride + 1))
}

fn exactly<'a, const N: usize>(shapes: &[&'a Shape]) -> Result<[&'a Shape; N], String> {
    shapes.try_into().map_err(|_| format!("takes {N} operands, not {}", shapes.len()))
}

fn fixed_dims<const N: usize>(shape: &Shape) -> Result<[usize; N], String> {
    let dims: Option<Vec<usize>> = shape.iter().map(Dim::fixed).collect();
    dims.and_then(|d| d.try_into().ok()).ok_or_else(|| format!("needs a weight of {N} fixed dimensions"))
}

fn expect(shape: &Shape, dims: &[usize]) -> Result<(), String> {
    if shape.iter().map(Dim::fixed).eq(dims.iter().map(|&n| Some(n))) {
        return Ok(());
    }
    let found: Vec<String> = shape.iter().map(Dim::to_string).collect();
    Err(format!("needs a parameter of shape {dims:?}, not [{}]", found.join(", ")))
}

fn channels(shape: &Shape) -> Result<usize, String> {
    shape.get(1).and_then(Dim::fixed).ok_or_else(|| "needs a fixed number of channels".into())
}

fn same(shapes: &[&Shape]) -> Result<Shape, String> {
    match shapes {
        [first, rest @ ..] if rest.iter().all(|s| s == first) => Ok((*first).clone()),
        _ => Err("takes operands of one shape".into()),
    }
}

#[cfg(test)]
mod tests;
