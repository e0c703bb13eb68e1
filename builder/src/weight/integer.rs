//! Weights as 8-bit integers with one scale for each output channel, and the bias that goes with them.
//!
//! A weight is `scale * integer`, with the zero point 0. Data come as `data_scale * (integer - zero point)`, so the
//! accumulator counts in steps of `data_scale * scale`, and the bias is stored in those steps as a 32-bit integer.
//!
//! **Pairs.** Processors without VNNI multiply unsigned data by signed weights with VPMADDUBSW, which adds two neighbouring
//! products in 16 bits and saturates: 2 * 255 * 127 is 64770, and 16 bits end at 32767. So what is right on one processor
//! is wrong on another. No image can saturate a pair whose weights of one sign sum to at most 128, since 255 * 128 is
//! 32640. Which weights are neighbours: onnxruntime's kernels lay out each output channel's weights tap by tap, and the
//! input channels of a group one after the other (`convsym.cpp`, MlasConvSymPackW; `qlinearconv.cc`, ReorderFilter), and
//! oneDNN's likewise. Where a group has an odd number of channels, one of the two runs on over the taps and the other
//! fills up with zeros; then every two weights that follow each other count as a pair, whichever comes first.

use serde::Serialize;

/// The largest sum of two weights of one sign that no data can make saturate in 16 bits: 255 * 128 < 2^15.
pub const PAIR_LIMIT: i32 = 128;

/// How much of the 8 bits weights use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WeightRange {
    /// -127 to 127, less in channels where two neighbours would sum to more than 128: right on every processor
    #[default]
    PairSafe,
    /// -127 to 127: wrong on x86 processors without VNNI
    Full,
    /// -64 to 64: right on every processor, with one bit less
    #[value(name = "7bit")]
    #[serde(rename = "7bit")]
    SevenBit,
}

impl WeightRange {
    /// As on the command line, in JSON and in metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PairSafe => "pair-safe",
            Self::Full => "full",
            Self::SevenBit => "7bit",
        }
    }

    /// The smallest scale with which the weights of one output channel, `[channels, taps]`, fit.
    fn scale(self, row: &[f64], channels: usize) -> f64 {
        let largest = row.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
        match self {
            Self::Full => largest / 127.0,
            Self::SevenBit => largest / 64.0,
            Self::PairSafe => {
                let sum = |[a, b]: [f64; 2]| (a.max(0.0) + b.max(0.0)).max(-(a.min(0.0) + b.min(0.0)));
                let mut pairs: f64 = 0.0;
                for_each_pair(row, channels, |pair| pairs = pairs.max(sum(pair)));
                // Of two numbers that sum to 127, rounding makes two that sum to 128 at most.
                largest.max(pairs) / 127.0
            }
        }
    }
}

/// Calls `visit` with every two weights of one output channel, `[channels, taps]`, that a kernel may add in 16 bits.
pub(super) fn for_each_pair<T: Copy>(row: &[T], channels: usize, mut visit: impl FnMut([T; 2])) {
    let taps = row.len() / channels.max(1);
    let at = |place: usize| row[place % channels * taps + place / channels];
    let step = if channels.is_multiple_of(2) { 2 } else { 1 };
    for place in (0..row.len().saturating_sub(1)).step_by(step) {
        visit([at(place), at(place + 1)]);
    }
}

/// The largest sum of two weights of one sign that a kernel may add in 16 bits, over all output channels of
/// `[out, channels, ...]`.
pub fn largest_pair(weights: &[i8], shape: &[usize]) -> i32 {
    let [out, channels, ..] = *shape else { return 0 };
    let mut largest = 0;
    for row in weights.chunks_exact((weights.len() / out.max(1)).max(1)) {
        for_each_pair(row, channels, |[a, b]| {
            let (a, b) = (i32::from(a), i32::from(b));
            largest = largest.max(a.max(0) + b.max(0)).max(-(a.min(0) + b.min(0)));
        });
    }
    largest
}

/// One of the constants that weights and biases become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The weights, i8.
    Weights,
    /// Their scales, `[out]`, f32.
    Scales,
    /// The bias, `[out]`, i32.
    Bias,
    /// The bias's scales, `[out]`, f32: those of the weights times that of the data.
    BiasScales,
}

/// The bias takes no more than half of 32 bits, so that the products have the other half.
pub(super) const BIAS_LIMIT: f64 = (1u32 << 30) as f64;

/// Steps that a bias is worth where all weights of a channel are zero and any scale would do.
pub(super) const BIAS_STEPS: f64 = (1u32 << 20) as f64;

/// One scale for each output channel of weights `[out, channels, ...]`: as small as they allow with `range`, and large enough
/// for the bias that comes with data of `data_scale`.
pub(super) fn scales(
    range: WeightRange,
    weights: &[f64],
    shape: &[usize],
    bias: Option<&[f64]>,
    data_scale: f32,
) -> Vec<f32> {
    let [out, channels, ..] = *shape else { return Vec::new() };
    let row = (weights.len() / out.max(1)).max(1);
    let data_scale = f64::from(data_scale);
    let scale = |(index, row): (usize, &[f64])| {
        let bias = bias.and_then(|bias| bias.get(index)).map_or(0.0, |b| b.abs() / data_scale);
        let scale = match range.scale(row, channels) {
            0.0 if bias == 0.0 => 1.0,
            0.0 => bias / BIAS_STEPS,
            scale => scale.max(bias / BIAS_LIMIT),
        };
        // Not so small that its product with the data's scale is subnormal.
        scale.max(f64::from(f32::MIN_POSITIVE) / data_scale.min(1.0) * 2.0) as f32
    };
    weights.chunks_exact(row).enumerate().map(scale).collect()
}

/// Rounds the weights of each output channel to steps of its scale.
pub(super) fn round(weights: &mut [f64], scales: &[f32]) {
    let row = (weights.len() / scales.len().max(1)).max(1);
    for (weights, &scale) in weights.chunks_exact_mut(row).zip(scales) {
        let scale = f64::from(scale);
        weights.iter_mut().for_each(|w| *w = (*w / scale).round_ties_even().clamp(-127.0, 127.0));
    }
}
