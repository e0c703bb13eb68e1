//! Properties of the reader: a damaged byte never passes for another model, and whatever layout a tensor is stored in,
//! its numbers are those that the definition of a stride gives.

use crate::common::checkpoint_files::*;
use half::{bf16, f16};
use proptest::prelude::*;

/// What a byte is changed to: each bit, its neighbours, and the extremes.
fn replacements(byte: u8) -> impl Iterator<Item = u8> {
    let bits = (0..8).map(move |bit| byte ^ (1 << bit));
    bits.chain([byte.wrapping_add(1), byte.wrapping_sub(1), 0, 0xff]).filter(move |other| *other != byte)
}

/// Every byte of `bytes` changed, removed and doubled, and every length it may be cut to.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    (0..bytes.len()).flat_map(move |at| {
        let changed = replacements(bytes[at]).map(move |other| {
            let mut file = bytes.to_vec();
            file[at] = other;
            (format!("byte {at} changed from {:#04x} to {other:#04x}", bytes[at]), file)
        });
        let removed = (format!("byte {at} removed"), [&bytes[..at], &bytes[at + 1..]].concat());
        let doubled = (format!("byte {at} doubled"), [&bytes[..=at], &bytes[at..]].concat());
        let cut = (format!("cut to {at} bytes"), bytes[..at].to_vec());
        changed.chain([removed, doubled, cut])
    })
}

#[test]
fn a_damaged_byte_of_a_checksummed_archive_gives_the_same_tensors_or_a_refusal() {
    let mut scratch = Scratch::new();
    for name in ["mini_zip.pth", "mini_deflated.pth", "mini_protocol4.pth"] {
        let bytes = fixture_bytes(name);
        let expected = scratch.read(&bytes).unwrap();
        let mut refused = 0;
        for (damage, file) in damaged(&bytes) {
            match scratch.read(&file) {
                None => refused += 1,
                Some(found) => assert_eq!(found, expected, "{name}: {damage}"),
            }
        }
        assert!(refused > 10 * bytes.len(), "{name}: {refused} refused of {} bytes", bytes.len());
    }
}

/// Without a checksum, a changed number or a changed name cannot be told from an honest one. But a name is seen by
/// whoever asks for it; and all that may change under the same names, types and shapes is that one number.
#[test]
fn a_damaged_byte_without_a_checksum_changes_one_number_or_a_name_or_is_refused() {
    let mut scratch = Scratch::new();
    for name in ["mini_no_crc.pth", "mini_legacy.pth", "mini_legacy_protocol1.pth", "mini.safetensors"] {
        let bytes = fixture_bytes(name);
        let expected = scratch.read(&bytes).unwrap();
        let schema = |contents: &Contents| {
            contents.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect::<Vec<_>>()
        };
        for (damage, file) in damaged(&bytes) {
            let Some(found) = scratch.read(&file) else { continue };
            if schema(&found) != schema(&expected) {
                continue;
            }
            let values = |contents: &Contents| {
                contents.iter().flat_map(|(.., values)| values.clone().unwrap_or_default()).collect::<Vec<_>>()
            };
            let (found, expected) = (values(&found), values(&expected));
            assert_eq!(found.len(), expected.len(), "{name}: {damage}");
            let differ = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
            assert!(differ <= 1, "{name}: {damage}: {differ} numbers differ");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_changed_byte_of_a_network_gives_the_same_tensors_or_a_refusal(
        name in prop::sample::select(vec!["resnext_zip.pth", "resnext_f16.pth", "resnext_nested.pth", "basic.pth"]),
        at in any::<prop::sample::Index>(),
        other in any::<u8>(),
    ) {
        let mut bytes = fixture_bytes(name);
        let mut scratch = Scratch::new();
        let expected = scratch.read(&bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = other;
        if let Some(found) = scratch.read(&bytes) {
            prop_assert!(found == expected, "byte {at} changed to {other:#04x}");
        }
    }

    #[test]
    fn bytes_moved_about_do_not_panic(
        name in prop::sample::select(vec!["mini_zip.pth", "mini_legacy.pth", "mini.safetensors", "mini_deflated.pth"]),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..64), 1..6),
    ) {
        let mut bytes = fixture_bytes(name);
        for (from, to, len) in moves {
            let from = from.index(bytes.len());
            let piece = bytes[from..bytes.len().min(from + len)].to_vec();
            let to = to.index(bytes.len());
            let end = bytes.len().min(to + piece.len());
            bytes.splice(to..end, piece);
        }
        Scratch::new().read(&bytes);
    }

    #[test]
    fn a_tensor_of_any_layout_type_and_container_has_the_numbers_of_its_definition(tensor in tensors(), container in 0..5) {
        let Tensor { class, numbers, stored: bytes, offset, size, stride } = &tensor;
        let pickle = one_weight(|p| p.tensor(class, "0", numbers.len() as i64, *offset, size, stride));
        let entries = [stored("a/data.pkl", &pickle), stored("a/data/0", bytes)];
        let file = match container {
            0 => zip(&entries),
            1 => zip(&entries.map(|entry| Entry { crc: 0, ..entry })),
            2 => zip(&[deflated("a/data.pkl", &pickle), deflated("a/data/0", bytes)]),
            _ => legacy(&pickle, &["0"], &[(numbers.len() as i64, bytes.clone())]),
        };
        let checkpoint = open_bytes(&file).unwrap();
        let expected: Vec<f64> = positions_by_definition(*offset, size, stride).map(|at| numbers[at]).collect();
        let single: Vec<f32> = expected.iter().map(|value| *value as f32).collect();
        prop_assert_eq!(checkpoint.read_f64("conv1.weight").unwrap(), expected);
        prop_assert_eq!(checkpoint.read_f32("conv1.weight").unwrap(), single);
    }
}

/// A tensor to be stored.
#[derive(Clone, Debug)]
struct Tensor {
    class: &'static str,
    /// The numbers of the storage, exact.
    numbers: Vec<f64>,
    stored: Vec<u8>,
    offset: i64,
    size: Vec<i64>,
    stride: Vec<i64>,
}

/// Positions in the storage, in row-major order of the view.
fn positions_by_definition(offset: i64, size: &[i64], stride: &[i64]) -> impl Iterator<Item = usize> {
    let start = vec![offset];
    let step = |starts: Vec<i64>, (size, stride): (&i64, &i64)| {
        starts.iter().flat_map(|start| (0..*size).map(move |i| start + i * stride)).collect()
    };
    size.iter().zip(stride).fold(start, step).into_iter().map(|at| at as usize)
}

/// Tensors with their dimensions in any order, with gaps, in storages that begin before and end after them. Some are
/// longer than the reader's buffer.
fn tensors() -> impl Strategy<Value = Tensor> {
    let dims = prop_oneof![
        9 => prop::collection::vec(1i64..6, 0..5),
        1 => (1i64..4, 1i64..4, 300i64..500, 100i64..300).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
    ];
    let class = prop::sample::select(vec!["HalfStorage", "BFloat16Storage", "FloatStorage", "DoubleStorage"]);
    (dims.prop_shuffle(), class, 0i64..9, 0usize..9, 1i64..3, any::<u32>()).prop_flat_map(
        |(size, class, offset, after, gap, seed)| {
            // Strides from the innermost dimension outwards, in an order of their own.
            let order: Vec<usize> = (0..size.len()).collect();
            Just(order).prop_shuffle().prop_map(move |order| {
                let mut stride = vec![0; size.len()];
                let mut next = 1;
                for &dim in &order {
                    stride[dim] = next;
                    next *= size[dim];
                    if dim % 2 == 1 {
                        next *= gap;
                    }
                }
                let reach: i64 = size.iter().zip(&stride).map(|(size, stride)| (size - 1) * stride).sum();
                let numel = (offset + reach + 1) as usize + after;
                let (numbers, stored) = storage(class, numel, seed);
                Tensor { class, numbers, stored, offset, size: size.clone(), stride }
            })
        },
    )
}

/// `numel` numbers of a type, exact and as stored.
fn storage(class: &str, numel: usize, seed: u32) -> (Vec<f64>, Vec<u8>) {
    let mut state = seed | 1;
    let mut numbers = Vec::new();
    let mut stored = Vec::new();
    for _ in 0..numel {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = f64::from(state >> 8) / f64::from(1 << 22) - 2.0;
        let (exact, bytes) = match class {
            "HalfStorage" => (f16::from_f64(value).to_f64(), f16::from_f64(value).to_le_bytes().to_vec()),
            "BFloat16Storage" => (bf16::from_f64(value).to_f64(), bf16::from_f64(value).to_le_bytes().to_vec()),
            "FloatStorage" => ((value as f32).into(), (value as f32).to_le_bytes().to_vec()),
            _ => (value / 3.0, (value / 3.0).to_le_bytes().to_vec()),
        };
        numbers.push(exact);
        stored.extend(bytes);
    }
    (numbers, stored)
}
