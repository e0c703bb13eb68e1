//! Synthetic tensors for tests: every name gives its own, with lively normalisation statistics.

use std::convert::Infallible;

use ndarray::Array4;

use crate::variant::Variant;
use crate::weight::Read;

/// A source that has every tensor anyone asks for. The number is a seed.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// Uniform in [-1, 1), a function of seed, name and index.
    fn values(&self, name: &str, count: usize) -> impl Iterator<Item = f64> {
        let mut state =
            name.bytes().fold(self.0 ^ 0x9e37_79b9_7f4a_7c15, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        (0..count).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
    }

    pub(crate) fn image(&self, count: usize, size: usize) -> Array4<f64> {
        let values: Vec<f64> = self.values("image", count * 3 * size * size).collect();
        Array4::from_shape_vec((count, 3, size, size), values).unwrap()
    }
}

impl Read for Noise {
    type Error = Infallible;

    fn read_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Infallible> {
        Ok(self.read_f64(name, shape)?.into_iter().map(|v| v as f32).collect())
    }

    fn read_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, Infallible> {
        let count = shape.iter().product();
        let fan_in: usize = shape.iter().skip(1).product();
        let scale = (3.0 / fan_in as f64).sqrt();
        let last = name.rsplit('.').next().unwrap_or_default();
        let values = self.values(name, count);
        Ok(match (shape.len(), last) {
            (1, "running_var") => values.map(|v| 0.6 + v / 2.0).collect(),
            (1, "weight") => values.map(|v| 1.0 + v / 2.0).collect(),
            (1, _) => values.map(|v| v / 2.0).collect(),
            _ => values.map(|v| v * scale).collect(),
        })
    }
}

/// A ResNeXt of every part that matters and few channels.
pub(crate) fn small_variant() -> Variant {
    Variant { blocks: vec![2, 1, 1, 1], planes: 8, cardinality: 4, group_width: 2, ..Variant::default() }
}
