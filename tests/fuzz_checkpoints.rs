//! Fuzzing on the stable toolchain: seeded mutations of real and hand-made checkpoints, for `FUZZ_SECONDS` (3 unless
//! set) per target, from `FUZZ_SEED` (0 unless set) on. No input may panic, take a minute or a gigabyte; and whatever
//! is accepted, another reader that accepts it too must see the same tensors in it.

mod checkpoint_files;

use checkpoint_files::*;
use resnext_builder::checkpoint::{Checkpoint, DType};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

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

/// A few random changes.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = input.len().min(at + 1 + random.below(16));
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = random.pick(PIECES);
                let end = input.len().min(at + piece.len());
                input.splice(at..end, piece.iter().copied());
            }
            4 => drop(input.splice(at..at, random.pick(PIECES).iter().copied())),
            5 => {
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            6 => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len() + 1);
                let to = other.len().min(from + 1 + random.below(200));
                input.splice(at..end, other[from..to].iter().copied());
            }
            7 if random.below(8) == 0 => input.truncate(at),
            _ if at < input.len() => input[at] = input[at].wrapping_add(random.below(3) as u8).wrapping_sub(1),
            _ => {}
        }
    }
}

/// Mutates `corpus` until the time is up. Inputs that are accepted join it, up to a size.
fn fuzz(
    target: &str,
    mut corpus: Vec<Vec<u8>>,
    build: impl Fn(&[u8]) -> Vec<u8>,
    agrees: impl Fn(&Checkpoint, &Contents),
) {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let (seconds, seed) = (number("FUZZ_SECONDS", 3), number("FUZZ_SEED", 0));
    let mut random = Random(seed);
    let mut scratch = Scratch::new();
    let start = Instant::now();
    let originals = corpus.len();
    let (mut runs, mut accepted) = (0u64, 0u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut input = corpus[random.below(corpus.len())].clone();
        mutate(&mut input, &corpus, &mut random);
        let file = build(&input);
        let began = processor_seconds();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let checkpoint = scratch.open(&file).ok()?;
            let contents = contents(&checkpoint).ok()?;
            agrees(&checkpoint, &contents);
            Some(())
        }));
        let took = processor_seconds() - began;
        if outcome.is_err() || took > 60 {
            let saved = std::env::temp_dir().join(format!("fuzz-{target}-{seed}-{runs}"));
            std::fs::write(&saved, &file).unwrap();
            panic!("{target}: run {runs} of seed {seed} panicked or took {took} s; input in {}", saved.display());
        }
        runs += 1;
        if let Ok(Some(())) = outcome {
            accepted += 1;
            if corpus.len() < 500 && input.len() < 8000 {
                corpus.push(input);
            } else if input.len() < 8000 {
                let replaced = originals + random.below(corpus.len() - originals);
                corpus[replaced] = input;
            }
        }
    }
    println!("{target}: {runs} runs, {accepted} accepted, seed {seed}");
    assert!(runs > 0 && accepted > 0, "{target}: no mutation was accepted, so none went deep");
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(peak < 1 << 20, "{target}: peak of {peak} KiB");
    }
}

/// Processor time of this thread: on a busy machine, a minute may pass without any of it.
#[cfg(target_os = "linux")]
fn processor_seconds() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // After the name in parentheses, user and system time are fields 14 and 15 of proc(5), in hundredths.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() / 100
}

/// Elsewhere, time that passed.
#[cfg(not(target_os = "linux"))]
fn processor_seconds() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs()
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

fn decoded(bytes: &[u8], dtype: DType) -> Vec<f64> {
    let each = bytes.chunks_exact(dtype.size());
    match dtype {
        DType::F16 => each.map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        DType::BF16 => each.map(|b| half::bf16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        DType::F32 => each.map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
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
