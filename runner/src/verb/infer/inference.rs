//! What is in these images? The classes a model sees, by name and probability.

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Serialize;

use crate::host::environment::Environment;
use crate::input::broken::Defect;
use crate::input::classify;
use crate::input::classify::{Class, Classifier};
use crate::input::decode::Exif;
use crate::input::pipeline::{Extent, Prepared, prepare};
use crate::input::{demand, preprocess};
use crate::model::batch::Batch;
use crate::model::candidate::{Candidate, Phase, Progress};
use crate::model::file::{ImageInput, MetadataError};
use crate::model::opened::{Loaded, Model, ModelError};
use crate::model::output::ClassOutput;
use crate::note::Note;
use crate::verb::outcome::Report;
use onnx_file::metadata::Preprocess;

/// What to classify.
pub struct Request<'a> {
    /// Image files, in the order of the result.
    pub images: &'a [PathBuf],
    /// Batch size, for models that leave it open.
    pub batch: usize,
    /// Classes to report for each.
    pub top_k: usize,
    /// What becomes of images that lie on a side.
    pub exif: Exif,
    /// Files below the folders given that are no images.
    pub left_out: &'a [PathBuf],
}

/// Why nothing could be classified.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The model file is unusable.
    #[error(transparent)]
    File(#[from] MetadataError),
    /// The provider gave no result.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    /// Its file.
    pub path: String,
    /// The best classes, best first; none where there is an error.
    pub top: Vec<Class>,
    /// Why it has no classes.
    #[serde(serialize_with = "crate::coded::maybe_with_text")]
    pub error: Option<NoClass>,
}

/// Why an image has no classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum NoClass {
    /// The model gave NaN or infinite scores, which is its failing and not the image's.
    #[error("{}", classify::NOT_FINITE)]
    NotFinite,
    /// It cannot be read.
    #[error(transparent)]
    #[serde(untagged)]
    Defect(Defect),
}

/// The classified images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inference {
    /// Model file.
    pub model: String,
    /// Provider, library, placement.
    pub loaded: Loaded,
    /// How images were prepared.
    pub preprocess: Preprocess,
    /// The input that images go into: its type, layout and channels.
    pub input: ImageInput,
    /// The output that says the classes, and what its numbers are.
    pub output: ClassOutput,
    /// One for each image, in order.
    pub images: Vec<Image>,
    /// What ended it before the last image.
    pub error: Option<ModelError>,
}

impl Inference {
    /// Number of images that could not be read.
    pub fn bad_images(&self) -> usize {
        self.images.iter().filter(|image| matches!(image.error, Some(NoClass::Defect(_)))).count()
    }

    /// Whether the model failed on an image: its scores are NaN or infinite.
    pub fn model_failed(&self) -> bool {
        self.images.iter().any(|image| image.error == Some(NoClass::NotFinite))
    }
}

/// Classifies images in batches. An image that cannot be read is reported in its place, and the rest go on.
///
/// # Errors
/// [`InferError`] where the model file is unusable or cannot be opened.
pub fn infer(
    candidate: &mut Candidate<'_>,
    request: &Request<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report<Inference>, InferError> {
    let environment = Environment::read();
    let file = candidate.needed_file()?;
    let image = file.image_input()?;
    let (preprocess, mut notes) = preprocess::asked_by(file, &image)?;
    let output = ClassOutput::of(file)?;
    let labels = Some(file.labels()?.names).filter(|names| !names.is_empty());
    notes.extend(Note::weights(file).into_iter().chain(Note::classes(file, &output)));
    let batch = Batch::of(image.batch, request.batch.min(request.images.len()));
    let ahead = Extent::for_batch(batch.size);
    demand::check(file, preprocess.height_width(), batch.size, ahead.window.min(request.images.len()))?;
    let (model, input) = (candidate.open()?, image.clone());
    let loaded = model.loaded().clone();
    let mut batches = Batches {
        model,
        classifier: Classifier {
            image,
            batch,
            extent: preprocess.height_width(),
            output: output.clone(),
            labels: labels.as_ref().map(Vec::len),
        },
        labels,
        top_k: request.top_k,
        waiting: Vec::new(),
        done: Vec::new(),
    };
    let mut oriented = Vec::new();
    let mut error = prepare(request.images, &[preprocess], request.exif, ahead, |prepared| {
        let done = prepared.index;
        oriented.extend(prepared.oriented.then_some(done));
        let flow = batches.add(&request.images[done], prepared);
        progress(&Progress::new(Phase::Classifying, "", done + 1, request.images.len()));
        flow
    });
    if error.is_none() {
        error = batches.run().err();
    }
    notes.extend(batches.labels_note());
    notes.extend(Note::left_out(request.left_out));
    let path = |at: &usize| request.images[*at].display().to_string();
    notes.extend(Note::orientation(request.exif, oriented.len(), oriented.first().map(path)));
    let model = file.shown().display().to_string();
    let inference = Inference { model, loaded, preprocess, input, output, images: batches.done, error };
    Ok(Report { environment, notes, interrupted: false, result: inference })
}

/// Images gathered until a batch is full.
struct Batches<'a> {
    model: Box<dyn Model + 'a>,
    classifier: Classifier,
    labels: Option<Vec<String>>,
    top_k: usize,
    /// Positions in `done` and tensors of the images that wait.
    waiting: Vec<(usize, Vec<f32>)>,
    done: Vec<Image>,
}

impl Batches<'_> {
    fn add(&mut self, path: &std::path::Path, prepared: Prepared) -> ControlFlow<ModelError> {
        let path = path.display().to_string();
        let image = Image { path, top: Vec::new(), error: None };
        match prepared.tensors {
            Ok(tensors) => {
                self.waiting.extend(tensors.into_iter().map(|tensor| (self.done.len(), tensor)));
                self.done.push(image);
            }
            Err(error) => self.done.push(Image { error: Some(NoClass::Defect(error.defect())), ..image }),
        }
        if self.waiting.len() < self.classifier.batch.size {
            return ControlFlow::Continue(());
        }
        match self.run() {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn run(&mut self) -> Result<(), ModelError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (positions, tensors): (Vec<usize>, Vec<Vec<f32>>) = self.waiting.drain(..).unzip();
        let tensors: Vec<&[f32]> = tensors.iter().map(Vec::as_slice).collect();
        let answers = match self.classifier.answers(self.model.as_mut(), &tensors, &mut Vec::new()) {
            Ok(answers) => answers,
            Err(error) => {
                // Images without classes must not look as if they had been classified.
                self.done.truncate(positions[0]);
                return Err(error);
            }
        };
        for (position, answer) in positions.into_iter().zip(answers) {
            let image = &mut self.done[position];
            match classify::top(&answer, &self.classifier.output, self.top_k, self.labels.as_deref()) {
                Some(top) => image.top = top,
                None => image.error = Some(NoClass::NotFinite),
            }
        }
        Ok(())
    }

    fn labels_note(&self) -> Option<Note> {
        let unnamed = self.done.iter().flat_map(|image| &image.top).any(|class| class.label.is_none());
        let known = self.labels.as_ref().map(Vec::len);
        match known {
            Some(count) if unnamed => Some(Note::TooFewLabels { count }),
            None if unnamed => Some(Note::NoLabels),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use image::{Rgb, RgbImage};
    use onnx_file::metadata::Key;
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::model::fake::Fake;
    use crate::model::file::ModelFile;
    use crate::model::file::tests::{file, value};
    use crate::model::tensor::{Data, Tensor};

    const SMALL: (Key, &str) =
        (Key::Preprocess, r#"{"resize":4,"crop":4,"interpolation":"bilinear","mean":[0,0,0],"std":[1,1,1]}"#);

    fn model_file(batch: i64) -> ModelFile {
        let labels = (Key::Labels, r#"["red","green","blue"]"#);
        file(vec![value("x", DataType::Float, &[batch, 3, 4, 4])], &[SMALL, labels, (Key::Weights, "random")])
    }

    /// Scores are the means of the three channels.
    fn colours(inputs: &[Tensor]) -> Vec<Tensor> {
        let Data::F32(values) = &inputs[0].data else { panic!("f32 input") };
        let means = values.chunks(16).map(|plane| 10.0 * plane.iter().sum::<f32>() / 16.0).collect();
        vec![Tensor { name: "logits".into(), shape: vec![inputs[0].shape[0], 3], data: Data::F32(means) }]
    }

    fn classify(file: &ModelFile, images: &[PathBuf], batch: usize, fail_at: usize) -> (Report<Inference>, Vec<usize>) {
        let sizes = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = sizes.clone();
        let open = move |_: &Path| -> Result<Box<dyn Model>, ModelError> {
            let seen = seen.clone();
            Ok(Box::new(Fake::new(move |inputs| {
                seen.borrow_mut().push(inputs[0].shape[0]);
                if seen.borrow().len() == fail_at {
                    return Err(ModelError::Crashed("signal 11".into()));
                }
                Ok(colours(inputs))
            })))
        };
        let mut candidate = Candidate::of_file(file, "cpu", Box::new(open));
        let request = Request { images, batch, top_k: 2, exif: Exif::Apply, left_out: &[] };
        let found = infer(&mut candidate, &request, &mut |_| {}).unwrap();
        (found, sizes.take())
    }

    fn images(folder: &Path) -> Vec<PathBuf> {
        let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 20, 20], [20, 200, 20]];
        let save = |(index, colour): (usize, &[u8; 3])| {
            let path = folder.join(format!("{index}.png"));
            RgbImage::from_pixel(9, 6, Rgb(*colour)).save(&path).unwrap();
            path
        };
        colours.iter().enumerate().map(save).collect()
    }

    fn first_labels(found: &Inference) -> Vec<Option<&str>> {
        found.images.iter().map(|image| image.top.first().and_then(|class| class.label.as_deref())).collect()
    }

    #[test]
    fn images_are_classified_in_batches_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(folder.path());
        for (batch, fixed, expected) in [(2, -1, vec![2, 2, 1]), (8, -1, vec![5]), (8, 2, vec![2, 2, 2])] {
            let (found, sizes) = classify(&model_file(fixed), &images, batch, 99);
            let labels = ["red", "green", "blue", "red", "green"].map(Some);
            assert_eq!((first_labels(&found), sizes), (labels.to_vec(), expected));
            assert_eq!(found.images[0].top.len(), 2);
        }
    }

    #[test]
    fn a_bad_image_is_reported_in_its_place_and_the_rest_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(folder.path());
        std::fs::write(&images[1], b"").unwrap();
        let (found, sizes) = classify(&model_file(-1), &images, 2, 99);
        assert_eq!(first_labels(&found), [Some("red"), None, Some("blue"), Some("red"), Some("green")]);
        assert_eq!(found.images[1].error, Some(NoClass::Defect(Defect::Empty)));
        assert_eq!((found.bad_images(), sizes), (1, vec![2, 2]));
    }

    #[test]
    fn an_image_with_scores_that_are_not_finite_has_no_class_and_the_model_failed_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let (images, file) = (images(folder.path()), model_file(-1));
        for bad in [f32::NAN, f32::INFINITY] {
            let open = move |_: &Path| -> Result<Box<dyn Model>, ModelError> {
                Ok(Box::new(Fake::new(move |inputs| {
                    let mut outputs = colours(inputs);
                    let Data::F32(scores) = &mut outputs[0].data else { panic!("f32 scores") };
                    scores[4] = bad;
                    Ok(outputs)
                })))
            };
            let mut candidate = Candidate::of_file(&file, "cpu", Box::new(open));
            let request = Request { images: &images, batch: 8, top_k: 1, exif: Exif::Apply, left_out: &[] };
            let found = infer(&mut candidate, &request, &mut |_| {}).unwrap();
            assert_eq!(first_labels(&found), [Some("red"), None, Some("blue"), Some("red"), Some("green")]);
            assert_eq!(found.images[1].error, Some(NoClass::NotFinite), "{found:?}");
            assert!(found.model_failed() && found.bad_images() == 0);
        }
    }

    #[test]
    fn random_weights_and_missing_labels_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(folder.path());
        let (found, _) = classify(&model_file(-1), &images, 2, 99);
        assert!(found.notes.iter().any(|note| matches!(note, Note::RandomWeights { .. })), "{:?}", found.notes);
        let unnamed = file(vec![value("x", DataType::Float, &[-1, 3, 4, 4])], &[SMALL]);
        let (found, _) = classify(&unnamed, &images, 2, 99);
        assert_eq!(found.notes, [Note::NoLabels]);
    }

    #[test]
    fn a_crash_midway_keeps_what_was_classified() {
        let folder = tempfile::tempdir().unwrap();
        let (found, _) = classify(&model_file(-1), &images(folder.path()), 2, 2);
        assert_eq!(first_labels(&found), [Some("red"), Some("green")]);
        assert!(matches!(found.error, Some(ModelError::Crashed(_))));
    }
}
