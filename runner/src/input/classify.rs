//! Prepared images through an open model, to class scores: what `infer` and `eval` share.

use serde::Serialize;

use super::to_f64;
use crate::input;
use crate::model::batch;
use crate::model::batch::Batch;
use crate::model::file::ImageInput;
use crate::model::opened::{Model, ModelError};
use crate::model::tensor::{Data, Tensor};
use crate::stats::ranking::{best, class_count};

/// A class that an image may belong to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// Index of the class.
    pub index: usize,
    /// Its name, where the model file holds names.
    pub label: Option<String>,
    /// Probability, from 0 to 1.
    pub probability: f64,
    /// The number the model gave: a logit, or a probability where the model ends in a softmax.
    pub score: f64,
}

/// What is said of an image whose scores [`top`] does not rank.
pub const NOT_FINITE: &str = "the model's scores for it are NaN or infinite";

/// Runs `images`, each a normalised `[3, H, W]` tensor, and returns each one's scores by class. `buffer` is what a batch
/// is put together in, kept for the next: large ones would cost the system more to give and take back than to fill.
///
/// # Errors
/// [`ModelError`] where the run fails or no output holds class scores.
pub fn scores(
    model: &mut dyn Model,
    image: &ImageInput,
    batch: Batch,
    extent: (usize, usize),
    images: &[&[f32]],
    buffer: &mut Vec<f32>,
) -> Result<Vec<Vec<f64>>, ModelError> {
    let mut values = std::mem::take(buffer);
    values.clear();
    images.iter().for_each(|image| values.extend_from_slice(image));
    let input = input::tensor(image, [images.len(), 3, extent.0, extent.1], values);
    let outputs = batch::run(model, &input, batch);
    if let Data::F32(values) = input.data {
        *buffer = values;
    }
    let outputs = outputs?;
    let output = scores_output(&outputs, images.len())?;
    let classes = class_count(&output.shape).unwrap_or(1);
    Ok(to_f64(&output.data).chunks_exact(classes).map(<[f64]>::to_vec).collect())
}

/// The output that holds class scores: `logits` where there is one of that name, otherwise the first `[N, classes]`.
fn scores_output(outputs: &[Tensor], images: usize) -> Result<&Tensor, ModelError> {
    let fits = |output: &&Tensor| class_count(&output.shape).is_some() && output.shape[0] == images;
    let named = outputs.iter().filter(fits).find(|output| output.name == "logits");
    named.or_else(|| outputs.iter().find(fits)).ok_or_else(|| {
        let shapes: Vec<String> = outputs.iter().map(|output| format!("{} {:?}", output.name, output.shape)).collect();
        ModelError::Failed(format!("no output holds class scores [N, classes]; outputs: {}", shapes.join(", ")))
    })
}

/// Probabilities of scores: by softmax, unless they already are probabilities.
pub fn probabilities(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().sum();
    if scores.iter().all(|score| (0.0..=1.0).contains(score)) && (sum - 1.0).abs() < 1e-3 {
        return scores.to_vec();
    }
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The `k` best classes, best first; `None` where the scores are not all finite.
pub fn top(scores: &[f64], k: usize, labels: Option<&[String]>) -> Option<Vec<Class>> {
    let best = best(scores, k)?;
    let probabilities = probabilities(scores);
    let class = |index: usize| Class {
        index,
        label: labels.and_then(|labels| labels.get(index).cloned()),
        probability: probabilities[index],
        score: scores[index],
    };
    Some(best.into_iter().map(class).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::Fake;
    use onnx_file::element::ElementType;

    #[test]
    fn probabilities_are_the_softmax_of_logits_and_left_alone_where_they_are_probabilities() {
        let found = probabilities(&[0.0, f64::ln(3.0)]);
        assert!((found[0] - 0.25).abs() < 1e-15 && (found[1] - 0.75).abs() < 1e-15);
        assert_eq!(probabilities(&[0.2, 0.8]), [0.2, 0.8]);
        let huge = probabilities(&[1e4, 0.0]);
        assert_eq!(huge, [1.0, 0.0], "no overflow");
    }

    #[test]
    fn the_best_classes_bear_their_labels() {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let found = top(&[1.0, 2.0, 0.0], 2, Some(&labels)).unwrap();
        let names: Vec<_> = found.iter().map(|class| (class.index, class.label.as_deref())).collect();
        assert_eq!(names, [(1, Some("dog")), (0, Some("cat"))]);
        assert!(top(&[1.0, 2.0, 3.0], 1, Some(&labels)).unwrap()[0].label.is_none(), "no label, no invention");
    }

    #[test]
    fn scores_that_are_not_finite_are_not_ranked() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(top(&[1.0, bad, 0.0], 1, None), None, "{bad}");
        }
    }

    #[test]
    fn the_output_of_class_scores_is_found_among_others() {
        let image =
            ImageInput { name: "x".into(), element_type: ElementType::F32, batch: None, height: None, width: None };
        let tensor = |name: &str, shape: &[usize]| {
            let data = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
            Tensor { name: name.into(), shape: shape.to_vec(), data: Data::F32(data) }
        };
        let run = |outputs: Vec<Tensor>| {
            let mut fake = Fake::new(move |_| Ok(outputs.clone()));
            scores(&mut fake, &image, Batch { size: 2, fixed: false }, (1, 1), &[&[0.0; 3], &[0.0; 3]], &mut Vec::new())
        };
        let features = tensor("c5", &[2, 8, 7, 7]);
        let other = tensor("embedding", &[2, 6]);
        let found = run(vec![features.clone(), other.clone(), tensor("logits", &[2, 3])]).unwrap();
        assert_eq!(found, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
        assert_eq!(run(vec![features.clone(), tensor("out", &[2, 2, 1, 1])]).unwrap()[1], [2.0, 3.0]);
        assert!(run(vec![features]).unwrap_err().to_string().contains("c5 [2, 8, 7, 7]"));
    }
}
