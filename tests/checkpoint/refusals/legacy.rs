//! Legacy files whose parts do not fit together.

use super::says;
use super::zip::pickle;
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::Fault;

fn good_legacy() -> Vec<u8> {
    legacy(&pickle(), &["0"], &[(6, six_floats())])
}

#[test]
fn a_legacy_protocol_other_than_1001_is_refused() {
    let mut file = good_legacy();
    file[18] = 0xea;
    says(&assert_fault!(refused(&file), Fault::LegacyProtocol { .. }), &["1002", "offset 15"]);
}

#[test]
fn a_big_endian_legacy_file_is_refused() {
    let mut file = good_legacy();
    let at = positions(&file, b"\x88u.").next().unwrap();
    file[at] = 0x89;
    says(&assert_fault!(refused(&file), Fault::BigEndian { .. }), &["system information", "offset 21"]);
    file[at] = b'N';
    assert_fault!(refused(&file), Fault::Malformed { .. });
}

#[test]
fn a_legacy_storage_with_another_count_than_declared_is_refused() {
    for count in [5, 7, -1, i64::MAX] {
        let file = legacy(&pickle(), &["0"], &[(count, six_floats())]);
        let fault = assert_fault!(refused(&file), Fault::LegacyCount { .. });
        says(&fault, &["`0`", &count.to_string(), "6 are declared", &format!("offset {}", file.len() - 32)]);
    }
}

#[test]
fn a_legacy_file_whose_storages_and_tensors_do_not_match_is_refused() {
    for (keys, problem) in [
        (&["0", "1"][..], "`1` is used by no tensor"),
        (&[], "`0` is not listed"),
        (&["0", "0"], "`0` is listed twice"),
    ] {
        let storages: Vec<_> = keys.iter().map(|_| (6, six_floats())).collect();
        says(
            &assert_fault!(refused(&legacy(&pickle(), keys, &storages)), Fault::LegacyKeys { .. }),
            &[problem, "offset"],
        );
    }
    let mut no_list = legacy_header();
    no_list.extend(pickle());
    no_list.extend(Pickle::new().raw(b"N").stop());
    assert_fault!(refused(&no_list), Fault::LegacyKeys { .. });
}

#[test]
fn a_legacy_file_cut_anywhere_is_refused() {
    let file = good_legacy();
    for end in 1..file.len() {
        refused(&file[..end]);
    }
    says(&assert_fault!(refused(&file[..file.len() - 1]), Fault::LegacyCut { .. }), &["`0`", "cut short"]);
}

#[test]
fn bytes_after_the_last_legacy_storage_are_refused() {
    let mut file = good_legacy();
    let len = file.len();
    file.push(0);
    says(
        &assert_fault!(refused(&file), Fault::TrailingBytes { count: 1, .. }),
        &["last storage", &format!("offset {len}")],
    );
}

#[test]
fn a_storage_larger_than_the_legacy_file_is_refused_before_memory_is_taken() {
    for numel in [1 << 40, i64::MAX / 4] {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", numel, 0, &[2], &[1]));
        assert_fault!(refused(&legacy(&pickle, &["0"], &[(numel, six_floats())])), Fault::LegacyCut { .. });
    }
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", i64::MAX, 0, &[2], &[1]));
    refused(&legacy(&pickle, &["0"], &[(6, six_floats())]));
}
