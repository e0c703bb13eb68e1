//! What the entries of a zip archive hold.

use super::says;
use super::zip::{entries, pickle};
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::Fault;

#[test]
fn a_flipped_bit_in_a_weight_is_refused_with_the_tensors_name() {
    let mut file = zip(&entries());
    let at = file.windows(24).position(|window| window == six_floats()).unwrap();
    file[at + 20] ^= 1;
    let error = open_bytes(&file).unwrap().read_f32("conv1.weight").unwrap_err();
    says(&assert_fault!(*error.fault, Fault::Checksum { .. }), &["`archive/data/0`", "`conv1.weight`"]);
    // A flip that makes a NaN is a wrong checksum all the same.
    file[at + 22..at + 24].copy_from_slice(b"\xff\xff");
    let error = open_bytes(&file).unwrap().read_f32("conv1.weight").unwrap_err();
    assert_fault!(*error.fault, Fault::Checksum { .. });
}

#[test]
fn a_flipped_bit_in_the_pickle_is_refused() {
    let mut file = zip(&entries());
    let at = positions(&file, b"conv1.weight").next().unwrap();
    file[at] ^= 1;
    says(&assert_fault!(refused(&file), Fault::Checksum { .. }), &["`archive/data.pkl`"]);
}

#[test]
fn the_checksum_covers_what_lies_beside_a_view() {
    // A view of two of the six numbers, while another one is flipped.
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, 2, &[2], &[1]));
    let file = zip(&[stored("archive/data.pkl", &pickle), stored("archive/data/0", &six_floats())]);
    assert_eq!(open_bytes(&file).unwrap().read_f32("conv1.weight").unwrap(), [2.0, 3.0]);
    for number in [0, 5] {
        let mut file = file.clone();
        let at = file.windows(24).position(|window| window == six_floats()).unwrap();
        file[at + 4 * number] ^= 1;
        let error = open_bytes(&file).unwrap().read_f32("conv1.weight").unwrap_err();
        assert_fault!(*error.fault, Fault::Checksum { .. });
    }
}

#[test]
fn deflated_data_that_is_broken_or_of_another_length_is_refused() {
    let numbers = six_floats();
    let good = deflated("archive/data/0", &numbers);
    let mut broken = good.clone();
    broken.stored[0] ^= 0x06; // another kind of block
    let mut longer = deflated("archive/data/0", &[&numbers[..], b"more"].concat());
    (longer.len, longer.crc) = (good.len, good.crc);
    let mut shorter = deflated("archive/data/0", &numbers[..20]);
    (shorter.len, shorter.crc) = (good.len, good.crc);
    let mut padded = good.clone();
    padded.stored.push(0);
    for entry in [broken, longer, shorter, padded] {
        let file = zip(&[stored("archive/data.pkl", &pickle()), entry]);
        let error = open_bytes(&file).unwrap().read_f32("conv1.weight").unwrap_err();
        says(&assert_fault!(*error.fault, Fault::Deflate { declared: 24, .. }), &["`archive/data/0`"]);
    }
    let mut broken = deflated("archive/data.pkl", &pickle());
    broken.stored.truncate(20);
    assert_fault!(refused(&zip(&[broken])), Fault::Deflate { .. });
}

#[test]
fn a_big_endian_archive_is_refused() {
    let [pickle, _, data] = entries();
    let file = zip(&[pickle.clone(), stored("archive/byteorder", b"big"), data.clone()]);
    says(&assert_fault!(refused(&file), Fault::BigEndian { .. }), &["big-endian", "`archive/byteorder`"]);
    let file = zip(&[pickle, stored("archive/byteorder", b"middle"), data]);
    assert_fault!(refused(&file), Fault::Zip { .. });
}
