//! What images take of this process's memory on their way into a model, asked for before any of it is taken: a few bytes
//! of a model file may call for images of 16384 pixels a side, or a million at once.

use onnx_file::budget::{Budget, OverBudget};

use crate::model::file::{MetadataError, ModelFile};

/// Times that a batch is held: put together, in the message to a worker, and the one before it there.
const OF_A_BATCH: usize = 3;
/// Bytes of a pixel on its way from 8-bit levels to three numbers of four bytes.
const BYTES_A_PIXEL: usize = 3 * 4;

/// Refuses batches of `batch` images of this many pixels, height first, and `prepared` more that wait, where they take
/// more than this process may.
///
/// # Errors
/// [`MetadataError::Budget`], which names the file that calls for them.
pub fn check(
    file: &ModelFile,
    (height, width): (usize, usize),
    batch: usize,
    prepared: usize,
) -> Result<(), MetadataError> {
    of((height, width), batch, prepared).map_err(|source| MetadataError::Budget { path: file.shown(), source })
}

/// As [`check`], whoever calls for them.
///
/// # Errors
/// [`OverBudget`].
pub fn of(extent: (usize, usize), batch: usize, prepared: usize) -> Result<(), OverBudget> {
    within(&mut Budget::new(), extent, batch, prepared)
}

/// As [`of`], of what other things have left of an account.
///
/// # Errors
/// [`OverBudget`].
pub fn within(
    budget: &mut Budget,
    (height, width): (usize, usize),
    batch: usize,
    prepared: usize,
) -> Result<(), OverBudget> {
    let images = batch.saturating_mul(OF_A_BATCH).saturating_add(prepared);
    let bytes = [height, width, BYTES_A_PIXEL].into_iter().fold(images, usize::saturating_mul);
    budget.take(&format!("preparing batches of {batch} images of {height}x{width} pixels"), bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::tests::file;

    #[test]
    fn what_no_machine_holds_is_refused_and_what_classifiers_take_is_not() {
        let model = file(vec![], &[]);
        assert!(check(&model, (224, 224), 8, 20).is_ok());
        for (extent, batch) in [((16_384, 16_384), 1 << 16), ((8, 8), 1 << 50), ((usize::MAX, 2), usize::MAX)] {
            let error = check(&model, extent, batch, 0).unwrap_err();
            assert!(matches!(error, MetadataError::Budget { .. }), "{error}");
            assert!(error.to_string().contains("--max-memory"), "{error}");
        }
    }
}
