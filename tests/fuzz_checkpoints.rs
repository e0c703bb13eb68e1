//! Fuzzing on the stable toolchain: seeded mutations of real and hand-made checkpoints, for `FUZZ_SECONDS` (3 unless
//! set) per target, from `FUZZ_SEED` (0 unless set) on. No input may panic, take a minute or a gigabyte; and whatever
//! is accepted, another reader that accepts it too must see the same tensors in it.

mod common {
    #[allow(dead_code, reason = "the tests of the reader use the rest")]
    pub(crate) mod checkpoint_files;
    pub(crate) mod fuzzing;
    #[allow(dead_code, reason = "the tests of the reader use the rest")]
    pub(crate) mod memory;
    pub(crate) mod tokens;
}

use common::checkpoint_files::*;
use common::{fuzzing, tokens};
use onnx_file::element::ElementType;
use resnext_builder::checkpoint::Checkpoint;
use std::cell::RefCell;

/// Numbers at the edges, and the bytes that mean something in one of the formats.
const PIECES: &[&[u8]] = &[
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff",
    b"\x01\0\0\0\0\0\0\0",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06\0\0\0\0",
    b"PK\x06\x06",
    b"PK\x07\x08",
    b"\x01\0\x10\0",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8a\x08\0\0\0\0\0\0\0\x80",
    b"\x8a\x09\0\0\0\0\0\0\0\0\x01",
    b"K\0",
    b"K\x01",
    b"K\x06",
    b"X\x01\0\0\0a",
    b"\x8c\x010",
    b"cos\nsystem\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nSize\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"h\x01h\x02\x93",
    b"q\x01",
    b"h\x01",
    b"\x94",
    b"(",
    b"t",
    b"]",
    b"}",
    b")",
    b"\x85",
    b"\x86",
    b"\x87",
    b"R",
    b"b",
    b"Q",
    b"a",
    b"e",
    b"s",
    b"u",
    b"0",
    b"1",
    b"2",
    b"o",
    b"\x81",
    b"\x92",
    b"N",
    b"\x88",
    b".",
    b"\x95\x10\0\0\0\0\0\0\0",
    b"[0,0]",
    b"[18446744073709551615]",
    b"-1",
    b"1e9",
    b"\"F16\"",
    b"\"I64\"",
    b"\"a\":",
    b"{",
    b"}",
    b",",
];

/// Fuzzes the checkpoint reader: what is accepted must also be what `agrees` sees.
fn fuzz(target: &str, corpus: Vec<Vec<u8>>, build: impl Fn(&[u8]) -> Vec<u8>, agrees: impl Fn(&Checkpoint, &Contents)) {
    let mut scratch = Scratch::new();
    fuzzing::run(target, corpus, PIECES, build, |file| {
        let checkpoint = scratch.open(file).ok()?;
        let contents = contents(&checkpoint).ok()?;
        agrees(&checkpoint, &contents);
        Some(())
    });
}

/// What `pytorch-reader` sees, where it accepts the file. It knows neither nesting nor prefixes, and its memo holds
/// copies, so that it misses what is set in a dictionary afterwards; but the tensors it has must be the same.
fn agrees_with_pytorch_reader(checkpoint: &Checkpoint, contents: &Contents) {
    if checkpoint.nested_under().is_some() || checkpoint.stripped_prefix().is_some() {
        return;
    }
    let Ok(theirs) = pytorch_reader::PytorchReader::new(checkpoint.path()) else { return };
    for (name, shape, values) in contents {
        let Some(tensor) = theirs.get(name) else { continue };
        assert_eq!(tensor.shape(), shape, "{name}");
        let (Some(values), Ok(bytes)) = (values, tensor.read()) else { continue };
        assert_eq!(*values, decoded(&bytes, checkpoint.get(name).unwrap().dtype), "{name}");
    }
}

/// What the `safetensors` crate sees.
fn agrees_with_safetensors(checkpoint: &Checkpoint, contents: &Contents) {
    if checkpoint.stripped_prefix().is_some() {
        return;
    }
    let bytes = std::fs::read(checkpoint.path()).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), contents.len());
    for (name, shape, values) in contents {
        let tensor = theirs.tensor(name).unwrap();
        assert_eq!(tensor.shape(), shape, "{name}");
        if let Some(values) = values {
            assert_eq!(*values, decoded(tensor.data(), checkpoint.get(name).unwrap().dtype), "{name}");
        }
    }
}

fn decoded(bytes: &[u8], dtype: ElementType) -> Vec<f64> {
    let each = bytes.chunks_exact(dtype.size());
    match dtype {
        ElementType::F16 => each.map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        ElementType::BF16 => each.map(|b| half::bf16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        ElementType::F32 => each.map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        _ => each.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
    }
}

/// The pickle, in an archive whose headers and checksums are right.
#[test]
fn fuzz_pickle_scan() {
    let mut corpus = Vec::new();
    for name in ["mini_no_crc.pth", "mini_protocol4.pth", "hostile/numpy_scalar.pth", "hostile/unknown_nesting.pth"] {
        let bytes = fixture_bytes(name);
        // The first entry's data: from the padding after its name to its descriptor.
        let start = 30 + u16::from_le_bytes([bytes[26], bytes[27]]) + u16::from_le_bytes([bytes[28], bytes[29]]);
        let end = positions(&bytes, b"PK\x07\x08").next().unwrap();
        corpus.push(bytes[start.into()..end].to_vec());
    }
    corpus.push(one_weight(|p| p.plain("0")));
    corpus.push(weight_and(|p| p.str("os").str("system").raw(b"\x930(]}K\x01)\x94e0N")));
    corpus.push(one_weight(|p| p.raw(b"}").str("state_dict").raw(b"}").str("module.a").plain("0").raw(b"ss")));
    let numbers: Vec<u8> = (0..54u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    let build = |pickle: &[u8]| {
        let storages = [216, 12, 12, 12, 12, 8].iter().enumerate();
        let mut entries = vec![stored("archive/data.pkl", pickle)];
        entries.extend(storages.map(|(key, len)| stored(&format!("archive/data/{key}"), &numbers[..*len])));
        zip(&entries)
    };
    fuzz("pickle_scan", corpus, build, agrees_with_pytorch_reader);
}

#[test]
fn fuzz_zip_reader() {
    let names = ["mini_zip.pth", "mini_no_crc.pth", "mini_deflated.pth", "mini_zip64.pth", "hostile/tied.pth"];
    let mut corpus: Vec<Vec<u8>> = names.map(fixture_bytes).into();
    corpus.push(zipped_without_crc(&one_weight(|p| p.plain("0"))));
    fuzz("zip_reader", corpus, <[u8]>::to_vec, agrees_with_pytorch_reader);
}

#[test]
fn fuzz_legacy_reader() {
    let names = ["mini_legacy.pth", "mini_legacy_protocol1.pth", "hostile/nan_f16_strided.pth"];
    let mut corpus: Vec<Vec<u8>> = names.map(fixture_bytes).into();
    corpus.push(legacy(&one_weight(|p| p.plain("0")), &["0"], &[(6, six_floats())]));
    fuzz("legacy_reader", corpus, <[u8]>::to_vec, agrees_with_pytorch_reader);
}

#[test]
fn fuzz_safetensors_reader() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}"#;
    let corpus = vec![fixture_bytes("mini.safetensors"), safetensors(header, 10)];
    // The length is right more often than mutations leave it.
    let build = |input: &[u8]| {
        let mut file = input.to_vec();
        if let Some(end) = input.iter().rposition(|byte| *byte == b'}')
            && input.len().is_multiple_of(2)
            && end >= 8
        {
            file[..8].copy_from_slice(&(end as u64 - 7).to_le_bytes());
        }
        file
    };
    fuzz("safetensors_reader", corpus, build, agrees_with_safetensors);
}

/// Nearly valid pickles full of objects that are passed over, in both containers: whatever is accepted has the tensors that
/// a second machine finds in the dictionary it came from, and none that is a part of such an object.
#[test]
fn fuzz_skipped_objects() {
    let beside = "dict put0 ( str0 dict str1 tensor0 put4 set str3";
    let corpus: Vec<Vec<u8>> = [
        "class0 ) reduce sets",
        "class0 ) new dict str6 tensor1 set build sets",
        "class1 ( int1 tensor1 tuple reduce put2 str3 get2 sets",
        "class2 ) dict str6 int1 set newex ( tensor1 tensor2 appends sets",
        "( class3 tensor1 obj sets",
        "( tensor1 int1 inst0 put3 dict str6 get3 set build sets",
        "stackglobal1 ) new ( str1 tensor1 str2 tensor2 sets sets",
        "emptyset sets",
        "ordered ) reduce put1 str2 tensor2 set class0 ) new get1 build pop sets",
        "tensor1 put1 class0 ) new dict str6 get1 set build pop sets",
        "parameter tensor1 put1 int0 dict tupleof2 reduce sets",
        "list put1 tensor1 append class0 get1 tupleof0 reduce pop sets",
        "class0 ordered ) reduce list build tupleof0 reduce sets",
        "class0 ordered ) reduce get4 build tupleof0 reduce sets",
    ]
    .map(|rest| tokens::bytes(&format!("{beside} {rest}")))
    .into();
    let input = RefCell::new(Vec::new());
    let build = |bytes: &[u8]| {
        *input.borrow_mut() = bytes.to_vec();
        let (pickle, storages) = (tokens::pickle(bytes), tokens::storages(bytes));
        if bytes.len().is_multiple_of(2) {
            let mut entries = vec![stored("archive/data.pkl", &pickle)];
            entries.extend(storages.iter().map(|key| stored(&format!("archive/data/{key}"), &numbers(*key))));
            zip(&entries)
        } else {
            let keys: Vec<String> = storages.iter().map(ToString::to_string).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            legacy(&pickle, &keys, &storages.iter().map(|key| (6, numbers(*key))).collect::<Vec<_>>())
        }
    };
    fuzz("skipped_objects", corpus, build, |checkpoint, contents| {
        let meaning = tokens::Meaning::of(&input.borrow()).expect("accepted, and Python would not load it");
        let keys: Vec<&str> = checkpoint.nested_under().map(|keys| keys.split('.').collect()).unwrap_or_default();
        let theirs = meaning.tensors(&keys).expect("accepted, and there is no such dictionary");
        assert_eq!(theirs.len(), contents.len());
        let inside = meaning.inside();
        for (name, _, values) in contents {
            let (value, storage) = theirs[name.as_str()];
            let values: Vec<u8> =
                values.as_ref().unwrap().iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
            assert_eq!(values, numbers(storage), "{name}");
            assert!(!inside.contains(&value), "{name} is a part of an object that is passed over");
        }
    });
}

/// Six floats that tell the storage `key` from others.
fn numbers(key: u8) -> Vec<u8> {
    (0..6u8).flat_map(|value| f32::from(key * 10 + value).to_le_bytes()).collect()
}
