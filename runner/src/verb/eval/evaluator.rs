//! Candidates at work: each is fed batches of its own size, and what two of them say of an image is compared once both
//! have said it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;

use super::classes::ClassMapping;
use super::labelled::Dataset;
use super::result::{Evaluated, Paired};
use super::tally::{Pair, Tally, Verdict};
use crate::input::broken::Broken;
use crate::input::classify::{Answer, Classifier};
use crate::input::demand;
use crate::input::pipeline::{Extent, Prepared};
use crate::input::preprocess;
use crate::model::batch::Batch;
use crate::model::candidate::Candidate;
use crate::model::file::MetadataError;
use crate::model::opened::{Model, ModelError};
use crate::model::output::ClassOutput;
use crate::note::Note;
use onnx_file::metadata::Preprocess;

/// Position of an image, and what is said of it; nothing where its scores are NaN or infinite.
type Prediction = (usize, Option<Verdict>);

/// A candidate at work.
pub(crate) struct Evaluator<'a, 'd> {
    model: Option<Box<dyn Model + 'a>>,
    classifier: Classifier,
    pub(crate) preprocess: Preprocess,
    /// Which of an image's tensors it takes.
    pub(crate) preparation: usize,
    labels: Vec<String>,
    dataset: &'d Dataset,
    /// Positions and tensors of the images that wait until a batch is full.
    pending: Vec<(usize, Rc<Vec<Vec<f32>>>)>,
    /// What a batch is put together in.
    buffer: Vec<f32>,
    tally: Tally,
    result: Evaluated,
}

impl<'a, 'd> Evaluator<'a, 'd> {
    pub(crate) fn new(
        candidate: &mut Candidate<'a>,
        dataset: &'d Dataset,
        batch: usize,
        notes: &mut Vec<Note>,
    ) -> Result<Self, MetadataError> {
        let file = candidate.needed_file()?;
        let image = file.image_input()?;
        let (preprocess, assumed) = preprocess::asked_by(file, &image)?;
        let output = ClassOutput::of(file)?;
        notes.extend(assumed.into_iter().chain(Note::weights(file)).chain(Note::classes(file, &output)));
        let labels = file.labels()?.names;
        let batch = Batch::of(image.batch, batch.min(dataset.images.len()));
        let window = Extent::for_batch(batch.size).window.min(dataset.images.len());
        demand::check(file, preprocess.height_width(), batch.size, window)?;
        let opened = candidate.open();
        let result = Evaluated {
            model: file.shown().display().to_string(),
            provider: candidate.provider.clone(),
            loaded: opened.as_ref().ok().map(|model| model.loaded().clone()),
            preprocess,
            input: image.clone(),
            output: output.clone(),
            images: 0,
            not_finite: Vec::new(),
            top1: None,
            top5: None,
            classes: Vec::new(),
            confusion: Vec::new(),
            run_s: 0.0,
            error: opened.as_ref().err().cloned(),
        };
        Ok(Evaluator {
            model: opened.ok(),
            classifier: Classifier {
                image,
                batch,
                extent: preprocess.height_width(),
                output,
                labels: Some(labels.len()).filter(|count| *count > 0),
            },
            preprocess,
            preparation: 0,
            labels,
            dataset,
            pending: Vec::new(),
            buffer: Vec::new(),
            tally: Tally::default(),
            result,
        })
    }

    /// Batch size.
    pub(crate) fn batch(&self) -> usize {
        self.classifier.batch.size
    }

    /// Takes an image in; evaluates once a batch is full. Only the very last batch is ever short.
    fn add(&mut self, position: usize, tensors: &Rc<Vec<Vec<f32>>>) -> Vec<Prediction> {
        if self.model.is_none() {
            return Vec::new();
        }
        self.pending.push((position, Rc::clone(tensors)));
        if self.pending.len() < self.classifier.batch.size { Vec::new() } else { self.evaluate() }
    }

    /// Evaluates the images that wait; nothing is said where the provider gives no result, now or ever.
    fn evaluate(&mut self) -> Vec<Prediction> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Vec::new();
        }
        match self.answers(&pending) {
            Ok(answers) => {
                pending.iter().zip(&answers).map(|((at, _), answer)| (*at, self.count(*at, answer))).collect()
            }
            Err(error) => {
                self.result.error = Some(error);
                self.model = None;
                Vec::new()
            }
        }
    }

    fn answers(&mut self, pending: &[(usize, Rc<Vec<Vec<f32>>>)]) -> Result<Vec<Answer>, ModelError> {
        let gone = || ModelError::Failed("its process ended".to_owned());
        let model = self.model.as_mut().ok_or_else(gone)?;
        let images: Vec<&[f32]> = pending.iter().map(|(_, tensors)| tensors[self.preparation].as_slice()).collect();
        let begun = Instant::now();
        let result = self.classifier.answers(model.as_mut(), &images, &mut self.buffer);
        self.result.run_s += begun.elapsed().as_secs_f64();
        let answers = result?;
        let known = answers.iter().find_map(Answer::classes);
        if let (Some(known), Some(supposed)) = (known, self.dataset.supposed)
            && known != supposed
        {
            return Err(ModelError::BadModel(format!(
                "{supposed} classes were numbered in the order of their names, and the model has {known}: which these \
                 are, does not show; name its classes with --labels FILE"
            )));
        }
        let largest = pending.iter().map(|(at, _)| self.dataset.images[*at].class).max().unwrap_or(0);
        match answers.iter().filter_map(Answer::classes).find(|&known| known <= largest) {
            Some(known) => Err(ModelError::BadModel(format!(
                "the model knows {known} classes, and the images have class {largest}"
            ))),
            None => Ok(answers),
        }
    }

    fn count(&mut self, position: usize, answer: &Answer) -> Option<Verdict> {
        let image = &self.dataset.images[position];
        let verdict = Verdict::of(answer, image.class);
        match verdict {
            Some(verdict) => self.tally.add(verdict, image.class),
            None => self.result.not_finite.push(image.path.display().to_string()),
        }
        verdict
    }

    fn finish(self) -> Evaluated {
        let evaluated = Evaluated { images: self.tally.images(), ..self.result };
        if !evaluated.not_finite.is_empty() {
            return evaluated;
        }
        Evaluated {
            top1: self.tally.top1(),
            top5: self.tally.top5(),
            classes: self.tally.by_class(&self.labels),
            confusion: self.tally.confusion(),
            ..evaluated
        }
    }
}

/// A candidate beside the first. What is said waits here until the other has come as far.
struct Pairing {
    mapping: ClassMapping,
    pair: Pair,
    first: VecDeque<Prediction>,
    second: VecDeque<Prediction>,
}

impl Pairing {
    fn of(first: &Evaluator<'_, '_>, second: &Evaluator<'_, '_>) -> Self {
        let classes =
            |evaluator: &Evaluator<'_, '_>| evaluator.dataset.images.iter().map(|p| p.class).collect::<Vec<_>>();
        let meant = classes(first).into_iter().zip(classes(second));
        let mapping = ClassMapping::of(&first.labels, &second.labels, meant);
        Pairing { mapping, pair: Pair::default(), first: VecDeque::new(), second: VecDeque::new() }
    }

    fn compare(&mut self, first: &Evaluator<'_, '_>, second: &Evaluator<'_, '_>) {
        while let (Some(one), Some(other)) = (self.first.front(), self.second.front()) {
            if let ((at, Some(one)), (_, Some(other))) = (one, other) {
                let image = &first.dataset.images[*at];
                let same = self.mapping.holds(one.predicted, other.predicted);
                self.pair.add(&image.path, image.class, *one, *other, same);
            }
            self.first.pop_front();
            self.second.pop_front();
        }
        // Nothing more will come for what waits for a candidate that is gone.
        if first.model.is_none() {
            self.second.clear();
        }
        if second.model.is_none() {
            self.first.clear();
        }
    }

    fn finish(self, candidate: usize) -> Paired {
        Paired {
            candidate,
            images: self.pair.images(),
            agreement: self.pair.agreement(),
            mcnemar: self.pair.mcnemar(),
            differences: self.pair.into_differences(),
        }
    }
}

/// All candidates.
pub(crate) struct Session<'a, 'd> {
    evaluators: Vec<Evaluator<'a, 'd>>,
    pairings: Vec<Pairing>,
    broken: Vec<Broken>,
}

impl<'a, 'd> Session<'a, 'd> {
    pub(crate) fn new(evaluators: Vec<Evaluator<'a, 'd>>) -> Self {
        let pairings = match evaluators.split_first() {
            Some((first, others)) => others.iter().map(|other| Pairing::of(first, other)).collect(),
            None => Vec::new(),
        };
        Session { evaluators, pairings, broken: Vec::new() }
    }

    /// Takes an image in; breaks off where no candidate is left.
    pub(crate) fn add(&mut self, prepared: Prepared) -> ControlFlow<()> {
        match prepared.tensors {
            Ok(tensors) => {
                let tensors = Rc::new(tensors);
                let predictions =
                    self.evaluators.iter_mut().map(|evaluator| evaluator.add(prepared.index, &tensors)).collect();
                self.record(predictions);
            }
            Err(error) => {
                let Some(evaluator) = self.evaluators.first() else { return ControlFlow::Break(()) };
                let path = evaluator.dataset.images[prepared.index].path.display().to_string();
                self.broken.push(Broken { path, reason: error.defect() });
            }
        }
        let all_failed = self.evaluators.iter().all(|evaluator| evaluator.model.is_none());
        if all_failed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Evaluates what still waits.
    pub(crate) fn finish(&mut self) {
        let predictions = self.evaluators.iter_mut().map(Evaluator::evaluate).collect();
        self.record(predictions);
    }

    /// Compares what each candidate predicts.
    fn record(&mut self, predictions: Vec<Vec<Prediction>>) {
        let Some((first, others)) = self.evaluators.split_first() else { return };
        let mut predictions = predictions.into_iter();
        let of_first = predictions.next().unwrap_or_default();
        for ((pairing, other), of_other) in self.pairings.iter_mut().zip(others).zip(predictions) {
            pairing.first.extend(of_first.iter().copied());
            pairing.second.extend(of_other);
            pairing.compare(first, other);
        }
    }

    pub(crate) fn into_results(self) -> (Vec<Evaluated>, Vec<Paired>, Vec<Broken>) {
        let candidates: Vec<Evaluated> = self.evaluators.into_iter().map(Evaluator::finish).collect();
        let failed = |at: usize| !candidates[at].not_finite.is_empty();
        let pairs = self.pairings.into_iter().enumerate().map(|(index, pairing)| pairing.finish(index + 1));
        let pairs = pairs.filter(|pair| !failed(0) && !failed(pair.candidate)).collect();
        (candidates, pairs, self.broken)
    }
}
