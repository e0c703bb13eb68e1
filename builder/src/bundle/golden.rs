//! Golden cases: tensors that go into a model, and what it makes of them by the reference in f64.
//!
//! The reference runs the file's own graph, with the weights as the file rounds them and integers exact, so that what a
//! stack differs by is its own arithmetic.

use half::f16;
use ndarray::{Array4, ArrayD, Axis};
use onnx_file::element::ElementType;
use onnx_file::metadata::Metadata;
use onnx_file::open;
use onnx_file::port::{ImageInput, Layout, Port};
use onnx_file::proto::{ModelProto, TensorProto};
use prost::Message as _;

use crate::ends::strip;
use crate::import::{Imported, import};
use crate::random::standard_normal;
use crate::reference::{Activation, evaluate};
use crate::validate::validate;

/// Side of images where neither the model nor its preprocessing says.
const USUAL: usize = 224;
/// Most elements that the reference is run on.
const MOST_ELEMENTS: usize = 1 << 23;

/// Tensors in, tensors out, in the order of the model's inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Golden {
    pub(super) inputs: Vec<TensorProto>,
    pub(super) outputs: Vec<TensorProto>,
}

/// What images a case has.
#[derive(Clone, Copy)]
enum Images {
    /// Seeded noise, independent from pixel to pixel.
    Noise,
    /// Even ramps from corner to corner, another one for each channel: a network that mixes up its layout shows.
    Ramps,
}

/// The golden cases of `model`, or why there are none.
pub(super) fn cases(model: &ModelProto) -> Result<Vec<Golden>, String> {
    let graph = model.graph.as_ref().ok_or("it has no graph")?;
    let image = ImageInput::among(&Port::inputs(graph)).map_err(|reason| reason.to_string())?;
    let ports: Vec<Port> = graph.output.iter().map(Port::of).collect();
    let preprocess = Metadata::of(model).preprocess().ok().flatten();
    let [tall, wide] = preprocess.map_or([USUAL; 2], |says| says.crop.extents());
    let (height, width) = (image.height.unwrap_or(tall), image.width.unwrap_or(wide));
    let batch = image.batch.unwrap_or(1);
    if batch.saturating_mul(height).saturating_mul(width).saturating_mul(image.channels) > MOST_ELEMENTS {
        return Err(format!("{batch} images of {height}x{width} are too much for the reference"));
    }
    let mut inner = model.clone();
    let around = strip(&mut inner);
    let open = Some([batch, image.channels, height, width]);
    let Imported { graph, mut weights } = import(inner, open).map_err(|error| error.to_string())?;
    let valid = validate(&graph).map_err(|error| error.to_string())?;
    // With a batch of its own choice a server may run two at once.
    let sizes = match image.batch {
        Some(fixed) => vec![(fixed, Images::Noise), (fixed, Images::Ramps)],
        None => vec![(1, Images::Noise), (1, Images::Ramps), (2, Images::Noise)],
    };
    let (mut cases, mut too_large) = (Vec::new(), None);
    for (seed, (count, kind)) in sizes.into_iter().enumerate() {
        let shape = image.shape(count, height, width);
        let numbers = numbers(&image, &shape, kind, seed as u64);
        let fed = Array4::from_shape_vec([shape[0], shape[1], shape[2], shape[3]], numbers.clone())
            .map_err(|error| error.to_string())?;
        let element = image.element_type;
        let unmade = || format!("its input '{}' is {}, which golden cases do not have", image.name, element.name());
        let input = tensor(&image.name, element, &shape, &numbers).ok_or_else(unmade)?;
        if let Err(reason) = readable(&input) {
            too_large = Some(reason);
            continue;
        }
        let images = around.entry.as_ref().map_or_else(|| fed.clone(), |entry| entry.prepare(&fed));
        let mut outputs =
            evaluate(valid, &mut weights, &images, Activation::Relu).map_err(|error| error.to_string())?;
        around.softmax.iter().for_each(|&at| softmax(&mut outputs[at]));
        let made = outputs.iter().zip(&ports).map(|(output, port)| golden(output, port));
        let outputs: Vec<TensorProto> = made.collect::<Result<_, _>>()?;
        match outputs.iter().try_for_each(readable) {
            Ok(()) => cases.push(Golden { inputs: vec![input], outputs }),
            Err(reason) => too_large = Some(reason),
        }
    }
    // Two images may be too large where one is not: then there are fewer cases.
    too_large.filter(|_| cases.is_empty()).map_or(Ok(cases), Err)
}

/// Whether readers of bundles take a tensor of this size, or why not.
fn readable(tensor: &TensorProto) -> Result<(), String> {
    let bytes = tensor.encoded_len() as u64;
    if bytes <= open::SMALL {
        return Ok(());
    }
    let mebibytes = bytes.div_ceil(1 << 20);
    Err(format!("'{}' has {mebibytes} MiB, and golden tensors have {} at most", tensor.name, open::SMALL >> 20))
}

/// Pixels of a case, as the model takes them and rounded to its type.
fn numbers(image: &ImageInput, shape: &[usize], kind: Images, seed: u64) -> Vec<f64> {
    let count: usize = shape.iter().product();
    let noise = match kind {
        Images::Noise => standard_normal(seed, "golden", count).into_iter().map(f64::from).collect(),
        Images::Ramps => Vec::new(),
    };
    let number = |at: usize| {
        let number = noise.get(at).copied().unwrap_or_else(|| ramp(image, shape, at));
        match image.element_type {
            ElementType::U8 => (127.5 + 60.0 * number).round().clamp(0.0, 255.0),
            ElementType::F16 => f16::from_f64(number).to_f64(),
            ElementType::F64 => number,
            _ => f64::from(number as f32),
        }
    };
    (0..count).map(number).collect()
}

/// From -2 to 2: along the width, along the height and along both, by channel.
fn ramp(image: &ImageInput, shape: &[usize], at: usize) -> f64 {
    let place = |axis: usize| at / shape[axis + 1..].iter().product::<usize>() % shape[axis];
    let [channel, y, x] = match image.layout {
        Layout::Nchw => [1, 2, 3],
        Layout::Nhwc => [3, 1, 2],
    };
    let share = |axis: usize| place(axis) as f64 / (shape[axis].max(2) - 1) as f64;
    let part = match place(channel) % 3 {
        0 => share(x),
        1 => share(y),
        _ => (share(x) + share(y)) / 2.0,
    };
    4.0 * part - 2.0
}

fn softmax(logits: &mut ArrayD<f64>) {
    for mut row in logits.axis_iter_mut(Axis(0)) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.mapv_inplace(|logit| (logit - largest).exp());
        let sum = row.sum();
        row.mapv_inplace(|power| power / sum);
    }
}

/// An output as the model gives it: named and typed like `port`.
fn golden(output: &ArrayD<f64>, port: &Port) -> Result<TensorProto, String> {
    let numbers: Vec<f64> = output.iter().copied().collect();
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(format!("its output '{}' is not finite on the golden images", port.name));
    }
    let element = port.element_type.unwrap_or(ElementType::F32);
    let made = tensor(&port.name, element, output.shape(), &numbers);
    made.ok_or_else(|| format!("its output '{}' is {}, which the reference does not make", port.name, element.name()))
}

/// A tensor of these numbers, each rounded once.
fn tensor(name: &str, element: ElementType, shape: &[usize], numbers: &[f64]) -> Option<TensorProto> {
    let bytes: Vec<u8> = match element {
        ElementType::F32 => numbers.iter().flat_map(|&number| (number as f32).to_le_bytes()).collect(),
        ElementType::F64 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        ElementType::F16 => numbers.iter().flat_map(|&number| f16::from_f64(number).to_le_bytes()).collect(),
        ElementType::U8 => numbers.iter().map(|&number| number as u8).collect(),
        _ => return None,
    };
    let dims = shape.iter().map(|&extent| extent as i64).collect();
    Some(TensorProto {
        name: name.into(),
        data_type: element.to_proto(),
        dims,
        raw_data: bytes.into(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_that_no_reader_takes_are_told_with_their_size() {
        let limit = open::SMALL as usize;
        let bytes =
            |count: usize| TensorProto { name: "map".into(), raw_data: vec![0; count].into(), ..Default::default() };
        assert_eq!(readable(&bytes(limit - 64)), Ok(()));
        // Name and type count as well.
        assert_eq!(readable(&bytes(limit)), Err("'map' has 65 MiB, and golden tensors have 64 at most".into()));
    }
}
