//! Inputs and outputs of a model: their types and shapes, and whether they are for images.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::element::ElementType;
use crate::proto::tensor_shape_proto::dimension;
use crate::proto::{GraphProto, ValueInfoProto, type_proto};

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements; `None` where it is none that this crate handles, or no tensor.
    pub element_type: Option<ElementType>,
    /// Its extents, `None` where dynamic; no shape at all where the file gives none.
    pub shape: Option<Vec<Option<usize>>>,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.element_type.map_or("other", ElementType::name))?;
        let Some(shape) = &self.shape else { return write!(f, " of unknown shape") };
        let extents: Vec<String> =
            shape.iter().map(|extent| extent.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
        write!(f, " [{}]", extents.join(", "))
    }
}

/// The one input that takes images, `[N, 3, H, W]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInput {
    /// Its name.
    pub name: String,
    /// F32 or F16.
    pub element_type: ElementType,
    /// Fixed batch size, if it is fixed.
    pub batch: Option<usize>,
    /// Fixed height in pixels, if it is fixed.
    pub height: Option<usize>,
    /// Fixed width in pixels, if it is fixed.
    pub width: Option<usize>,
}

impl ImageInput {
    /// The one input that takes images: four dimensions, three channels in the second, f32 or f16.
    ///
    /// # Errors
    /// [`NoImageInput`] where there is none, or the model needs other inputs besides.
    pub fn among(inputs: &[Port]) -> Result<ImageInput, NoImageInput> {
        let images: Vec<ImageInput> = inputs.iter().filter_map(Port::as_image).collect();
        match images.as_slice() {
            [image] if [image.batch, image.height, image.width].contains(&Some(0)) => Err(NoImageInput::Empty),
            [image] if inputs.len() == 1 => Ok(image.clone()),
            [_] => Err(NoImageInput::MoreInputs),
            [] if inputs.iter().any(Port::is_channels_last) => Err(NoImageInput::ChannelsLast),
            [] => Err(NoImageInput::None),
            _ => Err(NoImageInput::Several),
        }
    }
}

/// Why a model takes no images, or nothing but images will do for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoImageInput {
    /// An extent is 0.
    #[error("it takes empty batches or images, an extent is 0; export it with the real one, or leave it open")]
    Empty,
    /// There are other inputs.
    #[error("it needs inputs besides the images")]
    MoreInputs,
    /// Channels come last.
    #[error("it takes images as [N, H, W, 3]; only [N, 3, H, W] is supported")]
    ChannelsLast,
    /// None takes images.
    #[error("no input takes images, f32 or f16 [N, 3, H, W]")]
    None,
    /// Several take images.
    #[error("more than one input takes images")]
    Several,
}

impl Port {
    /// Describes a value of the graph.
    pub fn of(value: &ValueInfoProto) -> Port {
        let tensor = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
            Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
            _ => None,
        };
        let extent = |value: &Option<dimension::Value>| match value {
            Some(dimension::Value::DimValue(n)) => usize::try_from(*n).ok(),
            _ => None,
        };
        Port {
            name: value.name.clone(),
            element_type: tensor.and_then(|tensor| ElementType::from_proto(tensor.elem_type)),
            shape: tensor
                .and_then(|tensor| tensor.shape.as_ref())
                .map(|shape| shape.dim.iter().map(|dim| extent(&dim.value)).collect()),
        }
    }

    /// The inputs of `graph` that are not weights: old files list those, too.
    pub fn inputs(graph: &GraphProto) -> Vec<Port> {
        let weights: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        graph.input.iter().filter(|input| !weights.contains(input.name.as_str())).map(Port::of).collect()
    }

    /// The port as an input for images, if it can be one.
    pub fn as_image(&self) -> Option<ImageInput> {
        let element_type = self.element_type.filter(|of| matches!(of, ElementType::F32 | ElementType::F16))?;
        let [batch, channels, height, width] = self.shape.as_deref()? else { return None };
        // A dynamic channel count is taken for 3: a fully dynamic export says no more.
        if channels.is_some_and(|channels| channels != 3) {
            return None;
        }
        Some(ImageInput { name: self.name.clone(), element_type, batch: *batch, height: *height, width: *width })
    }

    /// Whether the port takes images with the channels last.
    pub fn is_channels_last(&self) -> bool {
        matches!(self.shape.as_deref(), Some([_, _, _, Some(3)]))
    }
}
