//! Fuzzing on the stable toolchain: seeded mutations for `FUZZ_SECONDS` (3 unless set) per target, from `FUZZ_SEED` (0
//! unless set) on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longer inputs do not join the corpus: they would slow it down and say no more.
const SMALL: usize = 20_000;

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

/// A few random changes.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], pieces: &[&[u8]], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = input.len().min(at + 1 + random.below(16));
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = random.pick(pieces);
                let end = input.len().min(at + piece.len());
                input.splice(at..end, piece.iter().copied());
            }
            4 => drop(input.splice(at..at, random.pick(pieces).iter().copied())),
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

/// Mutates `corpus` until the time is up; `probe` is given what `build` makes of an input, and says whether it went deep.
/// Inputs that do join the corpus, up to a size. No input may panic, or take a minute or a gigabyte.
pub(crate) fn run(
    target: &str,
    mut corpus: Vec<Vec<u8>>,
    pieces: &[&[u8]],
    build: impl Fn(&[u8]) -> Vec<u8>,
    mut probe: impl FnMut(&[u8]) -> Option<()>,
) {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let (seconds, seed) = (number("FUZZ_SECONDS", 3), number("FUZZ_SEED", 0));
    let mut random = Random(seed);
    let start = Instant::now();
    let originals = corpus.len();
    let (mut runs, mut accepted) = (0u64, 0u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut input = corpus[random.below(corpus.len())].clone();
        mutate(&mut input, &corpus, pieces, &mut random);
        let file = build(&input);
        let began = processor_seconds();
        let outcome = catch_unwind(AssertUnwindSafe(|| probe(&file)));
        let took = processor_seconds() - began;
        if outcome.is_err() || took > 60 {
            let saved = std::env::temp_dir().join(format!("fuzz-{target}-{seed}-{runs}"));
            std::fs::write(&saved, &file).unwrap();
            panic!("{target}: run {runs} of seed {seed} panicked or took {took} s; input in {}", saved.display());
        }
        runs += 1;
        if let Ok(Some(())) = outcome {
            accepted += 1;
            if corpus.len() < 500 && input.len() < SMALL {
                corpus.push(input);
            } else if input.len() < SMALL {
                let replaced = originals + random.below(corpus.len() - originals);
                corpus[replaced] = input;
            }
        }
    }
    println!("{target}: {runs} runs, {accepted} accepted, seed {seed}");
    assert!(runs > 0 && accepted > 0, "{target}: no mutation was accepted, so none went deep");
    super::memory::assert_peak_below(1 << 20, target);
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
