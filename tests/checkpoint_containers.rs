//! Containers that are damaged or that two readers would read in two ways: zip, legacy, safetensors.

mod checkpoint_files;

use checkpoint_files::*;
use resnext_builder::checkpoint::Fault;

#[track_caller]
fn says(error: &impl ToString, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

macro_rules! assert_fault {
    ($fault:expr, $pattern:pat $(if $guard:expr)?) => {{
        let fault = $fault;
        assert!(matches!(&fault, $pattern $(if $guard)?), "another fault: {fault} ({fault:?})");
        fault
    }};
}

fn pickle() -> Vec<u8> {
    one_weight(|p| p.plain("0"))
}

/// A sound archive of three entries.
fn entries() -> [Entry; 3] {
    [
        stored("archive/data.pkl", &pickle()),
        stored("archive/byteorder", b"little"),
        stored("archive/data/0", &six_floats()),
    ]
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The fault of an archive after `change`.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Fault {
    let mut file = zip(&entries());
    open_bytes(&file).unwrap();
    change(&mut file);
    refused(&file)
}

// ---- Zip: names ----

#[test]
fn a_data_pkl_that_is_there_twice_is_refused() {
    let evil = stored("archive/data.pkl", &Pickle::new().global("os", "system").stop());
    let [pickle, order, data] = entries();
    for file in [[pickle.clone(), evil.clone(), order.clone(), data.clone()], [evil, order, data, pickle]] {
        says(&assert_fault!(refused(&zip(&file)), Fault::DuplicateEntry { .. }), &["`archive/data.pkl`", "twice"]);
    }
}

#[test]
fn a_storage_that_is_there_twice_is_refused() {
    let [pickle, order, data] = entries();
    let file = zip(&[pickle, order, data.clone(), data]);
    assert_fault!(refused(&file), Fault::DuplicateEntry { .. });
}

#[test]
fn two_roots_are_refused() {
    let [first, order, data] = entries();
    let second = stored("other/data.pkl", &pickle());
    let fault = assert_fault!(refused(&zip(&[first.clone(), order, data.clone(), second])), Fault::TwoRoots { .. });
    says(&fault, &["`archive/data.pkl`", "`other/data.pkl`"]);
    let nested = stored("archive/inner/data.pkl", &pickle());
    assert_fault!(refused(&zip(&[first.clone(), data.clone(), nested])), Fault::TwoRoots { .. });
    let stray = stored("other/data/0", &six_floats());
    assert_fault!(refused(&zip(&[first, data, stray])), Fault::TwoRoots { .. });
}

#[test]
fn an_archive_without_data_pkl_is_refused_with_what_it_holds() {
    let npz = zip(&[stored("arr_0.npy", b"\x93NUMPY"), stored("arr_1.npy", b"")]);
    says(&assert_fault!(refused(&npz), Fault::NoDataPkl { .. }), &["arr_0.npy, arr_1.npy"]);
    assert_fault!(refused(&zip(&[])), Fault::NoDataPkl { .. });
}

#[test]
fn names_that_other_readers_may_take_for_others_are_refused() {
    for name in ["archive\\data.pkl", "archive/data.pkl\0", ""] {
        assert_fault!(refused(&zip(&[stored(name, &pickle())])), Fault::Zip { .. });
    }
}

#[test]
fn a_constants_pkl_marks_torchscript() {
    let [pickle, order, data] = entries();
    let file = zip(&[pickle, order, data, stored("archive/constants.pkl", b")\x2e")]);
    assert_fault!(refused(&file), Fault::TorchScript { entry } if entry == "archive/constants.pkl");
}

#[test]
fn any_root_folder_or_none_is_accepted() {
    for root in ["", "resnet/", "a/b/", "Ünïcode/"] {
        let file =
            zip(&[stored(&format!("{root}data.pkl"), &pickle()), stored(&format!("{root}data/0"), &six_floats())]);
        assert_eq!(open_bytes(&file).unwrap().tensors().len(), 1, "{root}");
    }
}

// ---- Zip: headers ----

#[test]
fn an_encrypted_entry_is_refused() {
    let fault = changed(|file| {
        let at = central_header(file, 2);
        file[at + 8] |= 1;
    });
    says(&assert_fault!(fault, Fault::Encrypted { .. }), &["`archive/data/0`", "decrypt"]);
    // Only beside the data.
    let fault = changed(|file| {
        let at = local_header(file, 2);
        file[at + 6] |= 1;
    });
    says(&assert_fault!(fault, Fault::HeadersDisagree { field: "flags", .. }), &["`archive/data/0`"]);
    // Strong encryption, patches, masked headers.
    for (byte, bit) in [(8, 0x40), (8, 0x20), (9, 0x20)] {
        let fault = changed(|file| {
            let at = central_header(file, 2);
            file[at + byte] |= bit;
        });
        assert_fault!(fault, Fault::Zip { .. });
    }
}

#[test]
fn two_headers_of_an_entry_that_disagree_are_refused() {
    for (field, offset, value) in [
        ("name", 30, &b"b"[..]),
        ("compression method", 8, &b"\x08"[..]),
        ("CRC-32", 14, &b"\x01\x02\x03\x04"[..]),
        ("stored size", 18, &b"\x17"[..]),
        ("size", 22, &b"\x19"[..]),
    ] {
        let mut header = 0;
        let fault = changed(|file| {
            header = local_header(file, 2);
            put(file, header + offset, value);
        });
        let fault = assert_fault!(fault, Fault::HeadersDisagree { .. });
        says(&fault, &["`archive/data/0`", field, &format!("at offset {header} ")]);
    }
}

#[test]
fn a_directory_that_names_another_file_than_the_data_is_refused() {
    // A reader of local headers would see an attack, one of the directory would not.
    let evil = Pickle::new().global("os", "system").stop();
    let [pickle, _, data] = entries();
    let mut file = zip(&[stored("archive/data.pk_", &evil), pickle, data]);
    let at = central_header(&file, 0);
    put(&mut file, at + 46 + 15, b"x");
    assert_fault!(refused(&file), Fault::HeadersDisagree { field: "name", .. });
}

#[test]
fn entries_that_overlap_are_refused() {
    // The third entry points into the second one's data, which holds a header of its own.
    let [pickle, _, data] = entries();
    let inner = zip(std::slice::from_ref(&data));
    let inner = &inner[..central_header(&inner, 0)];
    let mut file = zip(&[pickle, stored("archive/blob", inner), data]);
    let start = file.windows(inner.len()).position(|window| window == inner).unwrap() as u32;
    let at = central_header(&file, 2);
    put(&mut file, at + 42, &start.to_le_bytes());
    let fault = assert_fault!(refused(&file), Fault::OverlappingEntries { .. });
    says(&fault, &["`archive/blob`", "`archive/data/0`", &format!("offset {start}")]);
}

#[test]
fn two_directory_records_of_the_same_data_are_refused() {
    let [pickle, order, data] = entries();
    let mut twin = data.clone();
    twin.name = "archive/data/1".to_owned();
    let mut file = zip(&[pickle, order, data, twin]);
    let (first, second) = (central_header(&file, 2), central_header(&file, 3));
    let offset: [u8; 4] = file[first + 42..first + 46].try_into().unwrap();
    put(&mut file, second + 42, &offset);
    refused(&file);
}

#[test]
fn bytes_that_belong_to_no_entry_are_refused() {
    // After the archive, in a comment, before it, and between entries.
    let mut after = zip(&entries());
    let len = after.len();
    after.extend_from_slice(b"more");
    let fault = assert_fault!(refused(&after), Fault::TrailingBytes { count: 4, .. });
    says(&fault, &["the zip archive", &format!("offset {len}")]);
    let comment = changed(|file| {
        let at = file.len() - 2;
        file[at] = 4;
        file.extend_from_slice(b"note");
    });
    assert_fault!(comment, Fault::TrailingBytes { count: 4, .. });
    let between = changed(|file| {
        let at = local_header(file, 2);
        for record in [2] {
            let header = central_header(file, record) + 42;
            put(file, header, &(at as u32 + 4).to_le_bytes());
        }
        let end = file.len() - 6;
        let start = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) + 4;
        put(file, end, &start.to_le_bytes());
        file.splice(at..at, *b"gap!");
    });
    assert_fault!(between, Fault::TrailingBytes { count: 4, .. });
    let mut before = b"PK\x03\x04".to_vec();
    before.extend(zip(&entries()));
    refused(&before);
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let file = zip(&entries());
    for end in 1..file.len() {
        refused(&file[..end]);
    }
    says(&refused(&file[..file.len() - 30]), &["cut short", "fetch"]);
}

#[test]
fn end_records_that_disagree_with_the_directory_are_refused() {
    // Number of entries, size and place of the directory, disks.
    for (back, value) in [(12, 2), (14, 2), (10, 1), (6, 1), (18, 1), (16, 1)] {
        let fault = changed(|file| {
            let at = file.len() - back;
            file[at] = file[at].wrapping_add(value);
        });
        assert_fault!(fault, Fault::Zip { .. });
    }
}

#[test]
fn a_zip64_record_that_disagrees_with_the_end_record_is_refused() {
    let mut file = fixture_bytes("mini_zip.pth");
    open_bytes(&file).unwrap();
    let record = positions(&file, b"PK\x06\x06").next().unwrap();
    for (offset, value) in [(0, b'X'), (4, 45), (24, 9), (32, 9), (40, 9), (48, 9)] {
        let good = std::mem::replace(&mut file[record + offset], value);
        assert_fault!(refused(&file), Fault::Zip { .. });
        file[record + offset] = good;
    }
    open_bytes(&file).unwrap();
}

#[test]
fn a_data_descriptor_that_disagrees_with_the_directory_is_refused() {
    let mut file = fixture_bytes("mini_zip.pth");
    let at = positions(&file, b"PK\x07\x08").next().unwrap();
    for offset in [4, 8, 12] {
        file[at + offset] ^= 1;
        assert_fault!(refused(&file), Fault::HeadersDisagree { .. });
        file[at + offset] ^= 1;
    }
}

#[test]
fn a_longer_header_that_swallows_the_start_of_the_data_is_refused() {
    // Without checksums: 16 bytes more of header, so that the data would end with its descriptor.
    let mut file = fixture_bytes("mini_no_crc.pth");
    let entry = positions(&file, b"archive/data/0").next().unwrap();
    file[entry - 2] += 16;
    assert_fault!(refused(&file), Fault::Zip { .. });
}

#[test]
fn a_compression_other_than_deflate_is_refused() {
    let fault = changed(|file| {
        for at in [central_header(file, 2) + 10, local_header(file, 2) + 8] {
            file[at] = 12;
        }
    });
    says(&assert_fault!(fault, Fault::Compression { method: 12, .. }), &["`archive/data/0`", "torch.save"]);
}

// ---- Zip: data ----

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

// ---- Legacy ----

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

// ---- safetensors ----

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
    let mut latin = safetensors("{\"?\":1}", 0);
    latin[10] = 0xff;
    assert_fault!(refused(&latin), Fault::Header { .. });
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
