//! Zip archives that are damaged, or that two readers would read in two ways.

use super::says;
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::Fault;

pub(crate) fn pickle() -> Vec<u8> {
    one_weight(|p| p.plain("0"))
}

/// A sound archive of three entries.
pub(crate) fn entries() -> [Entry; 3] {
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
        let header = central_header(file, 2) + 42;
        put(file, header, &(at as u32 + 4).to_le_bytes());
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
