//! Files that are no checkpoint of weights at all.

use super::{refused_fixture, says};
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::{Checkpoint, Fault};

#[test]
fn an_error_names_the_file() {
    let error = refused_fixture("tar.pth");
    says(&error, &["hostile/tar.pth: "]);
}

#[test]
fn the_makers_of_this_test_write_files_that_are_accepted() {
    let pickle = one_weight(|p| p.plain("0"));
    for file in [
        zipped(&pickle),
        zipped_without_crc(&pickle),
        zip(&[deflated("x/data.pkl", &pickle), deflated("x/data/0", &six_floats())]),
        legacy(&pickle, &["0"], &[(6, six_floats())]),
        safetensors(r#"{"conv1.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#, 24),
    ] {
        let checkpoint = open_bytes(&file).unwrap();
        assert_eq!(checkpoint.get("conv1.weight").unwrap().shape, [2, 3]);
        assert_eq!(checkpoint.read_f32("conv1.weight").unwrap().len(), 6);
    }
}

#[test]
fn a_message_stays_one_line_of_legible_length_whatever_the_names() {
    let long = "x".repeat(100_000);
    for name in ["a\nb\x1b[31mred\u{7}\u{85}", &long] {
        let twice = Pickle::new().raw(b"}(").str(name).raw(b"N").str(name).raw(b"Nu").stop();
        let message = open_bytes(&zipped(&twice)).unwrap_err().to_string();
        assert!(!message.contains(char::is_control), "{message}");
        assert!(message.chars().count() < 2500 && message.ends_with("\"weights.pth\")"), "{message}");
    }
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let error = Checkpoint::open(&fixture("no such file.pth")).unwrap_err();
    assert_fault!(*error.fault, Fault::Io { .. });
}

#[test]
fn a_folder_is_refused() {
    let error = Checkpoint::open(&fixture(".")).unwrap_err();
    assert_fault!(*error.fault, Fault::NotAFile);
}

#[test]
fn an_empty_file_is_refused() {
    let fault = assert_fault!(refused(b""), Fault::Empty);
    says(&fault, &["empty", "fetch"]);
}

#[test]
fn a_web_page_is_refused() {
    for page in
        [&b"<!DOCTYPE html><html><body>404</body></html>"[..], b"\xef\xbb\xbf\n <html>", b"<?xml version='1.0'?>"]
    {
        says(&assert_fault!(refused(page), Fault::Text { .. }), &["HTML", "download the file itself"]);
    }
    says(&assert_fault!(refused(b"{\"error\": \"not found\"}"), Fault::Text { .. }), &["JSON"]);
}

#[test]
fn a_git_lfs_pointer_is_refused() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 100441675\n";
    says(&assert_fault!(refused(pointer), Fault::LfsPointer), &["git lfs pull"]);
}

#[test]
fn a_file_of_another_kind_is_named_or_refused_with_its_first_bytes() {
    let fault = assert_fault!(refused(b"\xffABC and so on"), Fault::Unrecognised { .. });
    says(&fault, &["ff 41 42 43", ".safetensors"]);
    let model = b"\x08\x08\x12\x07pytorch:\x02";
    says(&assert_fault!(refused(model), Fault::OtherKind { .. }), &["an ONNX model", "resnext-build optimize"]);
    let fault = assert_fault!(refused(b"\x89HDF\r\n\x1a\n and so on"), Fault::OtherKind { .. });
    says(&fault, &["HDF5", "Keras", "tf2onnx"]);
}

#[test]
fn files_of_one_to_ten_bytes_are_refused() {
    for start in
        [&b"PK\x03\x04"[..], b"\x80\x02", b"\x80", b"{", b"P", b"\x00\x00\x00\x00\x00\x00\x00\x00{", b"c\n", b"L1"]
    {
        open_bytes(start).unwrap_err();
    }
}

#[test]
fn a_tar_checkpoint_is_refused() {
    says(&refused_fixture("tar.pth"), &["tar", "0.1.10", "torch.save"]);
}

#[test]
fn a_torchscript_archive_is_refused() {
    let error = refused_fixture("torchscript.pt");
    says(&assert_fault!(*error.fault, Fault::TorchScript { .. }), &["TorchScript", "torch.jit.load"]);
}

#[test]
fn a_plain_pickle_is_refused() {
    let fault =
        assert_fault!(refused(&Pickle::new().raw(b"}").str("a").int(1).raw(b"s").stop()), Fault::PlainPickle { .. });
    says(&fault, &["plain pickle", "dict", "torch.save"]);
}
