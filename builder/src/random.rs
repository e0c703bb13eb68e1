//! Seeded initialisation, for networks without a checkpoint.
//!
//! As the reference implementations initialise: every convolution Kaiming-normal with mode fan_out and gain sqrt(2)
//! (He et al. 2015), normalisations at scale 1, shift 0, mean 0, variance 1, the fully-connected layer uniform in
//! +-1 / sqrt(in_features), weight and bias.
//!
//! The same bytes on every platform: each number is a function of seed, tensor name and index (a counter-based
//! generator, so threads do not matter), and the transcendental functions come from the `libm` crate, not from the
//! platform.

use crate::weight::Read;

/// A source that makes up each tensor it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// Seed of all tensors.
    pub seed: u64,
    /// Inputs of the fully-connected layer, which bound its bias.
    pub features: usize,
}

/// A tensor that no initialisation rule covers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rule initialises the tensor '{name}' of shape {shape:?}; this is a bug")]
pub struct NoRule {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Read for Random {
    type Error = NoRule;

    fn read_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NoRule> {
        let count = shape.iter().product();
        let bound = 1.0 / (self.features as f64).sqrt();
        let field = name.rsplit('.').next().unwrap_or_default();
        Ok(match (name, shape.len(), field) {
            ("fc.weight" | "fc.bias", ..) => fill(self.key(name), count, |u| (2.0 * u - 1.0) * bound),
            (_, 4, "weight") => {
                let fan_out = shape[0] * shape[2] * shape[3];
                let deviation = (2.0 / fan_out as f64).sqrt();
                fill(self.key(name), count, |u| normal_quantile(u) * deviation)
            }
            (_, 1, "weight" | "running_var") => vec![1.0; count],
            (_, 1, "bias" | "running_mean") => vec![0.0; count],
            _ => return Err(NoRule { name: name.into(), shape: shape.to_vec() }),
        })
    }

    fn read_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, NoRule> {
        Ok(self.read_f32(name, shape)?.into_iter().map(f64::from).collect())
    }
}

impl Random {
    /// FNV-1a over the name, started from the mixed seed.
    fn key(&self, name: &str) -> u64 {
        let start = mix(self.seed ^ 0xcbf2_9ce4_8422_2325);
        name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// `count` standard normal numbers, a function of seed and name.
pub fn standard_normal(seed: u64, name: &str, count: usize) -> Vec<f32> {
    fill(Random { seed, features: 1 }.key(name), count, normal_quantile)
}

/// `count` values of `map` over uniform numbers in (0, 1), computed by all processors.
fn fill(key: u64, count: usize, map: impl Fn(f64) -> f64 + Sync) -> Vec<f32> {
    let mut values = vec![0.0; count];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(1 << 14);
    std::thread::scope(|scope| {
        for (index, chunk) in values.chunks_mut(share).enumerate() {
            let map = &map;
            let mut work = move || {
                for (offset, value) in chunk.iter_mut().enumerate() {
                    *value = map(uniform(key, (index * share + offset) as u64)) as f32;
                }
            };
            if count <= share { work() } else { drop(scope.spawn(work)) }
        }
    });
    values
}

/// The `index`-th number of stream `key`, uniform in (0, 1) with 52 bits, never 0 or 1.
fn uniform(key: u64, index: u64) -> f64 {
    let bits = mix(key.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The normal distribution's quantile function, to about 1 part in 10^7: algorithm AS 241, PPND7 (Wichura 1988).
fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        let numerator = ((59.109_374_720 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9;
        let denominator = ((67.187_563_600 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0;
        return q * numerator / denominator;
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-libm::log(tail)).sqrt();
    let magnitude = if r <= 5.0 {
        let r = r - 1.6;
        let numerator = ((0.170_238_211_03 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r + 1.423_437_277_7;
        numerator / ((0.120_211_329_75 * r + 0.737_001_642_50) * r + 1.0)
    } else {
        let r = r - 5.0;
        let numerator = ((0.017_337_203_997 * r + 0.428_682_943_37) * r + 3.081_226_386_0) * r + 6.657_905_115_0;
        numerator / ((0.012_258_202_635 * r + 0.241_978_942_25) * r + 1.0)
    };
    if q < 0.0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, expected) in [
            (0.5, 0.0),
            (0.841_344_746_068_543, 1.0),
            (0.975, 1.959_963_984_540_054),
            (0.998_650_101_968_37, 3.0),
            (1e-6, -4.753_424_308_822_9),
            (1e-14, -7.650_628_067_6),
        ] {
            assert!((normal_quantile(p) - expected).abs() < 2e-6, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn convolutions_are_kaiming_normal_with_fan_out() {
        let mut random = Random { seed: 0, features: 2048 };
        let values = random.read_f32("layer1.0.conv2.weight", &[128, 4, 3, 3]).unwrap();
        let deviation = (2.0 / (128.0 * 9.0f64)).sqrt();
        let standard: Vec<f64> = values.iter().map(|&v| f64::from(v) / deviation).collect();
        let n = standard.len() as f64;
        let moment = |k: i32| standard.iter().map(|v| v.powi(k)).sum::<f64>() / n;
        // Five standard errors of each moment of n normal numbers.
        assert!(moment(1).abs() < 5.0 / n.sqrt());
        assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
        assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt());
    }

    #[test]
    fn the_head_is_uniform_within_its_bound() {
        let mut random = Random { seed: 3, features: 64 };
        for (name, shape) in [("fc.weight", &[100, 64][..]), ("fc.bias", &[1000][..])] {
            let values = random.read_f32(name, shape).unwrap();
            let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!((0.12..=0.125).contains(&largest), "{name}: {largest}");
        }
    }

    #[test]
    fn numbers_depend_on_seed_and_name_and_on_nothing_else() {
        let read = |seed, name| Random { seed, features: 64 }.read_f32(name, &[64, 64, 3, 3]).unwrap();
        assert_eq!(read(0, "a.weight"), read(0, "a.weight"));
        assert_ne!(read(0, "a.weight"), read(1, "a.weight"));
        assert_ne!(read(0, "a.weight"), read(0, "b.weight"));
        let one_by_one: Vec<f32> = (0..64 * 64 * 9)
            .map(|i| {
                let key = Random { seed: 0, features: 64 }.key("a.weight");
                (normal_quantile(uniform(key, i)) * (2.0 / (64.0 * 9.0f64)).sqrt()) as f32
            })
            .collect();
        assert_eq!(read(0, "a.weight"), one_by_one, "computed in shares");
    }
}
