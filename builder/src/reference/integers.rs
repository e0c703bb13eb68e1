//! The operators of quantized graphs, as ONNX specifies them.

use ndarray::{ArrayD, Axis, concatenate};
use onnx_file::element::ElementType;

/// One number, or one for each index along a dimension.
fn at(numbers: &[f64], index: usize) -> f64 {
    if numbers.len() == 1 { numbers[0] } else { numbers.get(index).copied().unwrap_or(0.0) }
}

/// QuantizeLinear-13: x / scale rounded half to even, plus the zero point, saturated; `parameters` are scales and zero
/// points.
pub(super) fn quantize(x: &ArrayD<f64>, parameters: &[Vec<f64>], axis: usize, made: ElementType) -> ArrayD<f64> {
    let (least, most) = if made == ElementType::I8 { (-128.0, 127.0) } else { (0.0, 255.0) };
    by_index(x, parameters, axis, |x, scale, zero| ((x / scale).round_ties_even() + zero).clamp(least, most))
}

/// DequantizeLinear-13: (x - zero point) * scale, in f32, the type of the scale.
pub(super) fn dequantize(x: &ArrayD<f64>, parameters: &[Vec<f64>], axis: usize) -> ArrayD<f64> {
    by_index(x, parameters, axis, |x, scale, zero| f64::from(((x - zero) * scale) as f32))
}

/// Applies `convert` to every element with the scale and the zero point of its index along `axis`.
fn by_index(
    x: &ArrayD<f64>,
    parameters: &[Vec<f64>],
    axis: usize,
    convert: impl Fn(f64, f64, f64) -> f64,
) -> ArrayD<f64> {
    let scales = &parameters[0][..];
    let zeros = parameters.get(1).map_or(&[0.0][..], Vec::as_slice);
    if scales.len() == 1 {
        return x.mapv(|x| convert(x, scales[0], at(zeros, 0)));
    }
    let mut result = x.clone();
    for (index, mut part) in result.axis_iter_mut(Axis(axis)).enumerate() {
        part.mapv_inplace(|x| convert(x, at(scales, index), at(zeros, index)));
    }
    result
}

/// More channels of one number behind those of `x`.
pub(super) fn pad(x: &ArrayD<f64>, channels: usize, fill: f64) -> ArrayD<f64> {
    let mut shape = x.shape().to_vec();
    shape[1] = channels;
    let more = ArrayD::from_elem(shape, fill);
    concatenate(Axis(1), &[x.view(), more.view()]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64]) -> ArrayD<f64> {
        ArrayD::from_shape_vec(vec![1, values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn halves_go_to_the_even_side_and_what_is_beyond_saturates() {
        let x = row(&[-1e9, -0.5, 0.5, 1.5, 2.5, 3.0, 1e9]);
        let parameters = [vec![1.0], vec![10.0]];
        let unsigned = quantize(&x, &parameters, 1, ElementType::U8);
        assert_eq!(unsigned, row(&[0.0, 10.0, 10.0, 12.0, 12.0, 13.0, 255.0]));
        let signed = quantize(&x, &parameters, 1, ElementType::I8);
        assert_eq!((signed[[0, 0]], signed[[0, 6]]), (-128.0, 127.0));
    }

    #[test]
    fn each_index_along_the_axis_has_its_scale_and_zero_point() {
        let x = row(&[3.0, 3.0, 3.0]);
        let found = dequantize(&x, &[vec![1.0, 0.5, 2.0], vec![0.0, 1.0, 4.0]], 1);
        assert_eq!(found, row(&[3.0, 1.0, -2.0]));
        assert_eq!(dequantize(&x, &[vec![0.5]], 0), row(&[1.5; 3]), "a zero point left out is 0");
        assert_eq!(pad(&x, 2, 7.0), row(&[3.0, 3.0, 3.0, 7.0, 7.0]));
    }
}
