//! How much memory this process may take for what its inputs ask for, and accounts of what was taken.
//!
//! The limit is one for the process, as memory is: `--max-memory`, or else a share of what the machine and the control
//! groups above the process leave. It is asked before anything is allocated whose size an input decides.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory;

/// Part of the memory available that is taken unless told otherwise.
const SHARE: f64 = 0.75;
/// The limit where the system does not tell what is available.
const UNKNOWN: u64 = 4 << 30;
/// The least that the share comes to: a machine that is short of memory frees some for who needs it.
const LEAST: u64 = 512 << 20;

/// The limit that was set, 0 for none.
static SET: AtomicU64 = AtomicU64::new(0);

/// More memory than may be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} needs {} of memory, where {} of the {} that may be taken are left{}", Amount(*needed), Amount(*left), Amount(*limit),
    if *set { "; raise --max-memory" } else { "; end other programs, or set --max-memory" }
)]
pub struct OverBudget {
    /// What needs it.
    pub what: String,
    /// Bytes that it needs.
    pub needed: u64,
    /// Bytes that are left.
    pub left: u64,
    /// Bytes that may be taken in all.
    pub limit: u64,
    /// Whether the limit was set, rather than found.
    pub set: bool,
}

/// Bytes, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub u64);

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes < 10 << 20 => write!(f, "{bytes} bytes"),
            bytes if bytes < 10 << 30 => write!(f, "{} MiB", bytes >> 20),
            bytes => write!(f, "{} GiB", bytes >> 30),
        }
    }
}

/// Sets the limit of this process, at least 1 byte.
pub fn set_limit(bytes: u64) {
    SET.store(bytes.max(1), Ordering::Relaxed);
}

/// Bytes that this process may take for its inputs.
pub fn limit() -> u64 {
    static FOUND: OnceLock<u64> = OnceLock::new();
    match SET.load(Ordering::Relaxed) {
        0 => *FOUND.get_or_init(|| share(memory::available())),
        set => set,
    }
}

fn share(available: Option<u64>) -> u64 {
    available.map_or(UNKNOWN, |bytes| ((bytes as f64 * SHARE) as u64).max(LEAST))
}

/// Refuses what needs more than the limit by itself.
///
/// # Errors
/// [`OverBudget`].
pub fn check(what: &str, bytes: u64) -> Result<(), OverBudget> {
    Budget::new().take(what, bytes)
}

/// An account of memory for things that are held together.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    taken: u64,
    set: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl Budget {
    /// Nothing taken yet of the limit of this process.
    pub fn new() -> Self {
        Self { limit: limit(), taken: 0, set: SET.load(Ordering::Relaxed) != 0 }
    }

    /// Nothing taken yet of `limit` bytes.
    pub fn of(limit: u64) -> Self {
        Self { limit, taken: 0, set: true }
    }

    /// Takes `bytes` for `what`, before they are allocated.
    ///
    /// # Errors
    /// [`OverBudget`] where less is left; nothing is taken then.
    pub fn take(&mut self, what: &str, bytes: u64) -> Result<(), OverBudget> {
        let left = self.left();
        if bytes > left {
            let (limit, set) = (self.limit, self.set);
            return Err(OverBudget { what: what.to_owned(), needed: bytes, left, limit, set });
        }
        self.taken += bytes;
        Ok(())
    }

    /// Gives back `bytes` that were taken and are free again.
    pub fn give_back(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// Bytes that may be taken in all.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that may still be taken.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.taken)
    }
}

/// A number of bytes as people write it: `1500000`, `512M`, `4G`, `1.5GiB`, in powers of 1024.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no amount of memory; give bytes, or a number with K, M, G or T, like 4G");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let power = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let bytes = number * 1024f64.powi(power);
    if (1.0..=u64::MAX as f64).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_no_longer_left() {
        let mut budget = Budget::of(100);
        budget.take("a", 60).unwrap();
        let error = budget.take("the image", 41).unwrap_err();
        assert_eq!((error.needed, error.left, budget.left()), (41, 40, 40));
        assert!(
            error.to_string().starts_with("the image needs 41 bytes of memory, where 40 bytes of the 100"),
            "{error}"
        );
        budget.give_back(60);
        budget.take("b", 100).unwrap();
        assert!(budget.take("c", u64::MAX).is_err());
    }

    #[test]
    fn the_limit_is_a_share_of_what_there_is() {
        assert_eq!(share(Some(8 << 30)), 6 << 30);
        assert_eq!(share(Some(0)), LEAST);
        assert_eq!(share(None), UNKNOWN);
    }

    #[test]
    fn amounts_of_memory_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1500000", 1_500_000),
            ("512M", 512 << 20),
            ("4G", 4 << 30),
            ("1.5GiB", 3 << 29),
            ("2kb", 2048),
            ("1 T", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "G", "4X", "1e9", "inf", "NaN", "99999999999T"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
