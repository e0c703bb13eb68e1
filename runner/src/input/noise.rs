//! Seeded noise as network input: the same numbers on every platform.

use half::f16;
use onnx_file::element::ElementType;

use crate::model::tensor::{Data, Tensor};
use crate::stats::random::SplitMix64;

/// `count` numbers with mean 0 and standard deviation 1, within ±3.47: about what normalised images are.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    Noise::new(seed).take(count).collect()
}

/// A tensor of seeded noise: of pixels as they are in a file, around the middle; of integers, 0 and 1, which are indices
/// and masks of whatever is asked for.
pub fn tensor(name: &str, element_type: ElementType, shape: Vec<usize>, seed: u64) -> Tensor {
    /// Levels that a standard deviation is, so that none of the noise goes beyond 0 and 255.
    const SPREAD: f32 = 36.0;
    let numbers = || Noise::new(seed).take(shape.iter().product());
    let data = match element_type {
        ElementType::F16 => Data::F16(numbers().map(f16::from_f32).collect()),
        ElementType::F64 => Data::F64(numbers().map(f64::from).collect()),
        ElementType::U8 => Data::U8(numbers().map(|number| (128.0 + SPREAD * number).round() as u8).collect()),
        ElementType::I8 => Data::I8(numbers().map(|number| (SPREAD * number).round() as i8).collect()),
        ElementType::I64 => Data::I64(numbers().map(|number| i64::from(number > 0.0)).collect()),
        ElementType::I32 => Data::I32(numbers().map(|number| i32::from(number > 0.0)).collect()),
        ElementType::Bool => Data::Bool(numbers().map(|number| number > 0.0).collect()),
        _ => Data::F32(numbers().collect()),
    };
    Tensor { name: name.to_owned(), shape, data }
}

/// The numbers of [`noise`] without end.
///
/// Each is a sum of four uniform 16-bit numbers, scaled once: no logarithm or cosine, whose last bits differ between
/// platforms.
#[derive(Clone, Debug)]
pub struct Noise(SplitMix64);

impl Noise {
    /// The numbers of this seed, from the first.
    pub fn new(seed: u64) -> Noise {
        Noise(SplitMix64::new(seed))
    }
}

impl Iterator for Noise {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        const MEAN: i32 = 4 * 65_535 / 2;
        // Four uniform numbers of width 1 have variance 4/12.
        let scale = 3.0_f64.sqrt() / 65_536.0;
        let bits = self.0.next_u64();
        let sum: i32 = (0..4).map(|part| i32::from((bits >> (16 * part)) as u16)).sum();
        Some((f64::from(sum - MEAN) * scale) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_everywhere() {
        let expected = [1.428_619_5, 0.139_148_67, -1.453_224_9];
        assert_eq!(noise(3, 0), expected);
    }

    #[test]
    fn noise_has_mean_0_and_standard_deviation_1() {
        let values = noise(100_000, 1);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(noise(8, 0), noise(8, 1));
    }
}
