//! Golden cases of a bundle: what a model has to make of given tensors before anything else is asked of it.

use std::path::Path;

use onnx_file::bundle::{self, BundleError};
use onnx_file::element::ElementType;
use onnx_file::proto::TensorProto;
use onnx_file::tensor::to_f64;

use super::demand::Demand;
use super::opened::{Model, ModelError};
use super::precision::Precision;
use super::tensor::{Data, Tensor};
use half::f16;

/// The golden cases of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// Largest absolute difference over largest magnitude that an output may have.
    tolerance: f64,
    cases: Vec<Case>,
}

#[derive(Clone, Debug, PartialEq)]
struct Case {
    /// Its folder in the bundle.
    name: String,
    inputs: Vec<Tensor>,
    outputs: Vec<Expected>,
}

/// An output as it should be.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    name: String,
    shape: Vec<usize>,
    numbers: Vec<f64>,
}

impl Golden {
    /// Reads the cases of `model` in the bundle at `folder`.
    ///
    /// # Errors
    /// [`BundleError`] where a tensor cannot be read, or is none that models take.
    pub fn read(folder: &Path, model: &bundle::Model) -> Result<Self, BundleError> {
        let case = |case: &bundle::Case| {
            let first = case.inputs.first().map_or("", String::as_str);
            let name = first.rsplit_once('/').map_or(first, |(folder, _)| folder).to_owned();
            let inputs = case.inputs.iter().map(|name| input(&folder.join(name))).collect::<Result<_, _>>()?;
            let outputs = case.outputs.iter().map(|name| expected(&folder.join(name))).collect::<Result<_, _>>()?;
            Ok(Case { name, inputs, outputs })
        };
        Ok(Self {
            tolerance: model.tolerance,
            cases: model.cases.iter().map(case).collect::<Result<_, BundleError>>()?,
        })
    }

    /// The cases of shapes that will be asked for anyway: a provider may have built nothing for others.
    #[must_use]
    pub fn within(&self, demand: &Demand) -> Self {
        let fits = |input: &Tensor| {
            let bounds = demand.least.iter().zip(&demand.most);
            input.name != demand.input
                || (input.shape.len() == demand.least.len()
                    && input.shape.iter().zip(bounds).all(|(extent, (least, most))| (least..=most).contains(&extent)))
        };
        let cases = self.cases.iter().filter(|case| case.inputs.iter().all(fits)).cloned().collect();
        Self { tolerance: self.tolerance, cases }
    }

    /// Runs every case through `model`.
    ///
    /// # Errors
    /// [`ModelError::Failed`], which names the first case whose outputs are not the golden ones.
    pub fn check(&self, model: &mut dyn Model) -> Result<(), ModelError> {
        let tolerance = self.tolerance.max(coarser(model));
        self.cases.iter().try_for_each(|case| {
            let found = model.run(&case.inputs)?;
            let wrong = |reason: String| ModelError::Failed(format!("golden case {}: {reason}", case.name));
            // Outputs that nobody asked for are not fetched.
            case.outputs.iter().try_for_each(|expected| match found.iter().find(|one| one.name == expected.name) {
                Some(found) => expected.check(found, tolerance).map_err(wrong),
                None => Ok(()),
            })
        })
    }
}

impl Expected {
    fn check(&self, found: &Tensor, tolerance: f64) -> Result<(), String> {
        if found.shape != self.shape {
            return Err(format!("output '{}' is {:?} instead of {:?}", self.name, found.shape, self.shape));
        }
        let largest = self.numbers.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
        let numbers = found.data.to_f64();
        let differences = numbers.iter().zip(&self.numbers).map(|(found, expected)| (found - expected).abs());
        // NaN is no number to be within a tolerance.
        let off = differences.fold(0.0_f64, |most, off| if off.is_nan() { f64::INFINITY } else { most.max(off) });
        if off <= tolerance * largest {
            return Ok(());
        }
        let name = &self.name;
        Err(format!(
            "output '{name}' is {:.1e} of its largest magnitude off, and at most {tolerance:.0e} is allowed",
            off / largest
        ))
    }
}

/// What arithmetic that the provider was asked for, beyond the file's own, allows.
fn coarser(model: &dyn Model) -> f64 {
    let options = &model.loaded().options;
    match options.iter().filter_map(|(key, value)| Precision::of_option(key, value)).max() {
        None | Some(Precision::F32) => 0.0,
        Some(Precision::Tf32 | Precision::F16) => 2e-2,
        Some(Precision::Bf16 | Precision::Int8) => 1e-1,
    }
}

fn expected(path: &Path) -> Result<Expected, BundleError> {
    let tensor = bundle::tensor(path)?;
    let numbers = to_f64(&tensor).map_err(|error| unfit(path, error.to_string()))?;
    Ok(Expected { shape: shape(&tensor), numbers, name: tensor.name })
}

fn input(path: &Path) -> Result<Tensor, BundleError> {
    let tensor = bundle::tensor(path)?;
    let numbers = to_f64(&tensor).map_err(|error| unfit(path, error.to_string()))?;
    let data = match ElementType::from_proto(tensor.data_type) {
        Some(ElementType::F32) => Data::F32(numbers.into_iter().map(|number| number as f32).collect()),
        Some(ElementType::F16) => Data::F16(numbers.into_iter().map(f16::from_f64).collect()),
        Some(ElementType::F64) => Data::F64(numbers),
        Some(ElementType::U8) => Data::U8(numbers.into_iter().map(|number| number as u8).collect()),
        _ => return Err(unfit(path, format!("ONNX type {} is none of images", tensor.data_type))),
    };
    Ok(Tensor { shape: shape(&tensor), data, name: tensor.name })
}

/// Extents, which reading the numbers has checked.
fn shape(tensor: &TensorProto) -> Vec<usize> {
    tensor.dims.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect()
}

fn unfit(path: &Path, reason: String) -> BundleError {
    BundleError::Manifest { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::Fake;

    fn golden() -> Golden {
        let tensor =
            |name: &str, data: &[f32]| Tensor { name: name.into(), shape: vec![1, 2], data: Data::F32(data.to_vec()) };
        let outputs = vec![Expected { name: "y".into(), shape: vec![1, 2], numbers: vec![1.0, -4.0] }];
        let case = Case { name: "onnx/test_data_set_0".into(), inputs: vec![tensor("x", &[0.5, 1.0])], outputs };
        Golden { tolerance: 1e-3, cases: vec![case] }
    }

    /// What is said of a model that gives these numbers in this shape.
    fn said(shape: &[usize], data: &[f32]) -> Result<(), String> {
        let output = Tensor { name: "y".into(), shape: shape.to_vec(), data: Data::F32(data.to_vec()) };
        let mut model = Fake::new(move |_| Ok(vec![output.clone()]));
        golden().check(&mut model).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_near_enough_passes_and_the_case_that_is_not_is_named() {
        assert_eq!(said(&[1, 2], &[1.0, -4.0]), Ok(()));
        assert_eq!(said(&[1, 2], &[1.003, -4.0]), Ok(()));
        for (shape, data, why) in [
            (&[1, 2][..], &[1.01, -4.0][..], "2.5e-3"),
            (&[2, 1], &[1.0, -4.0], "[2, 1] instead of [1, 2]"),
            (&[1, 2], &[f32::NAN, -4.0], "inf"),
        ] {
            let error = said(shape, data).unwrap_err();
            assert!(error.contains("golden case onnx/test_data_set_0") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn cases_of_shapes_that_are_not_asked_for_are_left_out() {
        let demand = |least: usize, most: usize| Demand {
            input: "x".into(),
            least: vec![least, 2],
            most: vec![most, 2],
            is_open: true,
        };
        assert_eq!(golden().within(&demand(1, 8)).cases.len(), 1);
        assert_eq!(golden().within(&demand(2, 8)).cases.len(), 0);
    }
}
