//! Weights that no processor saturates, shown on an emulation of the instruction that would.

use proptest::prelude::*;

use super::super::integer::{BIAS_LIMIT, BIAS_STEPS, PAIR_LIMIT, largest_pair};
use super::*;

/// One tensor for weights and one for biases.
struct Tensors {
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Read for Tensors {
    type Error = ();
    fn read_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ()> {
        Ok(self.read_f64(name, shape)?.into_iter().map(|v| v as f32).collect())
    }
    fn read_f64(&mut self, name: &str, _: &[usize]) -> Result<Vec<f64>, ()> {
        Ok(if name == "w" { self.weights.clone() } else { self.bias.clone() })
    }
}

fn integers(shape: &[usize], range: WeightRange, data_scale: f32) -> Integers {
    let (weight, bias) = (Weight::stored("w", shape), Some(Weight::stored("b", &shape[..1])));
    Integers { weight, bias, data_scale, range }
}

/// VPMADDUBSW: two products of unsigned and signed bytes, added in 16 bits with saturation.
fn multiply_add(data: [u8; 2], weights: [i8; 2]) -> (i16, bool) {
    let exact = i32::from(data[0]) * i32::from(weights[0]) + i32::from(data[1]) * i32::from(weights[1]);
    let held = exact.clamp(i32::from(i16::MIN), i32::from(i16::MAX));
    (held as i16, held != exact)
}

/// Whether any data make any pair of one output channel saturate; weights are read by both packings: channels of a tap
/// filled up with a zero, and all taps in one row.
fn saturates(row: &[i8], channels: usize) -> bool {
    let taps = row.len() / channels;
    let at = |tap: usize, channel: usize| row[channel * taps + tap];
    let in_one_row: Vec<i8> = (0..taps).flat_map(|tap| (0..channels).map(move |c| at(tap, c))).collect();
    let filled: Vec<i8> = (0..taps)
        .flat_map(|tap| (0..channels.next_multiple_of(4)).map(move |c| if c < channels { at(tap, c) } else { 0 }))
        .collect();
    let worst = |weights: [i8; 2]| {
        // The data that bring the sum farthest up, and farthest down.
        [1, -1].iter().any(|sign| {
            let data = weights.map(|w| if i32::from(w) * sign > 0 { 255 } else { 0 });
            multiply_add(data, weights).1
        })
    };
    [in_one_row, filled]
        .iter()
        .any(|packed| packed.chunks(2).any(|pair| worst([pair[0], pair.get(1).copied().unwrap_or(0)])))
}

fn quantized(shape: [usize; 4], range: WeightRange, weights: Vec<f64>) -> Vec<i8> {
    let mut tensors = Tensors { weights, bias: vec![0.0; shape[0]] };
    let found = integers(&shape, range, 0.02).eval(Part::Weights, &mut tensors).unwrap();
    found.into_iter().map(|w| w as i8).collect()
}

/// Weights with heavy tails, whatever the seed.
fn weights(seed: u64, count: usize) -> Vec<f64> {
    let normal = crate::random::standard_normal(seed, "weights", count);
    normal.into_iter().map(|w| f64::from(w) * f64::from(w).abs()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pair_safe_and_seven_bit_weights_saturate_nowhere(
        out in 1usize..6, channels in 1usize..10, side in 1usize..4, seed in 0u64..1000,
    ) {
        let shape = [out, channels, side, side];
        for range in [WeightRange::PairSafe, WeightRange::SevenBit] {
            let found = quantized(shape, range, weights(seed, shape.iter().product()));
            prop_assert!(largest_pair(&found, &shape) <= PAIR_LIMIT);
            prop_assert!(!found.chunks(channels * side * side).any(|row| saturates(row, channels)), "{:?}", found);
        }
    }

    #[test]
    fn the_largest_pair_tells_whether_weights_saturate(seed in 0u64..1000, channels in 1usize..6) {
        let shape = [1, channels, 3, 3];
        let found = quantized(shape, WeightRange::Full, weights(seed, channels * 9));
        // 129 * 255 is 32895: from there on some data saturate.
        if saturates(&found, channels) {
            prop_assert!(largest_pair(&found, &shape) > PAIR_LIMIT);
        } else if channels.is_multiple_of(2) {
            prop_assert!(largest_pair(&found, &shape) <= PAIR_LIMIT);
        }
    }
}

#[test]
fn full_weights_do_saturate() {
    let shape = [8, 16, 3, 3];
    let found = quantized(shape, WeightRange::Full, weights(1, shape.iter().product()));
    assert!(found.chunks(16 * 9).any(|row| saturates(row, 16)), "or the emulation shows nothing");
    assert!(largest_pair(&found, &shape) > PAIR_LIMIT);
    assert_eq!(found.iter().map(|w| w.unsigned_abs()).max(), Some(127));
}

#[test]
fn every_weight_is_within_half_a_step() {
    let shape = [4, 6, 3, 3];
    for range in [WeightRange::PairSafe, WeightRange::Full, WeightRange::SevenBit] {
        let exact = weights(3, shape.iter().product());
        let mut tensors = Tensors { weights: exact.clone(), bias: vec![0.3, -7.0, 0.0, 1e-3] };
        let recipe = integers(&shape, range, 0.05);
        let mut part = |part| recipe.eval(part, &mut tensors).unwrap();
        let [found, scales, bias, steps] = [Part::Weights, Part::Scales, Part::Bias, Part::BiasScales].map(&mut part);
        for (index, (found, exact)) in found.iter().zip(&exact).enumerate() {
            let scale = scales[index / 54];
            assert!((found * scale - exact).abs() <= scale * 0.500_001, "{range:?} {index}");
        }
        for (index, expected) in [0.3, -7.0, 0.0, 1e-3].into_iter().enumerate() {
            assert!((bias[index] * steps[index] - expected).abs() <= steps[index] * 0.51);
            assert_eq!(steps[index] as f32, (0.05f32 * scales[index] as f32));
        }
    }
}

#[test]
fn a_bias_too_large_for_32_bits_raises_the_scale_and_a_channel_of_zeros_has_one() {
    let weights = vec![1e-9, 0.0, 0.0, 0.0];
    let mut tensors = Tensors { weights, bias: vec![100.0, 0.5, 0.0, 1e-30] };
    let recipe = integers(&[4, 1, 1, 1], WeightRange::Full, 0.01);
    let scales = recipe.eval(Part::Scales, &mut tensors).unwrap();
    let bias = recipe.eval(Part::Bias, &mut tensors).unwrap();
    assert!(scales[0] > 1e-9 / 127.0 * 2.0, "raised");
    assert!(bias.iter().all(|b| b.abs() <= BIAS_LIMIT * 1.000_001), "{bias:?}");
    assert!((bias[0] - BIAS_LIMIT).abs() < 1e3 && (bias[1] - BIAS_STEPS).abs() < 2.0, "{bias:?}");
    assert!(scales.iter().all(|s| (*s as f32 * 0.01).is_normal()), "{scales:?}");
    assert_eq!(scales[2], 1.0);
}

#[test]
fn widening_changes_no_scale_and_no_integer() {
    for inputs in [2, 3, 4] {
        let shape = [8, inputs, 3, 3];
        let mut tensors = Tensors { weights: weights(5, shape.iter().product()), bias: vec![0.1; 8] };
        let plain = integers(&shape, WeightRange::PairSafe, 0.1);
        let wide = Weight::Widened { of: Box::new(plain.weight.clone()), groups: 4, merge: 2 };
        let wide = Integers { weight: wide, ..plain.clone() };
        for part in [Part::Scales, Part::Bias] {
            assert_eq!(plain.eval(part, &mut tensors), wide.eval(part, &mut tensors), "{inputs}");
        }
        let sum = |numbers: Vec<f64>| numbers.into_iter().map(|w| w * w).sum::<f64>();
        let [plain, wide] = [plain, wide].map(|w| w.eval(Part::Weights, &mut tensors).unwrap());
        assert_eq!((sum(plain), wide.len()), (sum(wide.clone()), wide.len()));
    }
}
