//! From an ONNX model back to a graph: ours, and other exporters' classifiers of the same operators.
//!
//! Every node must be understood wholly; what is not is an error that names the node, never a guess.

mod attributes;
mod classifier;
mod error;
mod importer;
mod nodes;

use std::collections::{HashMap, HashSet};

use onnx_file::element::ElementType;
use onnx_file::proto::{
    GraphProto, ModelProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto,
};
use onnx_file::raw::TensorError;
use onnx_file::tensor;

use crate::constants::Constants;
use crate::graph::{Dim, Graph, Origin, Shape};
use crate::weight::Read;
pub(crate) use attributes::{Attributes, Plane};
pub use error::ImportError;
use importer::Importer;
pub(crate) use nodes::{label, uses};

/// A model as a graph, with its weights.
#[derive(Debug)]
pub struct Imported {
    /// The graph; its weights are `Weight::Stored` by initializer name.
    pub graph: Graph,
    /// The initializers.
    pub weights: Initializers,
}

/// A model's weights by name.
#[derive(Debug, Default)]
pub struct Initializers(pub(crate) HashMap<String, TensorProto>);

impl Read for Initializers {
    type Error = TensorError;

    fn read_f32(&mut self, name: &str, _shape: &[usize]) -> Result<Vec<f32>, TensorError> {
        tensor::to_f32(self.0.get(name).unwrap_or(&TensorProto::default()))
    }

    fn read_f64(&mut self, name: &str, _shape: &[usize]) -> Result<Vec<f64>, TensorError> {
        tensor::to_f64(self.0.get(name).unwrap_or(&TensorProto::default()))
    }
}

/// Reads `model`, whose external data is loaded, as a graph. With `open`, input extents that the model leaves to run
/// time become these.
///
/// # Errors
/// [`ImportError`], naming the first node that is not understood.
pub fn import(model: ModelProto, open: Option<[usize; 4]>) -> Result<Imported, ImportError> {
    let GraphProto { node, initializer, input, output, .. } = model.graph.unwrap_or_default();
    let stored: HashSet<String> = initializer.iter().map(|tensor| tensor.name.clone()).collect();
    let images: Vec<&ValueInfoProto> = input.iter().filter(|i| !stored.contains(&i.name)).collect();
    let [image] = images[..] else {
        let names: Vec<&str> = images.iter().map(|p| p.name.as_str()).collect();
        return Err(ImportError::Input { found: format!("{} ({})", names.len(), names.join(", ")) });
    };
    let shape = declared_shape(image).filter(|s| s.len() == 4);
    let shape = shape.ok_or_else(|| ImportError::Input { found: format!("'{}' of another shape", image.name) })?;
    let settle = |(axis, dim): (usize, Dim)| match (dim, open) {
        (Dim::Named(_) | Dim::Unknown, Some(open)) => Dim::Fixed(open[axis]),
        (dim, _) => dim,
    };
    let shape = shape.into_iter().enumerate().map(settle).collect();
    let mut importer = Importer::new(Constants::of(initializer), &node, &output);
    importer.input(&image.name, shape, declared_element(image)?);
    for (position, node) in node.iter().enumerate() {
        let first = importer.graph.nodes.len();
        importer.node(node)?;
        importer.graph.set_origin(first, Origin::Model(position));
    }
    for output in &output {
        importer.output(&output.name)?;
    }
    let Importer { graph, constants, .. } = importer;
    Ok(Imported { graph, weights: Initializers(constants.into_tensors()) })
}

fn declared_element(image: &ValueInfoProto) -> Result<ElementType, ImportError> {
    let number = match image.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type,
        _ => 0,
    };
    let element = ElementType::from_proto(number);
    element.ok_or_else(|| ImportError::Input { found: format!("'{}' of ONNX type {number}", image.name) })
}

fn declared_shape(value: &ValueInfoProto) -> Option<Shape> {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref()?.value.as_ref() else { return None };
    let dim = |dim: &onnx_file::proto::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(n)) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Fixed),
        Some(dimension::Value::DimParam(name)) => Dim::Named(name.clone()),
        None => Dim::Unknown,
    };
    Some(tensor.shape.as_ref()?.dim.iter().map(dim).collect())
}

#[cfg(test)]
mod tests;
