//! What will be asked of a model, before it is opened: what engines are built for, and memory is estimated from.

/// The shapes of a model's input, from the smallest run to the largest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Name of the input; empty where nothing is known.
    pub input: String,
    /// Shape of the smallest run.
    pub least: Vec<usize>,
    /// Shape of the largest.
    pub most: Vec<usize>,
    /// Whether the model leaves one of its extents open.
    pub is_open: bool,
}

impl Demand {
    /// Bytes of the largest input in f32, were its first extent divided among so many runs.
    pub fn bytes(&self, runs: usize) -> u64 {
        let Some((rows, rest)) = self.most.split_first() else { return 0 };
        let values = rest.iter().fold(rows.div_ceil(runs.max(1)), |all, extent| all.saturating_mul(*extent));
        u64::try_from(values).unwrap_or(u64::MAX).saturating_mul(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_batch_are_those_of_the_largest_share() {
        let of = |most: &[usize]| Demand { most: most.to_vec(), ..Demand::default() };
        assert_eq!(of(&[8, 3, 4, 4]).bytes(1), 8 * 3 * 16 * 4);
        assert_eq!(of(&[8, 3, 4, 4]).bytes(3), 3 * 3 * 16 * 4);
        assert_eq!((of(&[]).bytes(2), of(&[usize::MAX, 9]).bytes(1)), (0, u64::MAX));
    }
}
