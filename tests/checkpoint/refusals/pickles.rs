//! Pickles that could do more than describe weights, or that break the rules of pickles.

use super::says;
use crate::common::checkpoint_files::*;
use resnext_builder::checkpoint::Fault;

/// In every container, and with every way of naming a global, used or not.
#[test]
fn a_global_outside_the_allow_list_is_refused_even_if_unused() {
    type Way = fn(Pickle) -> Pickle;
    let ways: [(&str, Way); 10] = [
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
fn the_message_about_a_global_names_it_its_offset_its_key_and_the_fix() {
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
fn a_frame_that_does_not_hold_whole_opcodes_is_refused() {
    let body = one_weight(|p| p.plain("0"));
    let framed = |length: usize, body: &[u8]| [b"\x80\x04\x95", &(length as u64).to_le_bytes()[..], body].concat();
    let whole = body.len() - 2;
    open_bytes(&zipped(&framed(whole, &body[2..]))).unwrap();
    // An end within the key, and a frame within a frame; what follows a frame needs none.
    assert_fault!(refused(&zipped(&framed(5, &body[2..]))), Fault::Malformed { .. });
    open_bytes(&zipped(&framed(whole - 1, &body[2..]))).unwrap();
    let inner = framed(whole, &body[2..]);
    assert_fault!(refused(&zipped(&framed(inner.len() - 2, &inner[2..]))), Fault::Malformed { .. });
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
    assert_fault!(refused(&[&magic[..], &good[15..]].concat()), Fault::PlainPickle { .. });
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
