//! The operators that are tried, their inputs, and their results by definition: sums of products, in integers or f64.

use crate::model::tensor::{Data, Tensor};
use crate::stats::random::SplitMix64;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `MatMulInteger` of u8 and s8, and of u8 and u8.
    MatMul {
        /// Whether the weights are signed.
        is_signed: bool,
    },
    /// `ConvInteger`, u8 and s8.
    Integer,
    /// `QLinearConv`, u8 and s8 to u8.
    Linear,
    /// A float convolution between dequantization and quantization, which runtimes fuse.
    Dequantized,
    /// A convolution of f32.
    Float,
    /// `Gemm` of f32.
    Gemm,
}

/// One operator with one input, `[1, channels, side, side]`; for products of matrices `[rows, channels]`, with the rows as
/// the side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    /// Input channels.
    pub(crate) channels: usize,
    /// Height and width, or rows.
    pub(crate) side: usize,
    /// Output channels.
    pub(crate) out: usize,
    pub(crate) group: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
}

const fn product(name: &'static str, op: Op, side: usize, channels: usize, out: usize) -> Case {
    Case { name, op, channels, side, out, group: 1, kernel: 1, stride: 1 }
}

const fn convolution(name: &'static str, op: Op, [channels, side, out, group, kernel, stride]: [usize; 6]) -> Case {
    Case { name, op, channels, side, out, group, kernel, stride }
}

const SIGNED: Op = Op::MatMul { is_signed: true };
const UNSIGNED: Op = Op::MatMul { is_signed: false };

/// Rows of 32 and beyond are AMX's tiles, 5 and 6 are what AVX-VNNI took at once, 27 are the products of a first layer.
pub(crate) const CASES: [Case; 20] = [
    product("MatMulInteger u8 x s8, 1 row", SIGNED, 1, 64, 64),
    product("MatMulInteger u8 x s8, 6 rows", SIGNED, 6, 27, 24),
    product("MatMulInteger u8 x s8, 32 rows", SIGNED, 32, 64, 64),
    product("MatMulInteger u8 x s8, 49 rows of 576", SIGNED, 49, 576, 40),
    product("MatMulInteger u8 x u8, 1 row", UNSIGNED, 1, 64, 64),
    product("MatMulInteger u8 x u8, 5 rows", UNSIGNED, 5, 27, 24),
    product("MatMulInteger u8 x u8, 6 rows", UNSIGNED, 6, 128, 16),
    product("MatMulInteger u8 x u8, 33 rows", UNSIGNED, 33, 100, 64),
    convolution("ConvInteger 3x3", Op::Integer, [16, 8, 32, 1, 3, 1]),
    convolution("ConvInteger 3x3 in groups of 4", Op::Integer, [32, 7, 32, 8, 3, 1]),
    convolution("QLinearConv 3x3 of 3 channels", Op::Linear, [3, 17, 24, 1, 3, 2]),
    convolution("QLinearConv 1x1", Op::Linear, [64, 8, 64, 1, 1, 1]),
    convolution("QLinearConv 3x3", Op::Linear, [64, 7, 32, 1, 3, 1]),
    convolution("QLinearConv 3x3 in groups of 4", Op::Linear, [64, 8, 64, 16, 3, 1]),
    convolution("QLinearConv 3x3 in groups of 32", Op::Linear, [64, 6, 64, 2, 3, 2]),
    convolution("QLinearConv 3x3 in groups of 1", Op::Linear, [32, 8, 32, 32, 3, 1]),
    convolution("Conv 3x3 between Q and DQ", Op::Dequantized, [32, 8, 32, 1, 3, 1]),
    convolution("Conv 3x3 in groups of 4 between Q and DQ", Op::Dequantized, [32, 8, 32, 8, 3, 1]),
    convolution("Conv 3x3 f32 in groups of 4", Op::Float, [64, 9, 64, 16, 3, 1]),
    product("Gemm f32", Op::Gemm, 7, 300, 50),
];

/// Rounding of f32 in the order of nobody's choice, by the sum of what is added.
const FLOAT: f64 = 1e-5;
/// The zero point of results in u8.
pub(crate) const MIDDLE: f64 = 128.0;

/// Inputs and results of a case.
pub(crate) struct Known {
    /// Elements of the input, of integers.
    pub(crate) levels: Vec<u8>,
    /// `[out, channels / group, kernel, kernel]`; for products `[channels, out]`.
    pub(crate) weights: Vec<i32>,
    pub(crate) expected: Vec<f64>,
    /// How far off each element may be.
    pub(crate) allowed: Vec<f64>,
}

impl Case {
    pub(crate) fn is_integer(&self) -> bool {
        !matches!(self.op, Op::Float | Op::Gemm)
    }

    /// Whether results are u8.
    pub(crate) fn gives_levels(&self) -> bool {
        matches!(self.op, Op::Linear | Op::Dequantized)
    }

    pub(crate) fn is_product(&self) -> bool {
        matches!(self.op, Op::MatMul { .. } | Op::Gemm)
    }

    pub(crate) fn input(&self) -> String {
        format!("{}: input", self.name)
    }

    pub(crate) fn output(&self) -> String {
        format!("{}: output", self.name)
    }

    /// Extents of the input.
    pub(crate) fn shape(&self) -> Vec<usize> {
        if self.is_product() { vec![self.side, self.channels] } else { vec![1, self.channels, self.side, self.side] }
    }

    /// Height and width of the result of a convolution, padded by half a kernel.
    pub(crate) fn side_out(&self) -> usize {
        (self.side + 2 * (self.kernel / 2) - self.kernel) / self.stride + 1
    }

    /// Products that are added to an element.
    fn terms(&self) -> usize {
        self.channels / self.group * self.kernel * self.kernel
    }

    /// What results in u8 are multiplied with: a power of two, which every order of multiplication gives exactly, that
    /// brings most of them into the range.
    pub(crate) fn scale(&self) -> f64 {
        let spread = (self.terms() as f64).sqrt() * 12_000.0;
        (50.0 / spread).log2().floor().exp2()
    }

    /// Inputs, with many pairs whose sums do not fit 16 bits, and the results.
    pub(crate) fn known(&self) -> Known {
        let mut random = SplitMix64::new(self.name.len() as u64 * 1000 + self.channels as u64);
        let mut next = |below: u64| random.next_u64() % below;
        let count: usize = self.shape().iter().product();
        // Neighbours in a row are multiplied with neighbouring weights, so large ones come in runs.
        let levels: Vec<u8> = (0..count).map(|_| if next(3) == 0 { 255 } else { next(256) as u8 }).collect();
        let signed = self.op != UNSIGNED;
        let mut large = 127;
        let weights = (0..self.terms() * self.out).map(|at| {
            if at % 4 == 0 {
                large = if next(2) == 0 { 127 } else { -128 };
            }
            let weight = if next(2) == 0 { large } else { next(256) as i32 - 128 };
            if signed { weight } else { weight + 128 }
        });
        let weights: Vec<i32> = weights.collect();
        let (sums, magnitudes) =
            if self.is_product() { self.product(&levels, &weights) } else { self.convolution(&levels, &weights) };
        let scale = self.scale();
        let level = |sum: f64| ((sum * scale).round_ties_even() + MIDDLE).clamp(0.0, 255.0);
        let (expected, allowed) = match self.op {
            // Of ties only one step: how they are rounded is the runtime's choice.
            Op::Linear | Op::Dequantized => (sums.iter().map(|&sum| level(sum)).collect(), vec![1.0; sums.len()]),
            Op::Float | Op::Gemm => {
                let expected = sums.iter().map(|sum| sum / UNIT).collect();
                (expected, magnitudes.iter().map(|sum| (sum / UNIT) * FLOAT + f64::MIN_POSITIVE).collect())
            }
            // As f32 has them.
            Op::MatMul { .. } | Op::Integer => {
                (sums.iter().map(|&sum| f64::from(sum as f32)).collect(), vec![0.5; sums.len()])
            }
        };
        Known { levels, weights, expected, allowed }
    }

    /// Sums of products, and of their magnitudes, `[rows, out]`.
    fn product(&self, levels: &[u8], weights: &[i32]) -> (Vec<f64>, Vec<f64>) {
        let element = |row: usize, out: usize| {
            let terms = (0..self.channels)
                .map(|k| i64::from(levels[row * self.channels + k]) * i64::from(weights[k * self.out + out]));
            terms.fold((0.0, 0.0), |(sum, all), term| (sum + term as f64, all + term.abs() as f64))
        };
        (0..self.side)
            .flat_map(|row| (0..self.out).map(move |out| (row, out)))
            .map(|(row, out)| element(row, out))
            .unzip()
    }

    /// Sums of products, and of their magnitudes, `[out, height, width]`.
    fn convolution(&self, levels: &[u8], weights: &[i32]) -> (Vec<f64>, Vec<f64>) {
        let (inner, outer) = (self.channels / self.group, self.out / self.group);
        let (side, pad) = (self.side_out(), self.kernel / 2);
        let at = |channel: usize, y: usize, x: usize| {
            let inside = |v: usize| v.checked_sub(pad).filter(|&v| v < self.side);
            Some(levels[(channel * self.side + inside(y)?) * self.side + inside(x)?])
        };
        let element = |out: usize, y: usize, x: usize| {
            let (mut sum, mut all) = (0.0, 0.0);
            for c in 0..inner {
                for (ky, kx) in (0..self.kernel).flat_map(|ky| (0..self.kernel).map(move |kx| (ky, kx))) {
                    let weight = weights[((out * inner + c) * self.kernel + ky) * self.kernel + kx];
                    let level = at(out / outer * inner + c, y * self.stride + ky, x * self.stride + kx).unwrap_or(0);
                    let term = f64::from(level) * f64::from(weight);
                    (sum, all) = (sum + term, all + term.abs());
                }
            }
            (sum, all)
        };
        let places = (0..self.out).flat_map(|out| (0..side * side).map(move |at| (out, at / side, at % side)));
        places.map(|(out, y, x)| element(out, y, x)).unzip()
    }
}

/// Inputs and weights of f32 are levels and weights by their units, which f32 holds exactly.
pub(crate) const LEVEL: f32 = 1.0 / 256.0;
pub(crate) const WEIGHT: f32 = 1.0 / 128.0;
const UNIT: f64 = 256.0 * 128.0;

impl Known {
    /// The input as a tensor.
    pub(crate) fn input(&self, case: &Case) -> Tensor {
        let data = if case.is_integer() {
            Data::U8(self.levels.clone())
        } else {
            Data::F32(self.levels.iter().map(|&level| f32::from(level) * LEVEL).collect())
        };
        Tensor { name: case.input(), shape: case.shape(), data }
    }
}
