//! Small files that ask for much: each is refused by a limit, and all together take little memory. They run in one
//! test, in a process of its own, so that the peak is theirs.

use crate::common::checkpoint_files::*;
use crate::common::memory::{alone, assert_peak_below};
use resnext_builder::checkpoint::Fault;

/// What all these files together may take. The largest legitimate part is a decompressed pickle of 64 MiB.
const MAX_PEAK_KIB: u64 = 400 << 10;

#[test]
fn small_files_that_ask_for_much_are_refused_by_limits() {
    alone("bounds::small_files_that_ask_for_much_are_refused_by_limits", || {
        memo_bombs();
        deep_nesting();
        endless_pickles();
        repeated_copies();
        deflate_bombs();
        unbounded_declarations();
        assert_peak_below(MAX_PEAK_KIB, "all these files");
    });
}

#[track_caller]
fn limited(file: &[u8], limit: &str) {
    assert!(file.len() < 70_000, "{} bytes are no small file", file.len());
    let fault = refused(file);
    let told = fault.to_string();
    assert!(matches!(fault, Fault::PickleLimit { .. }) && told.contains(limit), "{told}");
}

/// A pickle inside a compressed archive: a kilobyte of file is a megabyte of pickle.
fn compressed(pickle: &[u8]) -> Vec<u8> {
    zip(&[deflated("a/data.pkl", pickle), stored("a/data/0", &six_floats())])
}

/// Each list holds the one before ten times: 10^20 values in 400 bytes.
fn memo_bombs() {
    for (open, close) in [(&b"]("[..], &b"e"[..]), (b"(", b"t")] {
        let start = Pickle::new().str("x").raw(b"q\x00");
        let bomb = (0..20u8)
            .fold(start, |p, level| p.raw(open).raw(&[b'h', level].repeat(10)).raw(close).raw(&[b'q', level + 1]));
        limited(&zipped(&bomb.stop()), "shared ones repeated");
    }
    // As values of a dictionary, twice each.
    let start = Pickle::new().raw(b"}q\x00");
    let bomb = (0..60u8).fold(start, |p, level| {
        p.raw(b"}(").str("a").raw(&[b'h', level]).str("b").raw(&[b'h', level]).raw(&[b'u', b'q', level + 1])
    });
    limited(&zipped(&bomb.stop()), "shared ones repeated");
}

fn deep_nesting() {
    let levels = 60_000;
    let tuples = Pickle::new().raw(b"N").raw(&b"\x85".repeat(levels)).stop();
    limited(&zipped(&tuples), "levels of nesting");
    let lists = Pickle::new().raw(&b"]".repeat(levels / 2)).raw(&b"a".repeat(levels / 2 - 1)).stop();
    limited(&zipped(&lists), "levels of nesting");
    let marks = Pickle::new().raw(&b"(".repeat(levels / 2)).raw(b"N").raw(&b"t".repeat(levels / 2)).stop();
    limited(&zipped(&marks), "levels of nesting");
    let dicts =
        Pickle::new().raw(&b"}N".repeat(levels / 3)).raw(&b"Ns".repeat(10)).raw(b"N").raw(&b"ds".repeat(10)).stop();
    refused(&zipped(&dicts));
    // A thousand levels are no attack.
    let allowed = weight_and(|p| p.raw(b"N").raw(&b"\x85".repeat(990)));
    open_bytes(&zipped(&allowed)).unwrap();
}

fn endless_pickles() {
    let count = 3_000_000;
    for opcode in
        [&b"N"[..], b"]", b"}", b")", b"(", b"N0", b"]q\x00", b"K\x01", b"C\x00", b"X\0\0\0\0", b"\x80\x02", b"2"]
    {
        let pickle = Pickle::new().raw(b"N").raw(&opcode.repeat(count)).stop();
        limited(&compressed(&pickle), "steps");
    }
    // A memo entry for each step.
    limited(&compressed(&Pickle::new().raw(b"]").raw(&b"\x94".repeat(count)).stop()), "steps");
}

/// One long value, used again and again.
fn repeated_copies() {
    // An OrderedDict made of the same 10,000 pairs a thousand times.
    let pairs = Pickle::new()
        .global("collections", "OrderedDict")
        .raw(b"q\x010]q\x02(")
        .raw(&b"NN\x86".repeat(10_000))
        .raw(b"e0");
    let pickle = pairs.raw(&b"h\x01h\x02\x85R0".repeat(1000)).stop();
    limited(&compressed(&pickle), "steps");
    // A long string as the key of many storages, as the arguments of many calls, as a long tuple of arguments.
    let text = "k".repeat(1 << 20);
    let storage = |p: Pickle| {
        p.raw(b"(").str("storage").global("torch", "FloatStorage").raw(b"h\x01").str("cpu").int(6).raw(b"tQ0")
    };
    let pickle = (0..1000).fold(Pickle::new().str(&text).raw(b"q\x010"), |p, _| storage(p)).stop();
    refused(&compressed(&pickle));
    let called = Pickle::new().global("torch", "Size").raw(b"q\x010(").raw(&b"N".repeat(100_000)).raw(b"tq\x02");
    refused(&compressed(&called.raw(&b"h\x01h\x02R0".repeat(1000)).stop()));
    // A torch.Size is the tuple itself, however often it is taken.
    let sizes = Pickle::new().global("torch", "Size").raw(b"q\x010(").raw(&b"N".repeat(100_000)).raw(b"t\x85q\x020");
    let sizes = sizes.raw(&b"h\x01h\x02R0".repeat(100_000)).raw(b"}").stop();
    assert!(matches!(refused(&compressed(&sizes)), Fault::NoWeights { .. }));
}

fn deflate_bombs() {
    // A gigabyte in the megabyte that the best deflate stream needs for it; it is not decompressed to be refused.
    let bomb = Entry { stored: vec![0; 1 << 20 | 1 << 16], len: 1 << 30, ..deflated("a/data/0", b"") };
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 1 << 28, 0, &[1 << 28], &[1]));
    let file = zip(&[stored("a/data.pkl", &pickle), bomb.clone()]);
    let fault = refused(&file);
    assert!(matches!(fault, Fault::Inflates { .. }), "{fault}");
    assert!(fault.to_string().contains("`a/data/0`"));
    // As the pickle, and many smaller ones.
    let fault = refused(&zip(&[Entry { name: "a/data.pkl".to_owned(), ..bomb }]));
    assert!(matches!(fault, Fault::Inflates { .. }), "{fault}");
    let small = deflated("", &vec![0; 10 << 20]);
    let mut entries = vec![stored("a/data.pkl", &pickle)];
    entries.extend((0..50).map(|i| Entry { name: format!("a/data/{i}"), ..small.clone() }));
    assert!(matches!(refused(&zip(&entries)), Fault::Inflates { .. }));
    // A header that promises what no deflate stream can hold.
    let mut liar = deflated("a/data/0", b"x");
    liar.len = u32::MAX - 1;
    assert!(matches!(refused(&zip(&[stored("a/data.pkl", &pickle), liar])), Fault::Inflates { .. }));
    // A stream that goes on after what it declares is not followed.
    let pickle = one_weight(|p| p.plain("0"));
    let longer = Entry { len: 24, crc: 0, name: "a/data/0".to_owned(), ..small };
    let checkpoint = open_bytes(&zip(&[stored("a/data.pkl", &pickle), longer])).unwrap();
    assert!(matches!(*checkpoint.read_f32("conv1.weight").unwrap_err().fault, Fault::Deflate { .. }));
}

fn unbounded_declarations() {
    // Tensors of terabytes, in every container.
    let pickle = one_weight(|p| p.tensor("FloatStorage", "0", 1 << 40, 0, &[1 << 40], &[1]));
    refused(&zipped(&pickle));
    refused(&legacy(&pickle, &["0"], &[(1 << 40, six_floats())]));
    refused(&safetensors(r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#, 24));
    // A directory of four gigabytes, of 65,535 entries.
    let mut file = zipped(&one_weight(|p| p.plain("0")));
    let at = file.len() - 10;
    file[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    refused(&file);
    let at = file.len() - 14;
    file[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    refused(&file);
}
