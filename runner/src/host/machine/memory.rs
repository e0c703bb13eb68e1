//! How much memory may still be taken, and how many copies of a model fit into it.

pub use onnx_file::memory::available;

/// Part of the memory available that copies of models may take together.
const SHARE: f64 = 0.75;
/// Memory of a worker without a model, in bytes.
const WORKER: u64 = 64 << 20;
/// A session holds its weights twice, as they are and as its kernels want them, and the file once while it loads.
const WEIGHTS: u64 = 3;
/// Feature maps alive at once, by the bytes of the images that went in: about what a ResNeXt-50 takes.
const FEATURES: u64 = 64;

/// Bytes that one copy of a model takes, about: its weights, and the feature maps of a batch of `input` bytes.
pub fn copy_bytes(weights: u64, input: u64) -> u64 {
    let parts = [WORKER, weights.saturating_mul(WEIGHTS), input.saturating_mul(FEATURES)];
    parts.into_iter().fold(0, u64::saturating_add)
}

/// How many copies, `wanted` at most and 1 at least, fit where one of so many copies of every model takes `each` bytes.
pub fn copies_that_fit(wanted: usize, each: impl Fn(usize) -> u64, available: Option<u64>) -> usize {
    let Some(available) = available else { return wanted.max(1) };
    let fits = |copies: &usize| *copies as f64 * each(*copies) as f64 <= available as f64 * SHARE;
    (1..=wanted).rev().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_bounded_by_what_fits_and_one_there_always_is() {
        let gib = 1 << 30;
        assert_eq!(copies_that_fit(64, |_| gib, Some(8 * gib)), 6);
        assert_eq!(copies_that_fit(4, |_| gib, Some(8 * gib)), 4);
        assert_eq!(copies_that_fit(4, |_| 100 * gib, Some(8 * gib)), 1);
        assert_eq!(copies_that_fit(4, |_| gib, None), 4);
        assert_eq!(copies_that_fit(64, |copies| 4 * gib / copies as u64, Some(8 * gib)), 64, "they share a batch");
        assert!(copy_bytes(100 << 20, 8 * 3 * 224 * 224 * 4) > 300 << 20);
        assert_eq!(copy_bytes(u64::MAX, 1), u64::MAX);
    }
}
