//! safetensors files whose header and bytes do not fit together.

use super::says;
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::Fault;

const HEADER: &str =
    r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}"#;

#[test]
fn a_safetensors_header_beyond_the_file_is_refused() {
    let mut file = safetensors(HEADER, 10);
    open_bytes(&file).unwrap();
    file[..8].copy_from_slice(&99_999_999u64.to_le_bytes());
    says(&assert_fault!(refused(&file), Fault::HeaderLength { declared: 99_999_999, .. }), &["99999999"]);
    // Beyond what the format allows, it is no safetensors file at all.
    file[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    assert_fault!(refused(&file), Fault::Unrecognised { .. });
}

#[test]
fn a_safetensors_header_that_is_no_object_of_tensors_is_refused() {
    for header in [
        "{",
        "{}x",
        "{\"a\":1}",
        "{\"a\":{\"dtype\":\"F32\"}}",
        "{\"a\":{\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,0]}}",
        "{\"__metadata__\":{\"a\":[]}}",
        "{\"\\ud800\":1}",
        &format!("{{\"a\":{}", "[".repeat(10_000)),
    ] {
        says(&assert_fault!(refused(&safetensors(header, 0)), Fault::Header { .. }), &["offset 8"]);
    }
    // Not UTF-8, in a name and in a field that nothing needs.
    for (header, data) in [("{\"?\":1}", 0), (r#"{"a":{"dtype":"F16","x":"?","shape":[],"data_offsets":[0,2]}}"#, 2)] {
        let mut file = safetensors(header, data);
        let at = positions(&file, b"?").next().unwrap();
        file[at] = 0xff;
        assert_fault!(refused(&file), Fault::Header { .. });
    }
}

#[test]
fn a_name_twice_in_a_safetensors_header_is_refused() {
    let entry = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let fault = refused(&safetensors(&format!("{{{entry},{entry}}}"), 8));
    says(&assert_fault!(fault, Fault::Header { .. }), &["`a` occurs twice"]);
}

#[test]
fn holes_and_overlaps_in_a_safetensors_file_are_refused_by_name() {
    for (offsets, data) in [("[9,11]", 11), ("[7,9]", 9), ("[8,7]", 8), ("[0,2]", 8)] {
        let fault = refused(&safetensors(&HEADER.replace("[8,10]", offsets), data));
        let named = matches!(fault, Fault::SafetensorsOffsets { .. } | Fault::SafetensorsSize { .. });
        assert!(named, "{offsets}: {fault}");
    }
    let fault = refused(&safetensors(&HEADER.replace("[8,10]", "[9,11]"), 11));
    says(&assert_fault!(fault, Fault::SafetensorsOffsets { .. }), &["`b`", "9 to 11"]);
    let fault = refused(&safetensors(&HEADER.replace("[0,8]", "[1,9]").replace("[8,10]", "[9,11]"), 11));
    says(&assert_fault!(fault, Fault::SafetensorsOffsets { .. }), &["`a`"]);
}

#[test]
fn a_safetensors_tensor_of_the_wrong_size_is_refused_by_name() {
    for shape in ["[3]", "[1]", "[18446744073709551615,2]", "[4611686018427387904,4]"] {
        let fault = refused(&safetensors(&HEADER.replace("[2]", shape), 10));
        says(&assert_fault!(fault, Fault::SafetensorsSize { .. }), &["`a`", "8 bytes"]);
    }
}

#[test]
fn a_safetensors_file_that_is_too_short_or_too_long_is_refused() {
    let fault = refused(&safetensors(HEADER, 9));
    says(&assert_fault!(fault, Fault::SafetensorsCut { .. }), &[&(8 + HEADER.len() + 10).to_string()]);
    let fault = refused(&safetensors(HEADER, 11));
    says(&assert_fault!(fault, Fault::TrailingBytes { count: 1, .. }), &["last tensor"]);
    let file = safetensors(HEADER, 10);
    for end in 1..file.len() {
        refused(&file[..end]);
    }
}

#[test]
fn safetensors_types_that_are_no_plain_numbers_are_refused_by_name() {
    for (dtype, shape) in [("F8_E4M3", "[8]"), ("F4", "[16]"), ("C64", "[1]")] {
        let header = HEADER.replace("\"F32\"", &format!("\"{dtype}\"")).replace("[2]", shape);
        says(&assert_fault!(refused(&safetensors(&header, 10)), Fault::TensorKind { .. }), &["`a`", dtype]);
    }
}

#[test]
fn a_safetensors_file_without_tensors_is_refused() {
    for header in ["{}", r#"{"__metadata__":{"format":"pt"}}"#] {
        assert_fault!(refused(&safetensors(header, 0)), Fault::NoWeights { .. });
    }
}
