//! Prepared images through an open model, to classes: what `infer` and `eval` share.

use serde::Serialize;

use super::to_f64;
use crate::input;
use crate::model::batch;
use crate::model::batch::Batch;
use crate::model::file::ImageInput;
use crate::model::opened::{Model, ModelError};
use crate::model::output::{ClassOutput, UNDECIDED};
use crate::model::tensor::{Data, Tensor};
use crate::stats::ranking::best;
use onnx_file::meaning::Meaning;

/// A class that an image may belong to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// Index of the class.
    pub index: usize,
    /// Its name, where there are names.
    pub label: Option<String>,
    /// Probability, from 0 to 1; `None` where the model gives none, and none follows from what it gives.
    pub probability: Option<f64>,
    /// The number the model gave, where it gave any; 0 for the other one of two classes told apart by one logit.
    pub score: Option<f64>,
}

/// What is said of an image whose scores [`top`] does not rank.
pub const NOT_FINITE: &str = "the model's scores for it are NaN or infinite";

/// What a model says of one image.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number for each class, by index.
    Scores(Vec<f64>),
    /// Classes, best first, with their numbers where there are any.
    Ranked(Vec<(usize, Option<f64>)>),
}

impl Answer {
    /// The `k` best classes, best first; `None` where the scores are not all finite, or there are none.
    pub fn best(&self, k: usize) -> Option<Vec<usize>> {
        match self {
            Answer::Scores(scores) => best(scores, k),
            Answer::Ranked(ranked) if ranked.iter().any(|(_, score)| score.is_some_and(|score| !score.is_finite())) => {
                None
            }
            Answer::Ranked(ranked) => Some(ranked.iter().map(|(class, _)| *class).take(k).collect()),
        }
    }

    /// Number of classes, where it shows.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Answer::Scores(scores) => Some(scores.len()),
            Answer::Ranked(_) => None,
        }
    }
}

/// How images go into a model and classes come out.
pub struct Classifier {
    /// The input that takes images.
    pub image: ImageInput,
    /// How many go in at once.
    pub batch: Batch,
    /// Height and width of the images.
    pub extent: (usize, usize),
    /// The output that says the classes.
    pub output: ClassOutput,
    /// How many classes have names, where any have.
    pub labels: Option<usize>,
}

impl Classifier {
    /// Runs `images`, each a normalised `[3, H, W]` tensor, and returns what is said of each. `buffer` is what a batch is
    /// put together in, kept for the next: large ones would cost the system more to give and take back than to fill.
    ///
    /// # Errors
    /// [`ModelError`] where the run fails or the output is no number for each class of each image.
    pub fn answers(
        &self,
        model: &mut dyn Model,
        images: &[&[f32]],
        buffer: &mut Vec<f32>,
    ) -> Result<Vec<Answer>, ModelError> {
        if self.output.one_by_one && images.len() > 1 {
            let one = |image: &&[f32]| self.answers(model, std::slice::from_ref(image), buffer);
            return Ok(images.iter().map(one).collect::<Result<Vec<_>, _>>()?.concat());
        }
        let mut values = std::mem::take(buffer);
        values.clear();
        images.iter().for_each(|image| values.extend_from_slice(image));
        let input = input::image_tensor(&self.image, images.len(), self.extent, values);
        let one = Batch { size: 1, fixed: true };
        let outputs = batch::run(model, &input, if self.output.one_by_one { one } else { self.batch });
        if let Data::F32(values) = input.data {
            *buffer = values;
        }
        self.read(&outputs?, images.len())
    }

    fn read(&self, outputs: &[Tensor], images: usize) -> Result<Vec<Answer>, ModelError> {
        let named = |name: &str| {
            let found = outputs.iter().find(|output| output.name == name);
            found.ok_or_else(|| ModelError::Failed(format!("the run gave no output {name}")))
        };
        let output = named(&self.output.name)?;
        let rows = rows(output, images)?;
        let Meaning::Classes = self.output.meaning else {
            let answers = rows.into_iter().map(|row| self.scores(row)).collect::<Result<Vec<_>, _>>()?;
            return self.fit_labels(&answers).map(|()| answers);
        };
        let values = match &self.output.values {
            Some(values) => self::rows(named(&values.name)?, images)?.into_iter().map(Some).collect(),
            None => vec![None; images],
        };
        let ranked = |(row, values): (Vec<f64>, Option<Vec<f64>>)| {
            let class = |(at, class): (usize, &f64)| {
                let score = values.as_ref().and_then(|values| values.get(at).copied());
                let index = (*class >= 0.0 && class.fract() == 0.0).then_some(*class as usize);
                let wrong = || ModelError::Failed(format!("output {} holds {class}, which is no class", output.name));
                Ok((index.ok_or_else(wrong)?, score))
            };
            let mut ranked = row.iter().enumerate().map(class).collect::<Result<Vec<_>, ModelError>>()?;
            if values.is_some() {
                // TopK need not sort. What is not finite is found later.
                ranked.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
            }
            Ok(Answer::Ranked(ranked))
        };
        rows.into_iter().zip(values).map(ranked).collect()
    }

    /// Names go with classes one to one: of any other number each might be the name of its neighbour.
    fn fit_labels(&self, answers: &[Answer]) -> Result<(), ModelError> {
        match (self.labels, answers.first().and_then(Answer::classes)) {
            (Some(labels), Some(classes)) if labels != classes => Err(ModelError::BadModel(format!(
                "{labels} classes have names, and output {} has {classes} numbers for each image; give all names with \
                 --labels FILE",
                self.output.name
            ))),
            _ => Ok(()),
        }
    }

    /// Scores by class; of a single number, those of the two classes that it tells apart.
    fn scores(&self, row: Vec<f64>) -> Result<Answer, ModelError> {
        let [number] = row[..] else { return Ok(Answer::Scores(row)) };
        let name = &self.output.name;
        let pair = match self.output.meaning {
            Meaning::Logits => [0.0, number],
            Meaning::LogProbabilities => [(-number.exp()).ln_1p(), number],
            Meaning::Scores | Meaning::Classes => {
                return Err(ModelError::BadModel(format!("output {name} is one number for each image, {UNDECIDED}")));
            }
            _ if (0.0..=1.0).contains(&number) || !number.is_finite() => [1.0 - number, number],
            _ => return Err(ModelError::Failed(format!("output {name} is {number}, which is no probability"))),
        };
        Ok(Answer::Scores(pair.to_vec()))
    }
}

/// The numbers of each image.
fn rows(output: &Tensor, images: usize) -> Result<Vec<Vec<f64>>, ModelError> {
    let Tensor { name, shape, data } = output;
    let first = shape.first().copied().unwrap_or(0);
    let extents = shape.iter().skip(1).filter(|extent| **extent != 1).count();
    let by_image = first == images && extents <= 1;
    let of_the_only_one = images == 1 && shape.len() == 1;
    let values = to_f64(data);
    if images == 0 || values.is_empty() || !(by_image || of_the_only_one) {
        let one_by_one = if shape.len() == 1 { "; with --batch-size 1 they may be those of one image" } else { "" };
        return Err(ModelError::BadModel(format!(
            "output {name} of shape {shape:?} holds no number for each class of each of {images} images{one_by_one}"
        )));
    }
    Ok(values.chunks_exact(values.len() / images).map(<[f64]>::to_vec).collect())
}

/// Probabilities of numbers of this meaning; `None` where nothing says how they become any.
pub fn probabilities(scores: &[f64], meaning: Meaning) -> Option<Vec<f64>> {
    match meaning {
        Meaning::Probabilities | Meaning::IndependentProbabilities => Some(scores.to_vec()),
        Meaning::LogProbabilities => Some(scores.iter().map(|score| score.exp()).collect()),
        Meaning::Logits => {
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            Some(powers.into_iter().map(|power| power / sum).collect())
        }
        Meaning::Scores | Meaning::Classes => None,
    }
}

/// The `k` best classes, best first; `None` where the scores are not all finite.
pub fn top(answer: &Answer, output: &ClassOutput, k: usize, labels: Option<&[String]>) -> Option<Vec<Class>> {
    let best = answer.best(k)?;
    let named = |index: usize, probability: Option<f64>, score: Option<f64>| Class {
        index,
        label: labels.and_then(|labels| labels.get(index).cloned()),
        probability,
        score,
    };
    match answer {
        Answer::Scores(scores) => {
            let probabilities = probabilities(scores, output.meaning);
            let probability = |index: usize| probabilities.as_ref().map(|all| all[index]);
            Some(best.into_iter().map(|index| named(index, probability(index), Some(scores[index]))).collect())
        }
        Answer::Ranked(ranked) => {
            // Of some of the logits no softmax can be taken.
            let meaning = output.values.as_ref().map(|values| values.meaning).filter(|of| *of != Meaning::Logits);
            let probability = |score: f64| meaning.and_then(|of| probabilities(&[score], of)?.first().copied());
            let class = |(index, score): &(usize, Option<f64>)| named(*index, score.and_then(probability), *score);
            Some(ranked.iter().take(k).map(class).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::Fake;
    use crate::model::output::Values;
    use onnx_file::element::ElementType;
    use onnx_file::port::Layout;

    fn output(meaning: Meaning) -> ClassOutput {
        ClassOutput { name: "out".into(), meaning, values: None, numbers: None, one_by_one: false }
    }

    fn tensor(name: &str, shape: &[usize], data: &[f32]) -> Tensor {
        Tensor { name: name.into(), shape: shape.to_vec(), data: Data::F32(data.to_vec()) }
    }

    /// What is made of `given` as the outputs of a run of `images` images.
    fn read(output: ClassOutput, given: Vec<Tensor>, images: usize) -> Result<Vec<Answer>, ModelError> {
        read_named(output, given, images, None)
    }

    /// The same where so many classes have names.
    fn read_named(
        output: ClassOutput,
        given: Vec<Tensor>,
        images: usize,
        labels: Option<usize>,
    ) -> Result<Vec<Answer>, ModelError> {
        let image = ImageInput {
            name: "x".into(),
            element_type: ElementType::F32,
            layout: Layout::Nchw,
            channels: 3,
            batch: None,
            height: None,
            width: None,
        };
        let batch = Batch { size: images, fixed: false };
        let classifier = Classifier { image, batch, extent: (1, 1), output, labels };
        let mut fake = Fake::new(move |_| Ok(given.clone()));
        classifier.answers(&mut fake, &vec![[0.0; 3].as_slice(); images], &mut Vec::new())
    }

    #[test]
    fn names_that_are_not_one_for_each_class_are_refused() {
        let given = || vec![tensor("out", &[1, 3], &[1.0, 2.0, 3.0])];
        let run = |labels| read_named(output(Meaning::Logits), given(), 1, labels).map(|answers| answers.len());
        assert_eq!([run(None), run(Some(3))], [Ok(1), Ok(1)]);
        for labels in [2, 4] {
            let error = run(Some(labels)).unwrap_err();
            assert!(matches!(&error, ModelError::BadModel(text) if text.contains("--labels")), "{error}");
        }
    }

    #[test]
    fn probabilities_are_made_as_the_meaning_says_and_never_guessed() {
        let found = probabilities(&[0.0, f64::ln(3.0)], Meaning::Logits).unwrap();
        assert!((found[0] - 0.25).abs() < 1e-15 && (found[1] - 0.75).abs() < 1e-15);
        let quantized = [0.27, 0.7];
        assert_eq!(probabilities(&quantized, Meaning::Probabilities), Some(quantized.to_vec()), "as the model says");
        assert_eq!(probabilities(&[0.9, 0.8], Meaning::IndependentProbabilities), Some(vec![0.9, 0.8]));
        let summing_to_one = probabilities(&[0.2, 0.8], Meaning::Logits).unwrap();
        assert!((summing_to_one[1] - 0.6457).abs() < 1e-4, "logits that add up to 1 are logits");
        assert_eq!(probabilities(&[1e4, 0.0], Meaning::Logits), Some(vec![1.0, 0.0]), "no overflow");
        assert_eq!(probabilities(&[0.5], Meaning::Scores), None);
    }

    #[test]
    fn the_best_classes_bear_their_labels() {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let top = |scores: &[f64], k| top(&Answer::Scores(scores.into()), &output(Meaning::Logits), k, Some(&labels));
        let found = top(&[1.0, 2.0, 0.0], 2).unwrap();
        let names: Vec<_> = found.iter().map(|class| (class.index, class.label.as_deref())).collect();
        assert_eq!(names, [(1, Some("dog")), (0, Some("cat"))]);
        assert!(top(&[1.0, 2.0, 3.0], 1).unwrap()[0].label.is_none(), "no label, no invention");
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(top(&[1.0, bad, 0.0], 1), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_read_by_image_whatever_the_shape_and_no_others() {
        let read = |shape: &[usize], data: &[f32]| read(output(Meaning::Logits), vec![tensor("out", shape, data)], 2);
        let expected = vec![Answer::Scores(vec![1.0, 2.0]), Answer::Scores(vec![3.0, 4.0])];
        for shape in [&[2, 2][..], &[2, 2, 1, 1], &[2, 1, 2], &[2, 1, 1, 2]] {
            assert_eq!(read(shape, &[1.0, 2.0, 3.0, 4.0]), Ok(expected.clone()), "{shape:?}");
        }
        for shape in [&[4][..], &[1, 4], &[2, 2, 2], &[]] {
            let data = vec![0.0; shape.iter().product()];
            assert!(matches!(read(shape, &data), Err(ModelError::BadModel(_))), "{shape:?}");
        }
    }

    #[test]
    fn one_number_tells_two_classes_apart() {
        let one = |meaning: Meaning, number: f32| {
            let answers = read(output(meaning), vec![tensor("out", &[1, 1], &[number])], 1)?;
            Ok(top(&answers[0], &output(meaning), 1, None).map(|top| (top[0].index, top[0].probability)))
        };
        assert_eq!(one(Meaning::Logits, 0.0).unwrap(), Some((0, Some(0.5))));
        let (class, probability) = one(Meaning::Logits, 2.0).unwrap().unwrap();
        assert!(class == 1 && (probability.unwrap() - 0.880_797).abs() < 1e-6);
        assert_eq!(one(Meaning::IndependentProbabilities, 0.25).unwrap(), Some((0, Some(0.75))));
        assert_eq!(one(Meaning::Logits, f32::NAN).unwrap(), None);
        assert!(matches!(one(Meaning::IndependentProbabilities, 1.5), Err(ModelError::Failed(_))));
        assert!(matches!(one(Meaning::Scores, 0.5), Err(ModelError::BadModel(_))));
    }

    #[test]
    fn classes_that_the_model_names_itself_are_taken_as_they_are() {
        let picked = Tensor { name: "out".into(), shape: vec![2], data: Data::I64(vec![7, 3]) };
        let found = read(output(Meaning::Classes), vec![picked], 2).unwrap();
        assert_eq!(found, [Answer::Ranked(vec![(7, None)]), Answer::Ranked(vec![(3, None)])]);
        let values = Values { name: "v".into(), meaning: Meaning::Probabilities };
        let best = ClassOutput { values: Some(values), ..output(Meaning::Classes) };
        let picked = Tensor { name: "out".into(), shape: vec![1, 2], data: Data::I64(vec![7, 3]) };
        let found = read(best.clone(), vec![picked, tensor("v", &[1, 2], &[0.25, 0.5])], 1).unwrap();
        let found = top(&found[0], &best, 5, None).unwrap();
        assert_eq!(
            found.iter().map(|c| (c.index, c.probability)).collect::<Vec<_>>(),
            [(3, Some(0.5)), (7, Some(0.25))]
        );
        let odd = Tensor { name: "out".into(), shape: vec![1], data: Data::I64(vec![-1]) };
        assert!(matches!(read(output(Meaning::Classes), vec![odd], 1), Err(ModelError::Failed(_))));
    }

    #[test]
    fn an_output_without_a_dimension_for_images_is_run_one_by_one() {
        let alone = ClassOutput { one_by_one: true, ..output(Meaning::Logits) };
        let found = read(alone, vec![tensor("out", &[3], &[1.0, 2.0, 0.0])], 2).unwrap();
        assert_eq!(found, vec![Answer::Scores(vec![1.0, 2.0, 0.0]); 2]);
    }
}
