//! What a rewritten file tells of its images and classes, whoever exported it.

use onnx_file::metadata::{Crop, Key, Labels, Metadata, Preprocess};
use onnx_file::port::Port;
use onnx_file::proto::{GraphProto, ModelProto};

use super::result::OptimizeError;
use crate::build::{LabelsChoice, PreprocessChoice};
use crate::ends::contradiction;

/// Side of the images where neither the model nor the preprocessing says.
const USUAL: usize = 224;

/// What was stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stored {
    pub(super) labels: Option<usize>,
    pub(super) preprocess: Option<Preprocess>,
}

/// Stores labels and preprocessing in the metadata of `model`, if they go with its outputs and its input.
pub(super) fn describe(
    model: &mut ModelProto,
    labels: &LabelsChoice,
    preprocess: &PreprocessChoice,
) -> Result<Stored, OptimizeError> {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let mut metadata = Metadata::default();
    let mut stored = Stored::default();
    let given = match labels {
        LabelsChoice::Known => None,
        LabelsChoice::ImageNet => Some(Labels::imagenet()),
        LabelsChoice::Given(labels) => Some(labels.clone()),
    };
    if let Some(labels) = given {
        check_count(graph, labels.names.len())?;
        metadata.set_labels(&labels);
        stored.labels = Some(labels.names.len());
    }
    let plane = plane(graph);
    stored.preprocess = match preprocess {
        PreprocessChoice::Known => None,
        PreprocessChoice::Given(given) => {
            check_crop(plane, given.crop)?;
            Some(*given)
        }
        PreprocessChoice::Recipe(recipe) => {
            let side = plane.into_iter().flatten().min().unwrap_or(USUAL);
            Some(Preprocess::imagenet(*recipe, side))
        }
    };
    if let Some(preprocess) = &stored.preprocess {
        if let Some(reason) = contradiction(graph, preprocess) {
            return Err(OptimizeError::Request(reason));
        }
        metadata.set_json(Key::Preprocess, preprocess);
    }
    metadata.write_into(model);
    Ok(stored)
}

/// Refuses labels that are not as many as the classes of any output, where their number is fixed.
fn check_count(graph: &GraphProto, count: usize) -> Result<(), OptimizeError> {
    let mut classes = Vec::new();
    for shape in graph.output.iter().map(Port::of).filter_map(|port| port.shape) {
        // A batch comes first, and a plane of one pixel may come last.
        let shape = if shape.len() > 1 { &shape[1..] } else { &shape[..] };
        classes
            .push(shape.iter().copied().find(|extent| *extent != Some(1)).unwrap_or(shape.first().copied().flatten()));
    }
    // One score tells two classes apart.
    let fits = |classes: &Option<usize>| classes.is_none_or(|classes| classes == count || (classes, count) == (1, 2));
    if classes.is_empty() || classes.iter().any(fits) {
        return Ok(());
    }
    let found: Vec<String> = classes.into_iter().flatten().map(|classes| classes.to_string()).collect();
    Err(OptimizeError::Request(format!(
        "{count} labels do not go with the model's {} classes; --labels takes one a line, by index",
        found.join(" or ")
    )))
}

/// Refuses preprocessing that cuts out squares of another size than a fixed input has.
fn check_crop(plane: [Option<usize>; 2], crop: Crop) -> Result<(), OptimizeError> {
    match plane {
        [Some(height), Some(width)] if [height, width] != crop.extents() => Err(OptimizeError::Request(format!(
            "the model takes images of {height}x{width}, and the preprocessing crops {crop}; give one that crops to the model's size"
        ))),
        _ => Ok(()),
    }
}

/// Height and width of the images, as far as they are fixed.
fn plane(graph: &GraphProto) -> [Option<usize>; 2] {
    let image = Port::inputs(graph).into_iter().find(|port| port.shape.as_ref().is_some_and(|shape| shape.len() == 4));
    match image.as_ref().and_then(|port| Some((port.is_channels_last(), port.shape.as_deref()?))) {
        Some((true, &[_, height, width, _]) | (false, &[_, _, height, width])) => [height, width],
        _ => [None; 2],
    }
}
