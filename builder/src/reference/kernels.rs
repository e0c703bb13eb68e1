//! The operators, written for reading.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array4, ArrayView3, ArrayViewMut2, Axis, s};

use crate::graph::{Conv, Pool};

/// Grouped convolution: `weight` is `[out, inner, kH, kW]` with `inner` input channels a group. Every window becomes a
/// column, and a group's outputs are its weights times its columns.
pub(super) fn conv(
    x: &Array4<f64>,
    weight: &[f64],
    [out, inner]: [usize; 2],
    bias: Option<&[f64]>,
    conv: &Conv,
) -> Array4<f64> {
    let (images, channels, height, width) = x.dim();
    let reach = |axis: usize| conv.dilation[axis] * (conv.kernel[axis] - 1) + 1;
    let [top, left, bottom, right] = conv.padding;
    let rows = (height + top + bottom - reach(0)) / conv.stride[0] + 1;
    let columns = (width + left + right - reach(1)) / conv.stride[1] + 1;
    let mut padded = Array4::zeros((images, channels, height + top + bottom, width + left + right));
    padded.slice_mut(s![.., .., top..top + height, left..left + width]).assign(x);
    let mut y = Array4::zeros((images, out, rows, columns));
    let per_group = out / conv.group;
    // A convolution of one group is shared out by output channels, so that no processor is idle.
    let share = if conv.group > 1 { per_group } else { out.div_ceil(processors()) };
    let mut tasks = Vec::new();
    for (n, image) in y.axis_iter_mut(Axis(0)).enumerate() {
        for (index, planes) in
            image.into_shape_with_order((out, rows * columns)).into_iter().flat_map(|p| split(p, share))
        {
            tasks.push((n, index, planes));
        }
    }
    in_parallel(tasks, |(n, first, mut planes)| {
        let start = first / per_group * inner;
        let source = padded.slice(s![n, start..start + inner, .., ..]);
        let patches = im2col(&source, conv, [rows, columns]);
        let window = patches.len_of(Axis(0));
        let count = planes.len_of(Axis(0));
        let weights = Array2::from_shape_fn((count, window), |(o, i)| weight[(first + o) * window + i]);
        general_mat_mul(1.0, &weights, &patches, 0.0, &mut planes);
        for (offset, mut plane) in planes.axis_iter_mut(Axis(0)).enumerate() {
            let shift = bias.map_or(0.0, |b| b[first + offset]);
            plane.mapv_inplace(|v| v + shift);
        }
    });
    y
}

/// Chunks of `share` rows, each with the index of its first row.
fn split(rows: ArrayViewMut2<'_, f64>, share: usize) -> Vec<(usize, ArrayViewMut2<'_, f64>)> {
    let mut rest = rows;
    let mut parts = Vec::new();
    let mut first = 0;
    while rest.len_of(Axis(0)) > share {
        let (head, tail) = rest.split_at(Axis(0), share);
        parts.push((first, head));
        first += share;
        rest = tail;
    }
    parts.push((first, rest));
    parts
}

/// Every window of `source` (`[channels, H, W]`, padded) as a column: `[channels * kH * kW, rows * columns]`.
fn im2col(source: &ArrayView3<'_, f64>, conv: &Conv, [rows, columns]: [usize; 2]) -> Array2<f64> {
    let [kernel_height, kernel_width] = conv.kernel;
    let mut patches = Array2::zeros((source.len_of(Axis(0)) * kernel_height * kernel_width, rows * columns));
    for (index, mut row) in patches.axis_iter_mut(Axis(0)).enumerate() {
        let (channel, position) = (index / (kernel_height * kernel_width), index % (kernel_height * kernel_width));
        let (y0, x0) = (position / kernel_width * conv.dilation[0], position % kernel_width * conv.dilation[1]);
        let window = source.slice(s![
            channel,
            y0..y0 + (rows - 1) * conv.stride[0] + 1;conv.stride[0],
            x0..x0 + (columns - 1) * conv.stride[1] + 1;conv.stride[1]
        ]);
        row.iter_mut().zip(&window).for_each(|(patch, value)| *patch = *value);
    }
    patches
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Deals the items to all processors; each is worked on by one thread alone, so results do not depend on their number.
fn in_parallel<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = processors();
    let mut shares: Vec<Vec<T>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, item) in items.into_iter().enumerate() {
        shares[index % threads].push(item);
    }
    std::thread::scope(|scope| {
        for share in shares {
            scope.spawn(|| share.into_iter().for_each(&work));
        }
    });
}

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias, a channel at a time.
pub(super) fn batch_norm(mut x: Array4<f64>, [scale, bias, mean, variance]: [&[f64]; 4], epsilon: f64) -> Array4<f64> {
    for (c, mut plane) in x.axis_iter_mut(Axis(1)).enumerate() {
        let deviation = (variance[c] + epsilon).sqrt();
        plane.mapv_inplace(|v| (v - mean[c]) / deviation * scale[c] + bias[c]);
    }
    x
}

/// Maximum over windows; padding never wins.
pub(super) fn max_pool(x: &Array4<f64>, pool: &Pool) -> Array4<f64> {
    let (images, channels, height, width) = x.dim();
    let [top, left, bottom, right] = pool.padding;
    let rows = (height + top + bottom - pool.kernel[0]) / pool.stride[0] + 1;
    let columns = (width + left + right - pool.kernel[1]) / pool.stride[1] + 1;
    Array4::from_shape_fn((images, channels, rows, columns), |(n, c, row, column)| {
        let mut best = f64::NEG_INFINITY;
        for ky in 0..pool.kernel[0] {
            for kx in 0..pool.kernel[1] {
                let (y, z) = (row * pool.stride[0] + ky, column * pool.stride[1] + kx);
                if (top..top + height).contains(&y) && (left..left + width).contains(&z) {
                    best = best.max(x[[n, c, y - top, z - left]]);
                }
            }
        }
        best
    })
}

/// Means over H and W: `[N, C]`.
pub(super) fn global_average(x: &Array4<f64>) -> Array2<f64> {
    let (images, channels, height, width) = x.dim();
    Array2::from_shape_fn((images, channels), |(n, c)| x.slice(s![n, c, .., ..]).sum() / (height * width) as f64)
}

/// x W^T + b, with `weight` `[out, in]`.
pub(super) fn gemm(x: &Array2<f64>, weight: &[f64], bias: &[f64]) -> Array2<f64> {
    let features = x.len_of(Axis(1));
    Array2::from_shape_fn((x.len_of(Axis(0)), bias.len()), |(n, o)| {
        let row = &weight[o * features..(o + 1) * features];
        bias[o] + x.row(n).iter().zip(row).map(|(a, b)| a * b).sum::<f64>()
    })
}
