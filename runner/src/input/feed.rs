//! What a model is run on where nothing is said of it: noise for its images, or for every input of a model that takes
//! something else.

use onnx_file::budget::{Budget, OverBudget};
use onnx_file::element::ElementType;

use super::{UnfitInput, demand, fit, noise, noise_tensor, preprocess};
use crate::model::candidate::Candidate;
use crate::model::file::{ImageInput, MetadataError, ModelFile, Port};
use crate::model::opened::{Model, ModelError};
use crate::model::tensor::{Data, Tensor};

/// Bytes of the widest element.
const WIDEST: usize = 8;
/// Extent of an open height or width.
const OPEN_SIDE: usize = 224;

/// The inputs of a model.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Images of this height and width, and nothing else.
    Images(ImageInput, (usize, usize)),
    /// Tensors of any kind.
    Tensors(Vec<Port>),
}

impl Feed {
    /// What a model takes whose file lies here.
    ///
    /// # Errors
    /// [`MetadataError`] where an input is of a type or without a shape for which nothing can be made, or its own
    /// preprocessing makes no sense.
    pub fn of_file(file: &ModelFile) -> Result<Feed, MetadataError> {
        match ImageInput::among(&file.inputs) {
            Ok(image) => {
                let extent = preprocess::extent(Some(file), &image)?;
                Ok(Feed::Images(image, extent))
            }
            Err(refused) => tensors(&file.inputs).ok_or_else(|| file.not_an_image_model(refused.to_string())),
        }
    }

    /// What the opened model of a candidate takes: as it declares it, or, where it declares nothing, as its file does; shapes that were
    /// asked for stand in what is known of the file.
    ///
    /// # Errors
    /// [`ModelError::BadModel`] as for [`Feed::of_file`].
    pub fn of_opened(candidate: &Candidate<'_>, model: &dyn Model) -> Result<Feed, ModelError> {
        let bad = |error: MetadataError| ModelError::BadModel(error.to_string());
        let inputs = model.inputs();
        if let Some(file) = candidate.file.filter(|file| inputs.is_empty() || !file.shaped.is_empty()) {
            return Feed::of_file(file).map_err(bad);
        }
        match ImageInput::among(inputs) {
            Ok(image) => {
                let extent = preprocess::extent(candidate.file, &image).map_err(bad)?;
                Ok(Feed::Images(image, extent))
            }
            Err(refused) => {
                tensors(inputs).ok_or_else(|| ModelError::BadModel(format!("{}: {refused}", candidate.model)))
            }
        }
    }

    /// The number of images, or whatever goes in at once, where it is fixed: `None` only where an input leaves its first
    /// extent open. Otherwise it is the first extent that all inputs share which have one; where they share none, a run
    /// takes one of each.
    pub fn fixed_batch(&self) -> Option<usize> {
        match self {
            Feed::Images(image, _) => image.batch,
            Feed::Tensors(ports) => {
                let first = |port: &Port| port.shape.as_deref().and_then(|shape| shape.first().copied());
                let firsts: Option<Vec<usize>> = ports.iter().filter_map(first).collect();
                let firsts = firsts?;
                let shared = firsts.first().filter(|batch| firsts.iter().all(|first| first == *batch));
                Some(shared.copied().unwrap_or(1))
            }
        }
    }

    /// Seeded noise for every input.
    ///
    /// # Errors
    /// [`OverBudget`] where that is more than this process may hold.
    pub fn synthetic(&self, batch: usize, seed: u64) -> Result<Vec<Tensor>, OverBudget> {
        self.synthetic_within(&mut Budget::new(), batch, seed)
    }

    /// As [`Feed::synthetic`], where others are held beside them.
    ///
    /// # Errors
    /// [`OverBudget`] where that is more than they leave.
    pub fn synthetic_within(&self, budget: &mut Budget, batch: usize, seed: u64) -> Result<Vec<Tensor>, OverBudget> {
        match self {
            Feed::Images(image, extent) => {
                demand::within(budget, *extent, batch, 0)?;
                Ok(vec![noise_tensor(image, batch, *extent, seed)])
            }
            Feed::Tensors(ports) => {
                let shapes: Vec<Vec<usize>> = ports.iter().map(|port| shape(port, batch)).collect();
                let elements = |shape: &Vec<usize>| shape.iter().copied().fold(WIDEST, usize::saturating_mul);
                let bytes = shapes.iter().map(elements).fold(0, usize::saturating_add);
                budget.take(&format!("inputs for {batch} at once"), bytes as u64)?;
                let tensor = |(port, shape): (&Port, Vec<usize>)| {
                    noise::tensor(&port.name, port.element_type.unwrap_or(ElementType::F32), shape, seed)
                };
                Ok(ports.iter().zip(shapes).map(tensor).collect())
            }
        }
    }

    /// Makes given tensors suit the model: for images as [`fit`] does it, otherwise by name.
    ///
    /// # Errors
    /// [`UnfitInput`] where an input is not given, or has another shape or type.
    pub fn fit(&self, given: &[Tensor], model: &str) -> Result<Vec<Tensor>, UnfitInput> {
        match self {
            Feed::Images(image, _) => Ok(vec![fit(given, model, image)?]),
            Feed::Tensors(ports) => ports.iter().map(|port| named(port, given, model)).collect(),
        }
    }
}

/// Inputs of any kind, where noise can be made for all of them.
fn tensors(ports: &[Port]) -> Option<Feed> {
    let is_made = |port: &Port| {
        use ElementType::{Bool, F16, F32, F64, I8, I32, I64, U8};
        let known = matches!(port.element_type, Some(F32 | F16 | F64 | I64 | I32 | I8 | U8 | Bool));
        known && port.shape.as_deref().is_some_and(|shape| !shape.contains(&Some(0)))
    };
    (!ports.is_empty() && ports.iter().all(is_made)).then(|| Feed::Tensors(ports.to_vec()))
}

fn shape(port: &Port, batch: usize) -> Vec<usize> {
    let declared = port.shape.as_deref().unwrap_or_default();
    let is_image = declared.len() == 4;
    let extent = |(at, extent): (usize, &Option<usize>)| match (extent, at) {
        (Some(fixed), _) => *fixed,
        (None, 0) => batch,
        (None, _) if is_image => OPEN_SIDE,
        (None, _) => 1,
    };
    declared.iter().enumerate().map(extent).collect()
}

fn named(port: &Port, given: &[Tensor], model: &str) -> Result<Tensor, UnfitInput> {
    let unfit = |reason: String| UnfitInput { model: model.to_owned(), reason };
    let tensor = given.iter().find(|tensor| tensor.name == port.name).ok_or_else(|| {
        let names: Vec<&str> = given.iter().map(|tensor| tensor.name.as_str()).collect();
        unfit(format!("its input {} is not among those given: {}", port.name, names.join(", ")))
    })?;
    let declared = port.shape.as_deref().unwrap_or_default();
    let fits = declared.len() == tensor.shape.len()
        && declared.iter().zip(&tensor.shape).all(|(wanted, given)| wanted.is_none_or(|wanted| wanted == *given));
    let wanted = port.element_type;
    let data = match (&tensor.data, wanted) {
        (data, Some(wanted)) if data.element_type() == wanted => data.clone(),
        // numpy's floats are f64.
        (Data::F64(values), Some(ElementType::F32)) => Data::F32(values.iter().map(|value| *value as f32).collect()),
        // And its integers are i64.
        (Data::I64(values), Some(ElementType::I32)) => {
            let narrow: Result<Vec<i32>, _> = values.iter().map(|&value| i32::try_from(value)).collect();
            Data::I32(narrow.map_err(|_| unfit(format!("{} holds integers beyond those of {port}", tensor.name)))?)
        }
        _ => {
            return Err(unfit(format!(
                "{} is {}, and the model takes {port}",
                tensor.name,
                tensor.data.element_type()
            )));
        }
    };
    if !fits {
        return Err(unfit(format!("{} has shape {:?}, and the model takes {port}", tensor.name, tensor.shape)));
    }
    Ok(Tensor { data, ..tensor.clone() })
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::model::file::tests::{file, value};

    #[test]
    fn every_input_of_a_model_that_takes_no_images_is_made_and_may_be_given_by_name() {
        let inputs = || vec![value("x", DataType::Float, &[-1, 3, 8, 8]), value("ids", DataType::Int64, &[-1, 2])];
        let model = file(inputs(), &[]);
        let feed = Feed::of_file(&model).unwrap();
        let made = feed.synthetic(4, 0).unwrap();
        assert_eq!(made.iter().map(|tensor| tensor.shape.clone()).collect::<Vec<_>>(), [vec![4, 3, 8, 8], vec![4, 2]]);
        assert!(matches!(&made[1].data, Data::I64(values) if values.iter().all(|value| [0, 1].contains(value))));
        let reversed: Vec<Tensor> = made.iter().rev().cloned().collect();
        assert_eq!(feed.fit(&reversed, "m"), Ok(made.clone()));
        let error = feed.fit(&made[..1], "m").unwrap_err().to_string();
        assert!(error.contains("its input ids is not among those given: x"), "{error}");
        let short = Tensor { shape: vec![4, 1], data: Data::I64(vec![0; 4]), ..made[1].clone() };
        assert!(feed.fit(&[made[0].clone(), short], "m").unwrap_err().to_string().contains("shape [4, 1]"));
        let texts = file(vec![value("x", DataType::String, &[1])], &[]);
        assert!(Feed::of_file(&texts).is_err());
    }

    #[test]
    fn inputs_that_are_held_together_are_counted_together() {
        let images = file(vec![value("x", DataType::Float, &[-1, 3, 8, 8])], &[]);
        let ids = file(vec![value("ids", DataType::Int64, &[-1, 288])], &[]);
        for model in [images, ids] {
            let feed = Feed::of_file(&model).unwrap();
            // One of them takes 2304 bytes.
            let mut budget = Budget::of(3 * 2304 + 100);
            for _ in 0..3 {
                assert!(feed.synthetic_within(&mut budget, 1, 0).is_ok());
            }
            assert!(feed.synthetic_within(&mut budget, 1, 0).is_err());
        }
    }

    #[test]
    fn a_fixed_batch_is_one_that_all_inputs_share() {
        let fixed = |shapes: &[&[i64]]| {
            let inputs = shapes.iter().enumerate().map(|(at, shape)| value(&format!("x{at}"), DataType::Int64, shape));
            Feed::of_file(&file(inputs.collect(), &[])).unwrap().fixed_batch()
        };
        assert_eq!(fixed(&[&[4, 2], &[4]]), Some(4));
        assert_eq!(fixed(&[&[4, 2], &[]]), Some(4), "a scalar belongs to every batch");
        assert_eq!((fixed(&[&[4, 2], &[2]]), fixed(&[&[]])), (Some(1), Some(1)), "no batch size is asked for");
        assert_eq!((fixed(&[&[-1, 2]]), fixed(&[&[4, 2], &[-1]])), (None, None));
    }
}
