//! The models of a bundle, and what is known of them.

use std::path::{Path, PathBuf};

use onnx_file::element::ElementType;
use onnx_file::meaning::{Meaning, Meanings};
use onnx_file::metadata::{Key, Labels, Metadata, Preprocess};
use onnx_file::port::{ImageInput, Port};
use onnx_file::proto::{GraphProto, ModelProto, TensorProto};
use onnx_file::read::Whole;
use onnx_file::within::Contents;

use super::error::BundleError;
use crate::build::{LabelsChoice, PreprocessChoice};
use crate::ends::contradiction;

/// Side of images where nothing says.
const USUAL: usize = 224;

/// A model, and what its file says.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) path: PathBuf,
    /// The files of its external data.
    pub(super) data_files: Vec<PathBuf>,
    /// With its external data.
    pub(super) model: ModelProto,
    pub(super) dtype: Dtype,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) image: Option<ImageInput>,
    pub(super) metadata: Metadata,
    pub(super) labels: Labels,
    pub(super) preprocess: Option<Preprocess>,
}

/// The arithmetic of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    F32,
    F16,
    Int8,
}

impl Dtype {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// How far another stack's outputs may be from the reference: largest absolute difference over largest magnitude. In
    /// f32 thirty stacks stayed below 3e-6; in f16 below 1e-3 with sums in f32 and 1.2e-2 with sums in f16; integers are
    /// one step off where a rounding falls on the other side, and that grows through the layers.
    pub(super) const fn tolerance(self) -> f64 {
        match self {
            Self::F32 => 1e-4,
            Self::F16 => 2e-2,
            Self::Int8 => 1e-1,
        }
    }

    fn of(model: &ModelProto) -> Self {
        let Contents { nodes, tensors } = Contents::of(model, None);
        let integer = ["QuantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul"];
        if nodes.iter().any(|node| integer.contains(&node.op_type.as_str())) {
            return Self::Int8;
        }
        // Numbers may lie in any of several fields, so their extents are what counts.
        let elements = |tensor: &TensorProto| {
            let extents = tensor.dims.iter().map(|&extent| usize::try_from(extent).unwrap_or(0));
            extents.fold(1, usize::saturating_mul)
        };
        let size = |of: ElementType| -> usize {
            let typed = tensors.iter().filter(|tensor| tensor.data_type == of.to_proto());
            typed.map(|tensor| elements(tensor)).fold(0, usize::saturating_add)
        };
        if size(ElementType::F16) > size(ElementType::F32) { Self::F16 } else { Self::F32 }
    }
}

impl Subject {
    /// Reads the model at `path`, and takes labels and preprocessing as they are given where they are.
    pub(super) fn read(path: &Path, labels: &LabelsChoice, preprocess: &PreprocessChoice) -> Result<Self, BundleError> {
        let Whole { mut model, data_files } = onnx_file::read::read_whole(path)?;
        let unfit = |reason: String| BundleError::Request(format!("{}: {reason}", path.display()));
        let graph = model.graph.as_ref().ok_or_else(|| unfit("it has no graph".into()))?;
        let (inputs, outputs) = (Port::inputs(graph), graph.output.iter().map(Port::of).collect());
        let image = ImageInput::among(&inputs).ok();
        let dtype = Dtype::of(&model);
        let mut metadata = Metadata::of(&model);
        let given = match labels {
            LabelsChoice::Known => None,
            LabelsChoice::ImageNet => Some(Labels::imagenet()),
            LabelsChoice::Given(labels) => Some(labels.clone()),
        };
        if let Some(given) = given {
            metadata.set_labels(&given);
        }
        let side = image.as_ref().and_then(|image| image.height.into_iter().chain(image.width).min()).unwrap_or(USUAL);
        let given = match preprocess {
            PreprocessChoice::Known => None,
            PreprocessChoice::Recipe(recipe) => Some(Preprocess::imagenet(*recipe, side)),
            PreprocessChoice::Given(given) => Some(*given),
        };
        if let Some(given) = given {
            if let Some(reason) = contradiction(graph, &given) {
                return Err(unfit(reason));
            }
            metadata.set_json(Key::Preprocess, &given);
        }
        metadata.write_into(&mut model);
        let labels = metadata.labels().map_err(|error| unfit(error.to_string()))?;
        let preprocess = metadata.preprocess().map_err(|error| unfit(error.to_string()))?;
        let subject = Self {
            path: path.to_owned(),
            data_files,
            model,
            dtype,
            inputs,
            outputs,
            image,
            metadata,
            labels,
            preprocess,
        };
        subject.check_labels().map_err(unfit)?;
        Ok(subject)
    }

    fn check_labels(&self) -> Result<(), String> {
        match (self.labels.names.len(), self.classes()) {
            (0, _) | (_, None) => Ok(()),
            (labels, Some((_, classes, _))) if labels == classes || (labels, classes) == (2, 1) => Ok(()),
            (labels, Some((name, classes, _))) => Err(format!(
                "{labels} classes have labels, and its output '{name}' has {classes} numbers; give --labels FILE"
            )),
        }
    }

    /// The graph, which was there when the file was read.
    pub(super) fn graph(&self) -> Option<&GraphProto> {
        self.model.graph.as_ref()
    }

    /// Version of the default operator set.
    pub(super) fn opset(&self) -> i64 {
        let default = self.model.opset_import.iter().find(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx"));
        default.map_or(0, |opset| opset.version)
    }

    /// The output that says the classes, how many, and what its numbers are: the only one of rank 2 with a number of
    /// classes.
    pub(super) fn classes(&self) -> Option<(&str, usize, Meaning)> {
        let meanings = Meanings::of(self.graph()?, self.opset());
        let of = |port: &'_ Port| match port.shape.as_deref() {
            Some([_, Some(classes)]) => Some(*classes),
            _ => None,
        };
        let mut found = self.outputs.iter().filter_map(|port| Some((port.name.as_str(), of(port)?)));
        match (found.next(), found.next()) {
            (Some((name, classes)), None) => Some((name, classes, meanings.meaning(name))),
            _ => None,
        }
    }

    /// Whether images come in any number, and a row goes out for each.
    pub(super) fn batches(&self) -> bool {
        let open = |port: &Port| matches!(port.shape.as_deref(), Some([None, ..]));
        !self.inputs.is_empty() && self.inputs.iter().chain(&self.outputs).all(open)
    }
}
