//! Batches of images or of seeded noise, one after the other.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use resnext_builder::calibration::InputSource;

use super::error::CalibrateError;
use super::result::Inputs;
use crate::input;
use crate::input::decode::Exif;
use crate::input::noise::Noise;
use crate::input::pipeline::{Extent, prepare};
use crate::model::batch::Batch;
use crate::model::candidate::{Phase, Progress};
use crate::model::file::ImageInput;
use crate::model::opened::{ModelError, Part};
use crate::model::tensor::Tensor;
use onnx_file::metadata::Preprocess;

use crate::input::broken::Broken;

/// Where inputs come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Image files, prepared as the model says.
    Images(&'a [PathBuf]),
    /// Noise, as `compare` makes it.
    Seeded {
        /// How many inputs.
        count: usize,
        /// Their seed.
        seed: u64,
    },
}

impl Source<'_> {
    /// How many inputs there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Source::Images(paths) => paths.len(),
            Source::Seeded { count, .. } => *count,
        }
    }
}

/// At most `count` of the paths, at equal distances, so that a folder of classes gives some of each.
pub fn spread(paths: Vec<PathBuf>, count: usize) -> Vec<PathBuf> {
    let all = paths.len();
    let chosen = count.min(all);
    let wanted: std::collections::BTreeSet<usize> = (0..chosen).map(|nth| nth * all / chosen).collect();
    paths.into_iter().enumerate().filter(|(at, _)| wanted.contains(at)).map(|(_, path)| path).collect()
}

/// What is done with a batch.
type Take<'t> = &'t mut dyn FnMut(&Tensor, Part) -> Result<(), ModelError>;

/// Makes batches for a model.
pub(crate) struct Feed<'a> {
    pub(crate) image: &'a ImageInput,
    pub(crate) preprocess: Preprocess,
    pub(crate) batch: Batch,
    pub(crate) exif: Exif,
}

impl Feed<'_> {
    /// Hands every input to `take`, in batches, until `stop` is set.
    pub(crate) fn each(
        &self,
        source: &Source<'_>,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
        take: Take<'_>,
    ) -> Result<Inputs, CalibrateError> {
        let inputs = match source {
            Source::Images(paths) => self.images(paths, stop, progress, take)?,
            Source::Seeded { count, seed } => self.seeded(*count, *seed, stop, progress, take)?,
        };
        match inputs.broken.first() {
            _ if inputs.fed.count > 0 => Ok(inputs),
            _ if stop.load(Ordering::Relaxed) => Err(CalibrateError::Stopped),
            Some(first) => Err(CalibrateError::NoImage { count: inputs.broken.len(), first: first.clone() }),
            None => Err(CalibrateError::Stopped),
        }
    }

    fn images(
        &self,
        paths: &[PathBuf],
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
        take: Take<'_>,
    ) -> Result<Inputs, CalibrateError> {
        let mut inputs = Inputs::none(InputSource::Images, None);
        let mut waiting: Vec<Vec<f32>> = Vec::new();
        let failed = prepare(paths, &[self.preprocess], self.exif, Extent::for_batch(self.batch.size), |prepared| {
            let at = prepared.index;
            inputs.oriented.extend(prepared.oriented.then(|| paths[at].display().to_string()));
            match prepared.tensors {
                Ok(tensors) => waiting.extend(tensors),
                Err(error) => {
                    let path = paths[at].display().to_string();
                    inputs.broken.push(Broken { path, reason: error.defect() });
                }
            }
            let full = waiting.len() == self.batch.size || at + 1 == paths.len();
            if full && let Err(error) = self.hand_over(std::mem::take(&mut waiting), &mut inputs.fed.count, take) {
                return ControlFlow::Break(Some(error));
            }
            progress(&Progress::new(Phase::Calibrating, "", at + 1, paths.len()));
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
        });
        match failed.flatten() {
            Some(error) => Err(error.into()),
            None => Ok(inputs),
        }
    }

    fn seeded(
        &self,
        count: usize,
        seed: u64,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
        take: Take<'_>,
    ) -> Result<Inputs, CalibrateError> {
        let mut inputs = Inputs::none(InputSource::Seeded, Some(seed));
        let mut noise = Noise::new(seed);
        let (height, width) = self.preprocess.height_width();
        while inputs.count() < count && !stop.load(Ordering::Relaxed) {
            let rows = self.batch.size.min(count - inputs.count());
            let batch = (0..rows).map(|_| noise.by_ref().take(3 * height * width).collect()).collect();
            self.hand_over(batch, &mut inputs.fed.count, take)?;
            progress(&Progress::new(Phase::Calibrating, "", inputs.count(), count));
        }
        Ok(inputs)
    }

    /// Runs one batch, filled up with its last input where the model takes so many and no fewer.
    fn hand_over(&self, mut batch: Vec<Vec<f32>>, count: &mut u64, take: Take<'_>) -> Result<(), ModelError> {
        let kept = batch.len();
        let Some(last) = batch.last().cloned() else { return Ok(()) };
        if self.batch.fixed {
            batch.resize(self.batch.size, last);
        }
        let (height, width) = self.preprocess.height_width();
        let input = input::image_tensor(self.image, batch.len(), (height, width), batch.concat());
        take(&input, Part { kept, of: batch.len() })?;
        *count += kept as u64;
        Ok(())
    }
}
