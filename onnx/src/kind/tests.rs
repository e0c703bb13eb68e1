use std::path::PathBuf;

use super::*;

fn kind(content: &[u8]) -> Kind {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, content).unwrap();
    of(&path).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// A zip archive of empty, stored entries.
fn zip(names: &[&str]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for name in names {
        let offset = bytes.len() as u32;
        let length = (name.len() as u16).to_le_bytes();
        bytes.extend(b"PK\x03\x04");
        bytes.extend([0; 22]);
        bytes.extend(length);
        bytes.extend([0; 2]);
        bytes.extend(name.bytes());
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 24]);
        directory.extend(length);
        directory.extend([0; 12]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06");
    bytes.extend([0; 8]);
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

#[test]
fn files_of_our_own_are_known() {
    for (name, expected) in [
        ("exports/resnext_dynamo.onnx", Kind::Onnx),
        ("exports/resnext_torchscript.onnx", Kind::Onnx),
        ("checkpoints/mini_zip.pth", Kind::Torch),
        ("checkpoints/mini_legacy.pth", Kind::Torch),
        ("checkpoints/mini_legacy_protocol1.pth", Kind::Torch),
        ("checkpoints/mini_zip64.pth", Kind::Torch),
        ("checkpoints/mini.safetensors", Kind::Safetensors),
    ] {
        assert_eq!(of(&fixture(name)).unwrap(), expected, "{name}");
    }
}

#[test]
fn what_is_no_network_is_named() {
    for (content, expected) in [
        (&b""[..], Kind::Empty),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", Kind::LfsPointer),
        (b"\n <!DOCTYPE html><html></html>", Kind::Html),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", Kind::Html),
        (b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\"><layers>", Kind::OpenVino),
        (b"{\"metadata\": {\"total_size\": 1}, \"weight_map\": {}}", Kind::ShardIndex),
        (b"{\"a\": 1}", Kind::Json),
        (b"some words", Kind::Text),
        (b"\x1f\x8b\x08rest", Kind::Compressed("gzip")),
        (b"\x80\x04\x95rest", Kind::Pickle),
        (b"\xff\xfe\x00\x01\x02", Kind::Unknown(vec![0xff, 0xfe, 0, 1, 2])),
    ] {
        assert_eq!(kind(content), expected, "{}", String::from_utf8_lossy(content));
    }
}

#[test]
fn archives_are_told_apart_by_their_entries() {
    for (names, expected) in [
        (&["a/data.pkl", "a/version"][..], Kind::Torch),
        (&["a/data.pkl", "a/code/__torch__.py", "a/constants.pkl"], Kind::TorchScript),
        (&["m/archive_format", "m/models/model.json"], Kind::TorchExport),
        (&["m/saved_model.pb"], Kind::Framework("a zipped TensorFlow SavedModel", "tf2onnx turns it into ONNX")),
        (&["x.npy", "y.npy"], Kind::Other("an archive of NumPy arrays (.npz)")),
        (&["m/readme.txt", "m/", "m/model.onnx"], Kind::Zip(vec!["m/model.onnx".into(), "m/readme.txt".into()])),
        (&[], Kind::Zip(vec![])),
    ] {
        assert_eq!(kind(&zip(names)), expected, "{names:?}");
    }
    assert_eq!(kind(b"PK\x03\x04 and nothing more"), Kind::Zip(vec![]));
}

#[test]
fn advice_says_what_takes_the_file() {
    let path = Path::new("w.pth");
    let said = Kind::Torch.advice(Wanted::Model, path);
    assert_eq!(said, "build a model from it: resnext-build --weights w.pth -o model.onnx");
    assert!(Kind::Onnx.advice(Wanted::Checkpoint, path).contains("resnext-build optimize"));
    assert!(Kind::Compressed("gzip").advice(Wanted::Model, path).contains("unpack"));
}
