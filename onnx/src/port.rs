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

/// Where the channels of an image stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[N, C, H, W]`, as torch has them.
    Nchw,
    /// `[N, H, W, C]`, as TensorFlow has them.
    Nhwc,
}

/// The one input that takes images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageInput {
    /// Its name.
    pub name: String,
    /// F32, F16, F64, or U8 for pixels as they are in a file, from 0 to 255.
    pub element_type: ElementType,
    /// Where the channels stand.
    pub layout: Layout,
    /// 1 for grey, 3 for RGB, 4 for RGB and opacity.
    pub channels: usize,
    /// Fixed batch size, if it is fixed.
    pub batch: Option<usize>,
    /// Fixed height in pixels, if it is fixed.
    pub height: Option<usize>,
    /// Fixed width in pixels, if it is fixed.
    pub width: Option<usize>,
}

impl ImageInput {
    /// The shape of `batch` images of this height and width.
    pub fn shape(&self, batch: usize, height: usize, width: usize) -> Vec<usize> {
        match self.layout {
            Layout::Nchw => vec![batch, self.channels, height, width],
            Layout::Nhwc => vec![batch, height, width, self.channels],
        }
    }

    /// The one input that takes images: four dimensions, 1, 3 or 4 channels in the second or the
    /// last, f32, f16, f64 or u8.
    ///
    /// # Errors
    /// [`NoImageInput`] where there is none, or the model needs other inputs besides.
    pub fn among(inputs: &[Port]) -> Result<ImageInput, NoImageInput> {
        let images: Vec<ImageInput> = inputs.iter().filter_map(Port::as_image).collect();
        match images.as_slice() {
            [image] if [image.batch, image.height, image.width].contains(&Some(0)) => Err(NoImageInput::Empty),
            [image] if inputs.len() == 1 => Ok(image.clone()),
            [_] => Err(NoImageInput::MoreInputs),
            [] => Err(NoImageInput::None),
            _ => Err(NoImageInput::Several),
        }
    }
}

/// `x f32 [N, 3, 224, 224]`: what a reader needs to feed it.
impl std::fmt::Display for ImageInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extent = |extent: Option<usize>, open: &str| extent.map_or_else(|| open.to_owned(), |n| n.to_string());
        let (height, width) = (extent(self.height, "H"), extent(self.width, "W"));
        let (batch, channels) = (extent(self.batch, "N"), self.channels);
        write!(f, "{} {} ", self.name, self.element_type.name())?;
        match self.layout {
            Layout::Nchw => write!(f, "[{batch}, {channels}, {height}, {width}]"),
            Layout::Nhwc => write!(f, "[{batch}, {height}, {width}, {channels}]"),
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
    /// None takes images.
    #[error("no input takes images, [N, C, H, W] or [N, H, W, C] of 1, 3 or 4 channels, f32, f16, f64 or u8")]
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
        let takes =
            |of: &ElementType| matches!(of, ElementType::F32 | ElementType::F16 | ElementType::F64 | ElementType::U8);
        let element_type = self.element_type.filter(takes)?;
        let [batch, second, third, last] = *self.shape.as_deref()? else { return None };
        let is_alpha_or_grey = |extent| matches!(extent, Some(1 | 4));
        let (layout, channels) = match (second, last) {
            (Some(3), _) => (Layout::Nchw, 3),
            (_, Some(3)) => (Layout::Nhwc, 3),
            (Some(channels), _) if is_alpha_or_grey(second) => (Layout::Nchw, channels),
            (_, Some(channels)) if is_alpha_or_grey(last) => (Layout::Nhwc, channels),
            // A fully dynamic export says no more.
            (None, _) => (Layout::Nchw, 3),
            _ => return None,
        };
        let (height, width) = match layout {
            Layout::Nchw => (third, last),
            Layout::Nhwc => (second, third),
        };
        Some(ImageInput { name: self.name.clone(), element_type, layout, channels, batch, height, width })
    }

    /// Whether the port takes images with the channels last.
    pub fn is_channels_last(&self) -> bool {
        self.as_image().is_some_and(|image| image.layout == Layout::Nhwc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_where_they_stand_and_what_has_none_is_no_image() {
        let found = |shape: &[Option<usize>], element_type: ElementType| {
            let port = Port { name: "x".into(), element_type: Some(element_type), shape: Some(shape.to_vec()) };
            port.as_image().map(|image| image.to_string())
        };
        let (n, f32) = (None, ElementType::F32);
        for (shape, expected) in [
            ([n, Some(3), Some(8), Some(9)], Some("x f32 [N, 3, 8, 9]")),
            ([Some(2), Some(8), Some(9), Some(3)], Some("x f32 [2, 8, 9, 3]")),
            ([n, Some(1), Some(28), Some(28)], Some("x f32 [N, 1, 28, 28]")),
            ([n, Some(28), Some(28), Some(1)], Some("x f32 [N, 28, 28, 1]")),
            ([n, Some(4), n, n], Some("x f32 [N, 4, H, W]")),
            ([n, n, n, Some(3)], Some("x f32 [N, H, W, 3]")),
            ([n, n, n, n], Some("x f32 [N, 3, H, W]")),
            ([n, Some(64), Some(7), Some(7)], None),
        ] {
            assert_eq!(found(&shape, f32).as_deref(), expected, "{shape:?}");
        }
        assert_eq!(found(&[n, Some(8), Some(8), Some(3)], ElementType::U8).as_deref(), Some("x u8 [N, 8, 8, 3]"));
        assert_eq!(found(&[n, Some(3), Some(8), Some(8)], ElementType::I64), None);
        assert_eq!(found(&[n, Some(3), Some(8)], f32), None);
    }
}
