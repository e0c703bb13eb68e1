//! The shapes of images that will be given to a model.

use super::preprocess;
use crate::model::demand::Demand;
use crate::model::file::ModelFile;

/// What is asked of each model by batches of these sizes.
pub fn demands(files: &[ModelFile], batches: &[usize]) -> Vec<Demand> {
    files.iter().map(|file| demand(file, batches).unwrap_or_default()).collect()
}

fn demand(file: &ModelFile, batches: &[usize]) -> Option<Demand> {
    let image = file.image_input().ok()?;
    let (preprocess, _) = preprocess::asked_by(file, &image).ok()?;
    let (height, width) = preprocess.height_width();
    let shape =
        |batch| image.shape(image.batch.unwrap_or(batch), image.height.unwrap_or(height), image.width.unwrap_or(width));
    Some(Demand {
        input: image.name.clone(),
        // The probe run has a batch of one.
        least: shape(1),
        most: shape(batches.iter().copied().max().unwrap_or(1)),
        is_open: !file.shaped.is_empty() || image.batch.is_none() || image.height.is_none() || image.width.is_none(),
    })
}
