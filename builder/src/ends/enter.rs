//! Between what a model is fed and what its network takes: type, place of the channels, normalisation.
//!
//! The order is Cast, Transpose, Div, Sub, Div: TensorRT takes u8 into a Cast alone, and behind the Transpose the
//! channels stand where importers look for arithmetic by channel. The normalisation is torchvision's, in its order of
//! operations and in f32, so that the numbers are those of the preprocessing outside, bit for bit.

use onnx_file::element::ElementType;
use onnx_file::metadata::Preprocess;
use onnx_file::port::{ImageInput, Layout, Port};
use onnx_file::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, tensor_shape_proto::Dimension};

use super::error::{EndsError, Pixels};
use super::names::{Names, rename_uses};
use super::nodes::{constant, dims, int, ints, is_float, node, value};

/// Largest level of a pixel.
pub(super) const LEVELS: f32 = 255.0;

/// Parts of the names of what is added before a network.
pub(super) const PREFIX: &str = "image";

/// Where the channels go: the order of axes that makes `to` of the other layout.
pub(super) const fn order(to: Layout) -> [i64; 4] {
    match to {
        Layout::Nchw => [0, 3, 1, 2],
        Layout::Nhwc => [0, 2, 3, 1],
    }
}

/// Puts what is asked for before the network of `graph`.
pub(super) fn enter(
    graph: &mut GraphProto,
    names: &mut Names,
    layout: Option<Layout>,
    pixels: Option<Pixels>,
    preprocess: Option<&Preprocess>,
) -> Result<(), EndsError> {
    let image = ImageInput::among(&Port::inputs(graph)).map_err(|reason| EndsError::NoImage(reason.to_string()))?;
    let outside = layout.unwrap_or(image.layout);
    let fed = match (pixels, image.element_type) {
        (Some(Pixels::U8), ElementType::U8) => return Err(EndsError::AlreadyPixels),
        (Some(Pixels::F32), ElementType::U8) => return Err(EndsError::Pixels),
        (Some(Pixels::U8), _) => ElementType::U8,
        (Some(Pixels::F32), _) => ElementType::F32,
        (None, own) => own,
    };
    let normalise = (fed == ElementType::U8 && is_float(image.element_type))
        .then(|| Normalise::of(&image, preprocess.ok_or(EndsError::NoPreprocess)?))
        .transpose()?;
    if outside == image.layout && fed == image.element_type {
        return Ok(());
    }
    if graph.output.iter().any(|output| output.name == image.name) {
        return Err(EndsError::NoImage(format!("'{}' is an output as well", image.name)));
    }
    let Some(at) = graph.input.iter().position(|input| input.name == image.name) else { return Ok(()) };
    let own = dims(&graph.input[at]).unwrap_or_default();
    let moved: Vec<Dimension> = match outside == image.layout {
        true => own.to_vec(),
        false => order(outside).iter().map(|&axis| own[axis as usize].clone()).collect(),
    };
    let doc = std::mem::take(&mut graph.input[at].doc_string);
    graph.input[at] = ValueInfoProto { doc_string: doc, ..value(&image.name, fed, moved.clone()) };
    let mut chain = Chain { graph, names, nodes: Vec::new(), last: image.name.clone(), element: fed, dims: moved };
    chain.cast(if normalise.is_some() { ElementType::F32 } else { image.element_type });
    if outside != image.layout {
        chain.transpose(image.layout);
    }
    if let Some(normalise) = normalise {
        chain.normalise(&normalise, image.layout);
    }
    chain.cast(image.element_type);
    let Chain { nodes, last, .. } = chain;
    graph.node.iter_mut().for_each(|node| rename_uses(node, &image.name, &last));
    graph.node.splice(0..0, nodes);
    Ok(())
}

/// Mean and deviation by channel.
struct Normalise {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalise {
    fn of(image: &ImageInput, preprocess: &Preprocess) -> Result<Self, EndsError> {
        let of = |numbers: [f64; 3]| match image.channels {
            3 => Ok(numbers.map(|number| number as f32).to_vec()),
            // Grey is normalised as a whole.
            1 => Ok(vec![(numbers.iter().sum::<f64>() / 3.0) as f32]),
            other => Err(EndsError::Channels(other)),
        };
        Ok(Self { mean: of(preprocess.mean)?, std: of(preprocess.std)? })
    }
}

/// Nodes in a row, from the input on.
struct Chain<'a> {
    graph: &'a mut GraphProto,
    names: &'a mut Names,
    nodes: Vec<NodeProto>,
    last: String,
    element: ElementType,
    dims: Vec<Dimension>,
}

impl Chain<'_> {
    fn push(&mut self, op: &str, part: &str, more: &[&str], attributes: Vec<AttributeProto>) {
        let name = self.names.fresh(&format!("{PREFIX}.{part}"));
        let inputs = [&[self.last.as_str()][..], more].concat();
        self.nodes.push(node(op, &inputs, &name, attributes));
        self.graph.value_info.push(value(&name, self.element, self.dims.clone()));
        self.last = name;
    }

    fn cast(&mut self, to: ElementType) {
        if self.element != to {
            self.element = to;
            self.push("Cast", to.name(), &[], vec![int("to", i64::from(to.to_proto()))]);
        }
    }

    fn transpose(&mut self, to: Layout) {
        let order = order(to);
        self.dims = order.iter().map(|&axis| self.dims[axis as usize].clone()).collect();
        self.push("Transpose", "layout", &[], vec![ints("perm", &order)]);
    }

    fn normalise(&mut self, normalise: &Normalise, layout: Layout) {
        let channels = normalise.mean.len() as i64;
        let by_channel = match layout {
            Layout::Nchw => [1, channels, 1, 1],
            Layout::Nhwc => [1, 1, 1, channels],
        };
        self.arithmetic("Div", "scaled", ("levels", &[], &[LEVELS]));
        self.arithmetic("Sub", "centred", ("mean", &by_channel, &normalise.mean));
        self.arithmetic("Div", "normalised", ("std", &by_channel, &normalise.std));
    }

    /// A node that calculates with a constant.
    fn arithmetic(&mut self, op: &str, part: &str, (what, dims, numbers): (&str, &[i64], &[f32])) {
        let name = self.names.fresh(&format!("{PREFIX}.{what}"));
        self.graph.initializer.push(constant(&name, dims, numbers));
        self.push(op, part, &[&name], Vec::new());
    }
}
