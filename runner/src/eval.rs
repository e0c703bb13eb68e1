//! How often is a model right on labelled pictures, and do two models differ?
//!
//! Pictures are decoded and resized on threads of their own while the provider runs; nothing kept grows with their
//! number but what is told of broken and differing ones.

pub mod classes;
pub mod dataset;
pub mod tally;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::candidate::{Candidate, Progress};
use crate::classify;
use crate::compare::library_note;
use crate::environment::Environment;
use crate::infer::weights_note;
use crate::input::batch::Batch;
use crate::input::pipeline::{Extent, Prepared, Time, prepare};
use crate::input::preprocess::Preprocess;
use crate::metadata::{ImageInput, MetadataError};
use crate::model::{Loaded, Model, ModelError};
use crate::stats::{McNemar, Wilson};

pub use classes::Classes;
pub use dataset::{Dataset, DatasetError};
use tally::{Cell, ClassRow, Difference, Pair, Tally, Verdict};

/// Version of the JSON written from [`Evaluation`].
pub const SCHEMA_VERSION: u32 = 1;

/// What to evaluate on.
pub struct Request<'a> {
    /// The labelled pictures.
    pub dataset: &'a Dataset,
    /// Pictures at once, for models that leave it open.
    pub batch: usize,
}

/// Accuracy of one model on one provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluated {
    /// Model file.
    pub model: String,
    /// Provider.
    pub provider: String,
    /// Library, options, placement; absent where it could not be opened.
    pub loaded: Option<Loaded>,
    /// How pictures were prepared.
    pub preprocess: Preprocess,
    /// Pictures judged.
    pub pictures: usize,
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
    /// Fraction of pictures on which both say the same.
    pub agreement: Option<f64>,
    /// McNemar's test on which of the two is right.
    pub mcnemar: McNemar,
    /// Pictures on which they differ.
    pub differences: Vec<Difference>,
}

/// A picture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Where the time went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// From the first picture to the last.
    pub wall_s: f64,
    /// Pictures by that, broken ones included.
    pub pictures_per_second: f64,
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
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `eval`.
    pub kind: &'static str,
    /// Machine and time.
    pub environment: Environment,
    /// Folder of the pictures.
    pub folder: String,
    /// Pictures in it, broken ones included.
    pub pictures: usize,
    /// Pictures at once.
    pub batch: usize,
    /// One for each candidate, in the order asked for.
    pub candidates: Vec<Evaluated>,
    /// Every further candidate against the first.
    pub pairs: Vec<Paired>,
    /// Pictures that could not be read; they count neither as right nor as wrong.
    pub broken: Vec<Broken>,
    /// Where the time went.
    pub time: Spent,
    /// What a reader must know besides.
    pub notes: Vec<String>,
    /// Whether it was stopped before the last picture.
    pub interrupted: bool,
}

impl Evaluation {
    /// Why candidates gave no result or an incomplete one.
    pub fn errors(&self) -> impl Iterator<Item = &ModelError> {
        self.candidates.iter().filter_map(|candidate| candidate.error.as_ref())
    }
}

/// Evaluates the candidates on the same pictures. Setting `stop` ends it after the batch in progress; what was judged
/// is kept.
///
/// # Errors
/// [`MetadataError`] where a model file is unusable; a provider that gives no result is in the evaluation.
pub fn eval(
    candidates: &mut [Candidate<'_>],
    request: &Request<'_>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Evaluation, MetadataError> {
    let environment = Environment::read();
    let mut notes = request.dataset.notes.clone();
    let mut judges = Vec::new();
    for candidate in candidates.iter_mut() {
        judges.push(Judge::new(candidate, request.batch, &mut notes)?);
    }
    // Providers of one model see the same tensors: each preprocessing is done once.
    let mut preprocess: Vec<Preprocess> = Vec::new();
    for judge in &mut judges {
        let known = preprocess.iter().position(|known| *known == judge.preprocess);
        judge.preparation = known.unwrap_or(preprocess.len());
        if known.is_none() {
            preprocess.push(judge.preprocess);
        }
    }
    let pictures = &request.dataset.pictures;
    let mut session = Session { judges, request, waiting: Vec::new(), pairs: Vec::new(), broken: Vec::new() };
    session.pairs.resize(candidates.len().saturating_sub(1), Pair::default());
    let extent = Extent::for_batch(request.batch * preprocess.len());
    let mut spent = Time::default();
    let begun = Instant::now();
    let mut seen = 0;
    let _: Option<()> = prepare(pictures, &preprocess, extent, |prepared| {
        seen += 1;
        spent.add(prepared.time);
        let flow = session.add(prepared);
        progress(&Progress { doing: "evaluating".to_owned(), done: seen, total: pictures.len() });
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { flow }
    });
    session.run();
    let wall_s = begun.elapsed().as_secs_f64();
    notes.extend(library_note(session.judges.iter().filter_map(|judge| judge.result.loaded.as_ref())));
    let run_s = session.judges.iter().map(|judge| judge.result.run_s).sum();
    Ok(Evaluation {
        schema_version: SCHEMA_VERSION,
        kind: "eval",
        environment,
        folder: request.dataset.folder.display().to_string(),
        pictures: pictures.len(),
        batch: request.batch,
        pairs: session.pairs.into_iter().enumerate().map(|(index, pair)| paired(index + 1, pair)).collect(),
        candidates: session.judges.into_iter().map(Judge::finish).collect(),
        broken: session.broken,
        time: Spent {
            wall_s,
            pictures_per_second: seen as f64 / wall_s.max(f64::MIN_POSITIVE),
            threads: extent.threads,
            prepare: spent,
            run_s,
        },
        notes,
        interrupted: stop.load(Ordering::Relaxed),
    })
}

fn paired(candidate: usize, pair: Pair) -> Paired {
    Paired { candidate, agreement: pair.agreement(), mcnemar: pair.mcnemar(), differences: pair.into_differences() }
}

/// A candidate at work.
struct Judge<'a> {
    model: Option<Box<dyn Model + 'a>>,
    image: ImageInput,
    batch: Batch,
    preprocess: Preprocess,
    /// Which of a picture's tensors it takes.
    preparation: usize,
    labels: Vec<String>,
    tally: Tally,
    result: Evaluated,
}

impl<'a> Judge<'a> {
    fn new(candidate: &mut Candidate<'a>, batch: usize, notes: &mut Vec<String>) -> Result<Self, MetadataError> {
        let file = candidate.file;
        let image = file.image_input()?;
        let (preprocess, assumed) = Preprocess::of(file, &image)?;
        notes.extend(assumed.into_iter().chain(weights_note(file)));
        let labels = file.labels()?.unwrap_or_default();
        let opened = candidate.open();
        let result = Evaluated {
            model: file.path.display().to_string(),
            provider: candidate.provider.clone(),
            loaded: opened.as_ref().ok().map(|model| model.loaded().clone()),
            preprocess,
            pictures: 0,
            top1: None,
            top5: None,
            classes: Vec::new(),
            confusion: Vec::new(),
            run_s: 0.0,
            error: opened.as_ref().err().cloned(),
        };
        let batch = Batch::of(image.batch, batch);
        Ok(Judge {
            model: opened.ok(),
            image,
            batch,
            preprocess,
            preparation: 0,
            labels,
            tally: Tally::default(),
            result,
        })
    }

    /// Judges pictures; `None` where the provider gives no result, now or ever.
    fn judge(&mut self, pictures: &[Vec<f32>], classes: &[usize]) -> Option<Vec<Verdict>> {
        let model = self.model.as_mut()?;
        let begun = Instant::now();
        let extent = self.preprocess.height_width();
        let result = classify::scores(model.as_mut(), &self.image, self.batch, extent, pictures);
        self.result.run_s += begun.elapsed().as_secs_f64();
        let result = result.and_then(|scores| match classes.iter().max() {
            Some(&largest) if scores.iter().any(|scores| scores.len() <= largest) => {
                let known = scores.first().map_or(0, Vec::len);
                Err(ModelError::BadModel(format!(
                    "the model knows {known} classes, and the pictures have class {largest}"
                )))
            }
            _ => Ok(scores),
        });
        match result {
            Ok(scores) => {
                let verdicts: Vec<Verdict> =
                    scores.iter().zip(classes).map(|(scores, &class)| Verdict::of(scores, class)).collect();
                for ((verdict, &class), scores) in verdicts.iter().zip(classes).zip(&scores) {
                    self.tally.add(*verdict, class, scores.len());
                }
                Some(verdicts)
            }
            Err(error) => {
                self.result.error = Some(error);
                self.model = None;
                None
            }
        }
    }

    fn finish(self) -> Evaluated {
        Evaluated {
            pictures: self.tally.pictures(),
            top1: self.tally.top1(),
            top5: self.tally.top5(),
            classes: self.tally.by_class(&self.labels),
            confusion: self.tally.confusion(),
            ..self.result
        }
    }
}

/// All candidates, and the pictures that wait until a batch is full.
struct Session<'a, 'r> {
    judges: Vec<Judge<'a>>,
    request: &'r Request<'r>,
    /// Positions of the pictures, and their tensors, one for each preprocessing.
    waiting: Vec<(usize, Vec<Vec<f32>>)>,
    pairs: Vec<Pair>,
    broken: Vec<Broken>,
}

impl Session<'_, '_> {
    fn add(&mut self, prepared: Prepared) -> ControlFlow<()> {
        match prepared.tensors {
            Ok(tensors) => self.waiting.push((prepared.index, tensors)),
            Err(error) => {
                let path = self.request.dataset.pictures[prepared.index].path.display().to_string();
                self.broken.push(Broken { path, reason: error.reason() });
            }
        }
        if self.waiting.len() >= self.request.batch.max(1) {
            self.run();
        }
        let nobody_left = self.judges.iter().all(|judge| judge.model.is_none());
        if nobody_left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn run(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let positions: Vec<usize> = waiting.iter().map(|(position, _)| *position).collect();
        let mut tensors: Vec<Vec<Vec<f32>>> = vec![Vec::new(); waiting[0].1.len()];
        for (_, of_picture) in waiting {
            of_picture.into_iter().zip(&mut tensors).for_each(|(tensor, alike)| alike.push(tensor));
        }
        let pictures = &self.request.dataset.pictures;
        let classes: Vec<usize> = positions.iter().map(|&position| pictures[position].class).collect();
        let judge = |judge: &mut Judge<'_>| judge.judge(&tensors[judge.preparation], &classes);
        let verdicts: Vec<Option<Vec<Verdict>>> = self.judges.iter_mut().map(judge).collect();
        let Some((Some(first), others)) = verdicts.split_first() else { return };
        for (pair, other) in self.pairs.iter_mut().zip(others) {
            let Some(other) = other else { continue };
            for (at, &position) in positions.iter().enumerate() {
                pair.add(&pictures[position].path, classes[at], first[at], other[at]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
