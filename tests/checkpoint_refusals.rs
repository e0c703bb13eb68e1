//! Every kind of file that must be refused, each made for its test: the fault names what, where and what to do, and
//! nothing is read that the file does not have.

mod checkpoint_files;

use checkpoint_files::*;
use resnext_builder::checkpoint::{Checkpoint, CheckpointError, Fault};

/// Why a file of torch's is refused, on opening or on reading all its weights.
fn refused_fixture(name: &str) -> CheckpointError {
    let path = fixture(&format!("hostile/{name}"));
    match Checkpoint::open(&path) {
        Ok(checkpoint) => contents(&checkpoint).expect_err(name),
        Err(error) => error,
    }
}

/// That the message of `error` holds all of `parts`, and is one line.
#[track_caller]
fn says(error: &impl ToString, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains('\n'), "more than one line: {text}");
}

macro_rules! assert_fault {
    ($fault:expr, $pattern:pat $(if $guard:expr)?) => {{
        let fault = $fault;
        assert!(matches!(&fault, $pattern $(if $guard)?), "another fault: {fault} ({fault:?})");
        fault
    }};
}

// ---- The file as a whole ----

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
fn a_file_of_another_kind_is_refused_with_its_first_bytes() {
    let fault = assert_fault!(refused(b"\x89HDF\r\n\x1a\n and so on"), Fault::Unrecognised { .. });
    says(&fault, &["89 48 44 46", ".safetensors"]);
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

// ---- Pickles ----

/// In every container, and with every way of naming a global, used or not.
#[test]
fn a_global_outside_the_allow_list_is_refused_even_if_unused() {
    let ways: [(&str, fn(Pickle) -> Pickle); 10] = [
        ("unused", |p| p.global("os", "system").raw(b"0N")),
        ("used", |p| p.global("os", "system").raw(b"(").str("true").raw(b"tR")),
        ("STACK_GLOBAL", |p| p.str("os").str("system").raw(b"\x93")),
        ("STACK_GLOBAL of short strings", |p| p.raw(b"\x8c\x02os\x8c\x06system\x93")),
        ("STACK_GLOBAL of the memo", |p| p.str("system").raw(b"q\x07").raw(b"0").str("os").raw(b"h\x07\x93")),
        ("STACK_GLOBAL of duplicated values", |p| p.str("os").str("system").raw(b"20\x93")),
        ("INST", |p| p.raw(b"(").str("true").raw(b"ios\nsystem\n")),
        ("OBJ", |p| p.raw(b"(").global("os", "system").str("true").raw(b"o")),
        ("NEWOBJ", |p| p.global("os", "system").raw(b")\x81")),
        ("NEWOBJ_EX", |p| p.global("os", "system").raw(b")}\x92")),
    ];
    for (way, value) in ways {
        let pickle = weight_and(value);
        for file in [zipped(&pickle), zipped_without_crc(&pickle), legacy(&pickle, &["0"], &[(6, six_floats())])] {
            let Fault::Global { place, global, .. } = refused(&file) else { panic!("{way}") };
            assert_eq!(global, "os.system", "{way}");
            assert!(place.offset > 0);
        }
    }
}

#[test]
fn the_message_about_a_global_names_it_its_offset_its_key_and_the_mend() {
    let pickle = weight_and(|p| p.global("posix", "system").raw(b"0N"));
    let at = positions(&pickle, b"cposix").next().unwrap();
    let parts =
        ["archive/data.pkl", &format!("offset {at} "), "`posix.system`", "`extra`", "nothing was run", "torch.save"];
    says(&refused(&zipped(&pickle)), &parts);
}

#[test]
fn a_global_after_the_memo_was_overwritten_is_the_one_an_unpickler_would_see() {
    // Memo entry 3 is a harmless name at first, and another when it is used.
    let pickle =
        weight_and(|p| p.str("OrderedDict").raw(b"q\x030").str("system").raw(b"q\x030").str("os").raw(b"h\x03\x93"));
    assert_fault!(refused(&zipped(&pickle)), Fault::Global { global, .. } if global == "os.system");
    // And the other way round: what looks like an attack is none.
    let pickle = weight_and(|p| {
        p.str("system").raw(b"q\x030").str("OrderedDict").raw(b"q\x030").str("collections").raw(b"h\x03\x93)R")
    });
    open_bytes(&zipped(&pickle)).unwrap();
}

#[test]
fn a_global_in_the_frames_of_protocol_4_is_refused() {
    let body = Pickle::default()
        .raw(b"}(\x8c\x0cconv1.weight\x94")
        .plain("0")
        .raw(b"\x8c\x01x\x8c\x02os\x94\x8c\x06system\x94\x93");
    let body = body.raw(b")Ru.").0;
    let mut pickle = b"\x80\x04\x95".to_vec();
    pickle.extend_from_slice(&(body.len() as u64).to_le_bytes());
    pickle.extend_from_slice(&body);
    assert_fault!(refused(&zipped(&pickle)), Fault::Global { global, .. } if global == "os.system");
}

#[test]
fn names_close_to_allowed_ones_are_refused() {
    for (module, name) in [
        ("torch.storage", "_load_from_bytes"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor_v2 "),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("collections", "OrderedDict.__init__"),
        ("torch", "FloatStorage.from_file"),
        ("builtins", "getattr"),
        ("", "OrderedDict"),
        ("collections", ""),
        ("cоllections", "OrderedDict"), // a Cyrillic letter
    ] {
        let pickle = weight_and(|p| p.global(module, name));
        assert_fault!(refused(&zipped(&pickle)), Fault::Global { .. });
    }
}

#[test]
fn bytes_that_only_look_like_an_attack_are_accepted() {
    let nested = Pickle::new().global("os", "system").raw(b"(").str("true").raw(b"tR").stop();
    let text = "cos\nsystem\n(S'true'\ntR.";
    let pickle = weight_and(|p| p.raw(b"C").raw(&[nested.len() as u8]).raw(&nested).raw(b"0").str(text));
    open_bytes(&zipped(&pickle)).unwrap();
}

#[test]
fn a_nested_pickle_is_refused_where_something_would_load_it() {
    let nested = Pickle::new().global("os", "system").raw(b"(").str("true").raw(b"tR").stop();
    for (module, name) in [("torch.storage", "_load_from_bytes"), ("pickle", "loads"), ("_pickle", "loads")] {
        let load = |p: Pickle| p.global(module, name).raw(b"C").raw(&[nested.len() as u8]).raw(&nested).raw(b"\x85R");
        let expected = format!("{module}.{name}");
        assert_fault!(refused(&zipped(&weight_and(load))), Fault::Global { global, .. } if *global == expected);
    }
}

#[test]
fn every_pickle_of_an_archive_is_scanned() {
    let evil = Pickle::new().global("os", "system").stop();
    let mut entries =
        vec![stored("archive/data.pkl", &one_weight(|p| p.plain("0"))), stored("archive/data/0", &six_floats())];
    entries.push(stored("archive/extra/more.pkl", &evil));
    let fault = assert_fault!(refused(&zip(&entries)), Fault::Global { .. });
    says(&fault, &["archive/extra/more.pkl"]);
}

#[test]
fn every_pickle_of_a_legacy_file_is_scanned() {
    let pickle = one_weight(|p| p.plain("0"));
    let good = legacy(&pickle, &["0"], &[(6, six_floats())]);
    open_bytes(&good).unwrap();
    // `os.system` as an element of the list of keys, popped at once.
    let keys_at = legacy_header().len() + pickle.len();
    let evil = [&good[..keys_at + 4], b"cos\nsystem\n0", &good[keys_at + 4..]].concat();
    says(&assert_fault!(refused(&evil), Fault::NotLiteral { .. }), &["storage keys", "os.system"]);
}

#[test]
fn a_legacy_magic_number_made_by_a_call_is_refused() {
    let good = legacy(&one_weight(|p| p.plain("0")), &["0"], &[(6, six_floats())]);
    let magic = Pickle::new().global("builtins", "int").str("119547037146038801333356").raw(b"\x85R").stop();
    let file = [&magic[..], &good[15..]].concat();
    says(&assert_fault!(refused(&file), Fault::NotLiteral { .. }), &["magic number", "`builtins.int`", "offset 2"]);
    // The object 119547037146038801333356 built by a harmless call is refused as well: nothing but a number will do.
    let magic = Pickle::new().global("collections", "OrderedDict").raw(b")R0").raw(&good[2..14]).stop();
    assert_fault!(refused(&[&magic[..], &good[15..]].concat()), Fault::NotLiteral { .. });
}

#[test]
fn unknown_opcodes_and_those_of_the_extension_registry_are_refused() {
    let opcodes: [(&[u8], &str); 8] = [
        (b"\xff", "0xff (unknown)"),
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\x00", "EXT2"),
        (b"\x84\x01\x00\x00\x00", "EXT4"),
        (b"\x97", "NEXT_BUFFER"),
        (b"\x96\x00\x00\x00\x00\x00\x00\x00\x00", "BYTEARRAY8"),
        (b"P0\n", "PERSID"),
        (b"S'x'\n", "STRING"),
    ];
    for (bytes, name) in opcodes {
        let pickle = weight_and(|p| p.raw(bytes));
        let at = format!("offset {}", pickle.len() - bytes.len() - 2);
        says(&assert_fault!(refused(&zipped(&pickle)), Fault::Opcode { .. }), &[name, &at]);
    }
}

#[test]
fn a_pickle_protocol_above_5_is_refused() {
    let mut pickle = one_weight(|p| p.plain("0"));
    pickle[1] = 5;
    open_bytes(&zipped(&pickle)).unwrap();
    pickle[1] = 6;
    says(
        &assert_fault!(refused(&zipped(&pickle)), Fault::PickleProtocol { version: 6, .. }),
        &["offset 0", "pickle_protocol=2"],
    );
}

#[test]
fn a_pickle_cut_anywhere_is_refused() {
    let pickle = one_weight(|p| p.plain("0"));
    for end in 0..pickle.len() {
        let fault = refused(&zipped(&pickle[..end]));
        let cut = matches!(fault, Fault::PickleCut { .. } | Fault::PickleLength { .. });
        assert!(cut, "cut at {end}: {fault}");
    }
}

#[test]
fn declared_lengths_beyond_the_pickle_are_refused_before_memory_is_taken() {
    let lengths: [&[u8]; 7] = [
        b"X\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"T\xff\xff\xff\x7f",
        b"B\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for bytes in lengths {
        let pickle = weight_and(|p| p.raw(bytes));
        says(&assert_fault!(refused(&zipped(&pickle)), Fault::PickleLength { .. }), &["declares", "offset"]);
    }
}

#[test]
fn a_text_argument_without_an_end_is_refused() {
    let pickle = weight_and(|p| p.raw(b"c").raw(&[b'a'; 4000]));
    assert_fault!(refused(&zipped(&pickle)), Fault::Malformed { .. });
}

#[test]
fn stack_underflow_is_refused() {
    for bytes in [
        &b"00000000000"[..],
        b"R",
        b"(R",
        b"a",
        b"b",
        b"\x87",
        b"Q",
        b"\x81",
        b"\x92",
        b"\x93",
        b"eeee",
        b"tttt",
        b"2(2",
        b"(q\x01",
    ] {
        let pickle = Pickle::new().raw(bytes).stop();
        assert_fault!(refused(&zipped(&pickle)), Fault::Malformed { .. });
    }
}

#[test]
fn a_dangling_memo_reference_is_refused() {
    for bytes in [&b"h\x09"[..], b"j\x09\x00\x00\x00"] {
        says(
            &assert_fault!(refused(&zipped(&weight_and(|p| p.raw(bytes)))), Fault::Malformed { .. }),
            &["memo entry 9", "offset"],
        );
    }
}

#[test]
fn calls_of_what_is_no_function_or_with_wrong_arguments_are_refused() {
    let calls: [fn(Pickle) -> Pickle; 12] = [
        |p| p.str("text").raw(b")R"),
        |p| p.global("torch", "FloatStorage").raw(b")R"),
        |p| p.global("torch", "float32").raw(b")R"),
        |p| p.global("collections", "OrderedDict").raw(b"NR"),
        |p| p.global("collections", "OrderedDict").raw(b"N\x85R"),
        |p| p.global("torch._utils", "_rebuild_tensor_v2").raw(b")R"),
        |p| p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(NNNNNNtR"),
        |p| p.global("torch._utils", "_rebuild_parameter").raw(b"NNN\x87R"),
        |p| p.global("torch", "Size").raw(b"N\x85R"),
        |p| p.global("collections", "OrderedDict").raw(b")}").str("a").raw(b"Ns\x92"),
        |p| p.str("text").raw(b"}b"),
        |p| p.raw(b"N").str("a").raw(b"Ns"),
    ];
    for (index, call) in calls.into_iter().enumerate() {
        let fault = refused(&zipped(&weight_and(call)));
        assert!(matches!(fault, Fault::Malformed { .. }), "call {index}: {fault}");
    }
}

#[test]
fn persistent_ids_other_than_storages_are_refused() {
    let ids: [fn(Pickle) -> Pickle; 5] = [
        |p| p.str("storage").raw(b"Q"),
        |p| p.raw(b")Q"),
        |p| p.raw(b"(").str("other").global("torch", "FloatStorage").str("0").str("cpu").int(6).raw(b"tQ"),
        |p| p.raw(b"(").str("storage").str("FloatStorage").str("0").str("cpu").int(6).raw(b"tQ"),
        // A view of a storage, as only torch before 0.4 described it.
        |p| p.raw(b"(").str("storage").global("torch", "FloatStorage").str("0").str("cpu").int(6).raw(b")tQ"),
    ];
    for id in ids {
        assert_fault!(refused(&zipped(&weight_and(id))), Fault::Malformed { .. });
    }
}

#[test]
fn bytes_after_the_pickle_are_refused() {
    let mut pickle = one_weight(|p| p.plain("0"));
    let end = pickle.len();
    pickle.extend_from_slice(b"cos\nsystem\n.");
    says(
        &assert_fault!(refused(&zipped(&pickle)), Fault::TrailingBytes { count: 12, .. }),
        &["archive/data.pkl", &format!("offset {end}")],
    );
}

// ---- The dictionary of weights ----

#[test]
fn a_duplicate_key_is_refused_wherever_it_is() {
    let twice = Pickle::new().raw(b"}(").str("conv1.weight").plain("0").str("conv1.weight").plain("0").raw(b"u").stop();
    says(&assert_fault!(refused(&zipped(&twice)), Fault::DuplicateKey { .. }), &["`conv1.weight`", "offset"]);
    // Set one by one, in an OrderedDict from Python 2, beside the weights, and as numbers that Python holds for equal.
    let one_by_one = Pickle::new().raw(b"}").str("a").plain("0").raw(b"s").str("a").raw(b"Ns").stop();
    let pairs =
        |p: Pickle| p.global("collections", "OrderedDict").raw(b"](](").str("a").raw(b"Ne](").str("a").raw(b"Nee\x85R");
    let beside = weight_and(|p| p.raw(b"}(").str("k").raw(b"N").str("k").raw(b"Nu"));
    let numbers = weight_and(|p| p.raw(b"}(K\x01N\x88Nu"));
    for pickle in [one_by_one, weight_and(pairs), beside, numbers] {
        assert_fault!(refused(&zipped(&pickle)), Fault::DuplicateKey { .. });
    }
}

#[test]
fn a_key_that_is_no_string_is_refused() {
    let error = refused_fixture("integer_key.pth");
    says(&assert_fault!(*error.fault, Fault::KeyNotString { .. }), &["the int 1", "offset"]);
}

#[test]
fn a_dictionary_without_known_keys_is_refused_with_its_keys() {
    let error = refused_fixture("unknown_nesting.pth");
    says(
        &assert_fault!(*error.fault, Fault::NoWeights { .. }),
        &["`epoch`, `net`, `optimizer`", "torch.load(file)[KEY]"],
    );
}

#[test]
fn only_the_first_of_many_keys_are_listed() {
    let pickle = (0..500).fold(Pickle::new().raw(b"}("), |p, i| p.str(&format!("key {i}")).raw(b"N")).raw(b"u").stop();
    says(&assert_fault!(refused(&zipped(&pickle)), Fault::NoWeights { .. }), &["`key 19`", "and 480 more"]);
}

#[test]
fn an_empty_dictionary_and_a_lone_tensor_are_refused() {
    assert_fault!(*refused_fixture("nothing.pth").fault, Fault::NoWeights { .. });
    says(
        &assert_fault!(*refused_fixture("tensor.pth").fault, Fault::NotADictionary { .. }),
        &["a tensor", "state_dict"],
    );
}

#[test]
fn a_dictionary_that_holds_itself_is_refused() {
    // {"state_dict": <itself>}
    let pickle = Pickle::new().raw(b"}q\x00").str("state_dict").raw(b"h\x00s").stop();
    assert_fault!(refused(&zipped(&pickle)), Fault::NoWeights { .. });
}

#[test]
fn a_whole_model_is_refused() {
    for name in ["module_zip.pth", "module_legacy.pth", "module_nested.pth"] {
        let error = refused_fixture(name);
        let parts = ["torch.nn.modules.container.Sequential", "model.state_dict()"];
        says(&assert_fault!(*error.fault, Fault::WholeModule { .. }), &parts);
    }
    let own_class = Pickle::new().global("__main__", "Net").raw(b")\x81}b").stop();
    assert_fault!(refused(&zipped(&own_class)), Fault::WholeModule { .. });
}

#[test]
fn classes_that_training_scripts_save_are_refused_by_name() {
    says(&refused_fixture("namespace.pth"), &["`argparse.Namespace`", "`args`"]);
    says(&refused_fixture("numpy_scalar.pth"), &["multiarray.scalar`", "`best_acc`"]);
}

// ---- Tensors ----

#[test]
fn tensors_that_are_no_plain_real_numbers_are_refused_by_name() {
    for (name, kind, mend) in [
        ("sparse.pth", "sparse", ".to_dense()"),
        ("sparse_csr.pth", "sparse", ".to_dense()"),
        ("quantized.pth", "quantized", ".dequantize()"),
        ("complex.pth", "complex64", ".real"),
        ("float8.pth", "float8", ".float()"),
        ("meta.pth", "meta", "load the weights"),
    ] {
        let error = refused_fixture(name);
        says(&assert_fault!(*error.fault, Fault::TensorKind { .. }), &["`fc.weight`", kind, mend]);
    }
}

#[test]
fn a_weight_of_integers_is_refused_when_it_is_read() {
    let checkpoint = Checkpoint::open(&fixture("hostile/integer.pth")).unwrap();
    let error = checkpoint.read_f32("fc.weight").unwrap_err();
    says(&assert_fault!(*error.fault, Fault::IntegerTensor { .. }), &["`fc.weight`", "i32", ".float()"]);
}

#[test]
fn a_quantized_storage_is_refused_even_in_an_ordinary_tensor() {
    let pickle = one_weight(|p| p.tensor("QInt8Storage", "0", 24, 0, &[24], &[1]));
    assert_fault!(refused(&zipped(&pickle)), Fault::TensorKind { .. });
}

#[test]
fn a_missing_storage_is_refused() {
    let pickle = one_weight(|p| p.plain("7"));
    says(
        &assert_fault!(refused(&zipped(&pickle)), Fault::StorageMissing { .. }),
        &["`conv1.weight`", "`archive/data/7`"],
    );
}

#[test]
fn a_storage_of_another_length_than_declared_is_refused() {
    for numel in [5, 7, 1 << 40] {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", numel, 0, &[2], &[1]));
        let fault = assert_fault!(refused(&zipped(&pickle)), Fault::StorageLength { found: 24, .. });
        says(&fault, &["`conv1.weight`", "`archive/data/0`", &format!("{} bytes", numel * 4)]);
    }
}

#[test]
fn sizes_strides_and_offsets_that_make_no_sense_are_refused() {
    let huge = i64::MAX;
    let geometries: [(i64, &[i64], &[i64], &str); 9] = [
        (0, &[-2, 3], &[3, 1], "-2 is negative"),
        (0, &[2, 3], &[-3, 1], "-3 is negative"),
        (-1, &[2, 3], &[3, 1], "-1 is negative"),
        (0, &[huge, huge], &[3, 1], "overflow"),
        (0, &[huge], &[huge], "overflow"),
        (huge, &[huge], &[1], "overflow"),
        (0, &[2, 3], &[3], "2 sizes but 1 strides"),
        (0, &[6], &[1, 1], "1 sizes but 2 strides"),
        (0, &[1; 65], &[1; 65], "65 dimensions"),
    ];
    for (offset, size, stride, what) in geometries {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, offset, size, stride));
        says(&assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. }), &["`conv1.weight`", what]);
    }
    // Beyond 64 bits, and no numbers at all.
    let wide = |p: Pickle| p.raw(b"\x8a\x09\0\0\0\0\0\0\0\0\x01\x85");
    for dims in [wide, |p: Pickle| p.raw(b"N\x85"), |p: Pickle| p.raw(b"N")] {
        let pickle = one_weight(|p| {
            let p = p.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("FloatStorage", "0", 6).int(0);
            dims(dims(p)).raw(b"\x89NtR")
        });
        assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. });
    }
    // A negative number of elements in a storage.
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", -6, 0, &[2], &[1]));
    assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. });
}

#[test]
fn a_view_beyond_its_storage_is_refused() {
    let views: [(i64, &[i64], &[i64], u64); 5] = [
        (0, &[7], &[1], 7),
        (1, &[2, 3], &[3, 1], 7),
        (0, &[2, 3], &[4, 1], 7),
        (0, &[2], &[1 << 40], (1 << 40) + 1),
        (7, &[0], &[1], 7),
    ];
    for (offset, size, stride, reach) in views {
        let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, offset, size, stride));
        let fault = assert_fault!(refused(&zipped(&pickle)), Fault::BeyondStorage { has: 6, .. });
        says(&fault, &["`conv1.weight`", "`0`", &format!("needs {reach} elements")]);
    }
}

#[test]
fn a_view_that_repeats_elements_is_refused() {
    for name in ["expanded.pth", "overlapping_view.pth"] {
        let error = refused_fixture(name);
        says(&assert_fault!(*error.fault, Fault::SelfOverlap { .. }), &["`fc.weight`", "[3, 4]", ".contiguous()"]);
    }
    // A huge tensor out of one number.
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 6, 0, &[1 << 20, 1 << 20], &[0, 0]));
    assert_fault!(refused(&zipped(&pickle)), Fault::SelfOverlap { .. });
}

#[test]
fn weights_that_share_a_storage_are_refused() {
    for name in ["tied.pth", "halves.pth"] {
        let error = refused_fixture(name);
        let parts = ["`fc.weight`", "`head.weight`", "`3`", "clone()"];
        says(&assert_fault!(*error.fault, Fault::SharedStorage { .. }), &parts);
    }
}

#[test]
fn a_storage_declared_in_two_ways_is_refused() {
    let pickle = Pickle::new().raw(b"}(").str("conv1.weight").plain("0").str("other").storage("DoubleStorage", "0", 3);
    let file = legacy(&pickle.raw(b"u").stop(), &["0"], &[(6, six_floats())]);
    says(&assert_fault!(refused(&file), Fault::StorageRedeclared { .. }), &["`0`", "offset"]);
}

#[test]
fn a_tensor_whose_dtype_is_not_that_of_its_storage_is_refused() {
    let pickle = one_weight(|p| {
        let p = p.global("torch._utils", "_rebuild_tensor_v3").raw(b"(").storage("FloatStorage", "0", 6);
        p.int(0).ints(&[3]).ints(&[1]).raw(b"\x89N").global("torch", "float64").raw(b"tR")
    });
    assert_fault!(refused(&zipped(&pickle)), Fault::Geometry { .. });
    let untyped = one_weight(|p| p.tensor("UntypedStorage", "0", 24, 0, &[6], &[1]));
    assert_fault!(refused(&zipped(&untyped)), Fault::Geometry { .. });
}

#[test]
fn nan_and_infinity_are_refused_with_their_place() {
    for (name, value, index) in [
        ("nan.pth", "NaN", 6),
        ("inf.pth", "-inf", 6),
        // [3, 4] transposed: element (1, 2) is element (2, 1) of [4, 3].
        ("nan_f16_strided.pth", "NaN", 7),
        ("inf_f16_strided.pth", "-inf", 7),
    ] {
        let error = refused_fixture(name);
        says(
            &assert_fault!(*error.fault, Fault::NotFinite { .. }),
            &["`fc.weight`", value, &format!("element {index} ")],
        );
    }
}

#[test]
fn a_value_beyond_f32_is_refused_as_f32_but_not_as_f64() {
    let checkpoint = Checkpoint::open(&fixture("hostile/beyond_f32.pth")).unwrap();
    assert_eq!(checkpoint.read_f64("fc.weight").unwrap(), [1.0, -1e300]);
    let error = checkpoint.read_f32("fc.weight").unwrap_err();
    says(&assert_fault!(*error.fault, Fault::BeyondF32 { index: 1, .. }), &["`fc.weight`", "-1e300", "f32"]);
}

#[test]
fn a_negative_variance_is_refused() {
    let error = refused_fixture("negative_variance.pth");
    says(&assert_fault!(*error.fault, Fault::NegativeVariance { index: 2, .. }), &["`bn1.running_var`", "element 2"]);
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let checkpoint = Checkpoint::open(&fixture("mini_zip.pth")).unwrap();
    assert_fault!(*checkpoint.read_f32("conv2.weight").unwrap_err().fault, Fault::NoSuchTensor { .. });
}
