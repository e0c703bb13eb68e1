//! Arrays in a safetensors file.

use std::fs::File;
use std::io;

use onnx_file::budget::Budget;
use onnx_file::open;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::content::{ContentError, Held, Wanted};
use super::npy::{Element, from_bytes, to_bytes};
use crate::model::tensor::{Data, Tensor};

/// Reads the arrays that are wanted, in the order of their names.
pub(super) fn load(file: File, wanted: Wanted<'_>, budget: &mut Budget) -> Result<Held, ContentError> {
    budget.take("the file", file.metadata()?.len())?;
    let bytes = open::read_all(file, budget.limit())?;
    let malformed = |reason: String| ContentError::Malformed(reason);
    let file =
        SafeTensors::deserialize(&bytes).map_err(|error| malformed(format!("not a safetensors file: {error}")))?;
    // The library hands them over in no fixed order.
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let count = views.len();
    let mut tensors = Vec::new();
    for (name, view) in views.iter().filter(|(name, _)| wanted.reads(name, count)) {
        let element = match view.dtype() {
            Dtype::F16 => Element::F16,
            Dtype::F32 => Element::F32,
            Dtype::F64 => Element::F64,
            Dtype::I64 => Element::I64,
            Dtype::U8 => Element::U8,
            Dtype::I8 => Element::I8,
            Dtype::I32 => Element::I32,
            Dtype::BOOL => Element::Bool,
            other => {
                let reason = format!(
                    "array {name}: element type {other:?}; F16, F32, F64, I64, I32, I8, U8 and BOOL can be read"
                );
                return Err(malformed(reason));
            }
        };
        budget.take(&format!("array {name}"), view.data().len() as u64)?;
        let data = from_bytes(element, view.data());
        tensors.push(Tensor { name: name.clone(), shape: view.shape().to_vec(), data });
    }
    Ok((tensors, views.into_iter().map(|(name, _)| name).collect()))
}

/// The arrays as a file.
pub(super) fn encode(tensors: &[Tensor]) -> io::Result<Vec<u8>> {
    let contents: Vec<Vec<u8>> = tensors.iter().map(|tensor| to_bytes(&tensor.data)).collect();
    let views = tensors.iter().zip(&contents).map(|(tensor, content)| {
        let dtype = match tensor.data {
            Data::F16(_) => Dtype::F16,
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::I64(_) => Dtype::I64,
            Data::U8(_) => Dtype::U8,
            Data::I8(_) => Dtype::I8,
            Data::I32(_) => Dtype::I32,
            Data::Bool(_) => Dtype::BOOL,
        };
        TensorView::new(dtype, tensor.shape.clone(), content).map(|view| (tensor.name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(io::Error::other)?;
    safetensors::serialize(views, None).map_err(io::Error::other)
}
