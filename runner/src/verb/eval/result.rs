//! What an evaluation finds.

use onnx_file::metadata::Preprocess;
use serde::Serialize;

use super::tally::{Cell, ClassRow, Difference};
use crate::input::broken::Broken;
use crate::input::pipeline::Time;
use crate::model::file::ImageInput;
use crate::model::opened::{Loaded, ModelError};
use crate::model::output::ClassOutput;
use crate::stats::proportion::{McNemar, Wilson};

/// Accuracy of one model on one provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluated {
    /// Model file.
    pub model: String,
    /// Provider.
    pub provider: String,
    /// Library, options, placement; absent where it could not be opened.
    pub loaded: Option<Loaded>,
    /// How images were prepared.
    pub preprocess: Preprocess,
    /// The input that images go into: its type, layout and channels.
    pub input: ImageInput,
    /// The output that says the classes, and what its numbers are.
    pub output: ClassOutput,
    /// Images evaluated.
    pub images: usize,
    /// Images for which the model gave NaN or infinite scores. With a single one of them the model has failed, and no
    /// accuracy is given: not of the other images either.
    pub not_finite: Vec<String>,
    /// Fraction whose best class is right, with its 95% interval.
    pub top1: Option<Wilson>,
    /// Fraction whose right class is among the best five; `None` below six classes.
    pub top5: Option<Wilson>,
    /// Every class that occurs.
    pub classes: Vec<ClassRow>,
    /// Confusion matrix without its zeros.
    pub confusion: Vec<Cell>,
    /// Seconds the provider took for all runs.
    pub run_s: f64,
    /// What ended it.
    pub error: Option<ModelError>,
}

/// A candidate against the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Position of the candidate compared with the first.
    pub candidate: usize,
    /// Images that both evaluated.
    pub images: usize,
    /// Fraction of those on which both say the same class: of the same name where the models number classes differently.
    pub agreement: Option<f64>,
    /// McNemar's test on which of the two is right.
    pub mcnemar: McNemar,
    /// Images on which they differ.
    pub differences: Vec<Difference>,
}

/// Where the time went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// From the first image to the last.
    pub wall_s: f64,
    /// Images by that, broken ones included.
    pub images_per_second: f64,
    /// Threads that decoded and resized.
    pub threads: usize,
    /// Processor time of decoding and of resizing, over all threads.
    #[serde(flatten)]
    pub prepare: Time,
    /// Time in the providers, over all candidates.
    pub run_s: f64,
}

/// The whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Folder of the images.
    pub folder: String,
    /// Images in it, broken ones included.
    pub images: usize,
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// One for each candidate, in the order asked for.
    pub candidates: Vec<Evaluated>,
    /// Every further candidate against the first; none with a candidate whose model failed.
    pub pairs: Vec<Paired>,
    /// Images that could not be read; they count neither as right nor as wrong.
    pub broken: Vec<Broken>,
    /// Where the time went.
    pub time: Spent,
}

impl Evaluation {
    /// Why candidates gave no result or an incomplete one.
    pub fn errors(&self) -> impl Iterator<Item = &ModelError> {
        self.candidates.iter().filter_map(|candidate| candidate.error.as_ref())
    }

    /// Whether a model failed: it gave NaN or infinite scores.
    pub fn model_failed(&self) -> bool {
        self.candidates.iter().any(|candidate| !candidate.not_finite.is_empty())
    }

    /// Whether no image could be read.
    pub fn nothing_read(&self) -> bool {
        !self.broken.is_empty() && self.candidates.iter().all(|one| one.images == 0 && one.not_finite.is_empty())
    }
}
