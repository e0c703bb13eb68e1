//! What goes into a model: images, arrays from files, or seeded noise, as named tensors in the layout that it takes.

pub mod arrays;
pub mod broken;
pub mod classify;
pub mod decode;
pub mod demand;
pub mod feed;
pub mod folders;
pub mod noise;
pub mod pipeline;
pub mod preprocess;
pub mod shapes;
pub(crate) mod share;

use half::f16;
use onnx_file::element::ElementType;

use crate::model::file::{ImageInput, Layout};
use crate::model::tensor::{Data, Tensor};

pub use folders::{Found, expand, find, is_image_name};

/// Why given tensors do not suit a model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{model} cannot take the given inputs: {reason}")]
pub struct UnfitInput {
    /// The model's file name.
    pub model: String,
    /// What does not fit.
    pub reason: String,
}

/// Number of elements.
pub fn len(data: &Data) -> usize {
    match data {
        Data::F32(values) => values.len(),
        Data::F16(values) => values.len(),
        Data::F64(values) => values.len(),
        Data::I64(values) => values.len(),
        Data::U8(values) => values.len(),
        Data::I8(values) => values.len(),
        Data::I32(values) => values.len(),
        Data::Bool(values) => values.len(),
    }
}

/// The elements as f64, which holds every f16, f32 and integer exactly, of 64 bits up to 2^53.
pub fn to_f64(data: &Data) -> Vec<f64> {
    data.to_f64()
}

/// Prepared images, each `[3, H, W]` one after the other, as `image` takes them.
pub fn image_tensor(image: &ImageInput, count: usize, (height, width): (usize, usize), values: Vec<f32>) -> Tensor {
    let values = with_channels(image, height * width, values);
    let shape = image.shape(count, height, width);
    let data = match image.element_type {
        ElementType::F16 => Data::F16(values.into_iter().map(f16::from_f32).collect()),
        ElementType::F64 => Data::F64(values.into_iter().map(f64::from).collect()),
        // From 0 to 1 at this point: the graph itself normalises pixels that it takes as they are.
        ElementType::U8 => Data::U8(values.into_iter().map(|value| (value * 255.0).round() as u8).collect()),
        _ => Data::F32(values),
    };
    Tensor { name: image.name.clone(), shape, data }
}

/// Weights of red, green and blue in grey, as Pillow has them (ITU-R 601-2).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];
/// What stands for full opacity in an image that has been normalised.
const OPAQUE: f32 = 1.0;

/// From RGB planes to the channels and the layout of `image`; nothing is moved where these are the same.
fn with_channels(image: &ImageInput, plane: usize, values: Vec<f32>) -> Vec<f32> {
    let (channels, last) = (image.channels, image.layout == Layout::Nhwc);
    if channels == 3 && !last {
        return values;
    }
    let images = values.len() / (3 * plane.max(1));
    let mut out = vec![0.0; images * channels * plane];
    for (rgb, out) in values.chunks_exact(3 * plane.max(1)).zip(out.chunks_exact_mut(channels * plane.max(1))) {
        for pixel in 0..plane {
            let of = |channel: usize| rgb[channel * plane + pixel];
            for channel in 0..channels {
                let value = match (channels, channel) {
                    (1, _) => (0..3).map(|channel| GREY[channel] * of(channel)).sum(),
                    (_, 3) => OPAQUE,
                    (_, channel) => of(channel),
                };
                out[if last { pixel * channels + channel } else { channel * plane + pixel }] = value;
            }
        }
    }
    out
}

/// Seeded noise for `image`; the file's fixed extents win over the given ones.
pub fn noise_tensor(image: &ImageInput, batch: usize, (height, width): (usize, usize), seed: u64) -> Tensor {
    let shape = image.shape(batch, image.height.unwrap_or(height), image.width.unwrap_or(width));
    noise::tensor(&image.name, image.element_type, shape, seed)
}

/// Makes given tensors suit a model: the one named as its input, or the only one; f16, f32 and f64 are converted.
///
/// # Errors
/// [`UnfitInput`] where no tensor can be meant, or its shape or type does not suit.
pub fn fit(tensors: &[Tensor], model: &str, image: &ImageInput) -> Result<Tensor, UnfitInput> {
    let unfit = |reason: String| UnfitInput { model: model.to_owned(), reason };
    let given = match tensors {
        [only] => only,
        _ => tensors.iter().find(|tensor| tensor.name == image.name).ok_or_else(|| {
            let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            unfit(format!("its input is {}, given are: {}", image.name, names.join(", ")))
        })?,
    };
    let suits = |(extent, wanted): (&usize, Option<usize>)| wanted.is_none_or(|wanted| wanted == *extent);
    // The batch is not checked: a fixed one is filled in pieces.
    let wanted = match image.layout {
        Layout::Nchw => [None, Some(image.channels), image.height, image.width],
        Layout::Nhwc => [None, image.height, image.width, Some(image.channels)],
    };
    if given.shape.len() != 4 || !given.shape.iter().zip(wanted).all(suits) || given.shape[0] == 0 {
        let wanted: Vec<String> =
            wanted[1..].iter().map(|extent| extent.map_or("?".to_owned(), |n| n.to_string())).collect();
        let wanted = wanted.join(", ");
        return Err(unfit(format!("{} has shape {:?}, the model takes [N, {wanted}]", given.name, given.shape)));
    }
    if given.shape.iter().product::<usize>() != len(&given.data) {
        return Err(unfit(format!("{} has {} elements for shape {:?}", given.name, len(&given.data), given.shape)));
    }
    let data = match (&given.data, image.element_type) {
        (Data::F16(values), ElementType::F16) => Data::F16(values.clone()),
        (Data::F32(values), ElementType::F16) => Data::F16(values.iter().map(|&value| f16::from_f32(value)).collect()),
        (Data::F64(values), ElementType::F16) => Data::F16(values.iter().map(|&value| f16::from_f64(value)).collect()),
        (Data::U8(values), ElementType::U8) => Data::U8(values.clone()),
        (_, ElementType::U8) => {
            return Err(unfit(format!("{} holds {}, the model takes u8", given.name, given.data.element_type())));
        }
        (data @ (Data::F16(_) | Data::F32(_) | Data::F64(_)), ElementType::F64) => Data::F64(to_f64(data)),
        (Data::F16(values), _) => Data::F32(values.iter().map(|value| value.to_f32()).collect()),
        (Data::F32(values), _) => Data::F32(values.clone()),
        (Data::F64(values), _) => Data::F32(values.iter().map(|&value| value as f32).collect()),
        (Data::I64(_) | Data::U8(_) | Data::I8(_) | Data::I32(_) | Data::Bool(_), _) => {
            return Err(unfit(format!("{} holds integers; normalised floating-point numbers are needed", given.name)));
        }
    };
    Ok(Tensor { name: image.name.clone(), shape: given.shape.clone(), data })
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::model::file::tests::{file, value};

    fn given(name: &str, shape: &[usize], data: Data) -> Tensor {
        Tensor { name: name.into(), shape: shape.to_vec(), data }
    }

    #[test]
    fn the_only_tensor_is_meant_whatever_its_name_and_becomes_the_models_type() {
        let model = file(vec![value("x", DataType::Float16, &[-1, 3, 1, 2])], &[]);
        let image = model.image_input().unwrap();
        let fitted = fit(&[given("arr_0", &[1, 3, 1, 2], Data::F64(vec![0.5; 6]))], "m", &image).unwrap();
        assert_eq!(fitted, given("x", &[1, 3, 1, 2], Data::F16(vec![f16::from_f32(0.5); 6])));
    }

    #[test]
    fn of_several_tensors_the_one_of_the_inputs_name_is_taken() {
        let model = file(vec![value("x", DataType::Float, &[-1, 3, -1, -1])], &[]);
        let image = model.image_input().unwrap();
        let other = given("y", &[1], Data::F32(vec![0.0]));
        let right = given("x", &[2, 3, 1, 1], Data::F32(vec![1.0; 6]));
        assert_eq!(fit(&[other.clone(), right.clone()], "m", &image), Ok(right));
        let error = fit(&[other.clone(), other], "m", &image).unwrap_err().to_string();
        assert!(error.contains("its input is x, given are: y, y"), "{error}");
    }

    #[test]
    fn what_does_not_suit_is_refused() {
        let model = file(vec![value("x", DataType::Float, &[-1, 3, 2, 2])], &[]);
        let image = model.image_input().unwrap();
        for (tensor, said) in [
            (given("x", &[3, 2, 2], Data::F32(vec![0.0; 12])), "takes [N, 3, 2, 2]"),
            (given("x", &[1, 3, 2, 4], Data::F32(vec![0.0; 24])), "takes [N, 3, 2, 2]"),
            (given("x", &[1, 3, 2, 2], Data::F32(vec![0.0; 11])), "11 elements"),
            (given("x", &[1, 3, 2, 2], Data::U8(vec![0; 12])), "integers"),
            (given("x", &[0, 3, 2, 2], Data::F32(vec![])), "takes [N"),
        ] {
            let error = fit(&[tensor], "m", &image).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
