//! A model without the ends that these programs give it: the network, and what stands around it.

use ndarray::Array4;
use onnx_file::element::ElementType;
use onnx_file::metadata::{Metadata, Preprocess};
use onnx_file::port::{ImageInput, Layout, Port};
use onnx_file::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};
use onnx_file::tensor;

use super::enter::{LEVELS, order};
use super::nodes::{dims, value};

/// What stands before a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is fed.
    pub fed: ImageInput,
    /// Mean and deviation by channel, where pixels are normalised.
    normalise: Option<(Vec<f64>, Vec<f64>)>,
}

/// What was found around a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stripped {
    /// Before it.
    pub entry: Option<Entry>,
    /// The outputs, by position, that a softmax over the classes is behind.
    pub softmax: Vec<usize>,
}

impl Entry {
    /// What the network makes of `fed`, in the layout of the file: `[N, C, H, W]`, normalised where the file does so.
    pub fn prepare(&self, fed: &Array4<f64>) -> Array4<f64> {
        let mut images = match self.fed.layout {
            Layout::Nchw => fed.clone(),
            Layout::Nhwc => fed.view().permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned(),
        };
        if let Some((mean, std)) = &self.normalise {
            for (channel, mut plane) in images.axis_iter_mut(ndarray::Axis(1)).enumerate() {
                plane.mapv_inplace(|level| (level / f64::from(LEVELS) - mean[channel]) / std[channel]);
            }
        }
        images
    }

    /// Whether it normalises as `says` does, or not at all.
    fn goes_with(&self, says: &Preprocess) -> bool {
        let same = |found: &[f64], said: [f64; 3]| match found {
            [grey] => *grey == f64::from((said.iter().sum::<f64>() / 3.0) as f32),
            _ => found.iter().copied().eq(said.map(|number| f64::from(number as f32))),
        };
        self.normalise.as_ref().is_none_or(|(mean, std)| same(mean, says.mean) && same(std, says.std))
    }

    /// Whether it takes pixels as they are, from 0 to 255.
    pub fn takes_levels(&self) -> bool {
        self.normalise.is_some()
    }
}

/// Takes from `model` the nodes that [`super::Ends`] puts around a network, as far as they are wholly understood and the
/// normalisation is the one that the file's metadata says; all else stays.
pub fn strip(model: &mut ModelProto) -> Stripped {
    let preprocess = Metadata::of(model).preprocess().ok().flatten();
    let Some(graph) = &mut model.graph else { return Stripped::default() };
    let found = entry(graph, Numbers::Present).filter(|(_, entry, _)| match &preprocess {
        Some(says) => entry.goes_with(says),
        None => entry.normalise.is_none(),
    });
    let entry = found.map(|found| cut(graph, found));
    Stripped { entry, softmax: exits(graph) }
}

/// Why `given` cannot be what `graph` is fed with: it normalises images itself, and otherwise.
pub(crate) fn contradiction(graph: &GraphProto, given: &Preprocess) -> Option<String> {
    let (_, entry, _) = entry(graph, Numbers::Present).filter(|(_, entry, _)| !entry.goes_with(given))?;
    let (mean, std) = entry.normalise?;
    Some(format!(
        "the model normalises images itself, with the mean {mean:?} and the deviation {std:?}, and --preprocess gives {:?} and {:?}; give these, or the model without its normalisation",
        given.mean, given.std
    ))
}

/// As [`strip`], of a graph whose tensors have no data: what is normalised with is not looked at.
pub(crate) fn without_ends(graph: &GraphProto) -> GraphProto {
    let mut graph = graph.clone();
    if let Some(found) = entry(&graph, Numbers::Absent) {
        cut(&mut graph, found);
    }
    exits(&mut graph);
    graph
}

/// Takes the entry from `graph`, whose input becomes the value that it ends in.
fn cut(graph: &mut GraphProto, (nodes, entry, (last, element)): Found) -> Entry {
    graph.node.drain(..nodes);
    if let Some(input) = graph.input.iter_mut().find(|input| input.name == entry.fed.name) {
        let own = dims(input).unwrap_or_default();
        let moved = match entry.fed.layout {
            Layout::Nchw => own.to_vec(),
            Layout::Nhwc => order(Layout::Nchw).iter().map(|&axis| own[axis as usize].clone()).collect(),
        };
        *input = value(&last, element, moved);
    }
    entry
}

/// The nodes in a row that an entry is, what it does, and the value and type that it ends in.
type Found = (usize, Entry, (String, ElementType));

/// Whether constants have their data.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    Present,
    Absent,
}

fn entry(graph: &GraphProto, numbers: Numbers) -> Option<Found> {
    let fed = ImageInput::among(&Port::inputs(graph)).ok()?;
    let mut at = Cursor { graph, nodes: 0, last: fed.name.clone(), numbers };
    let mut element = fed.element_type;
    if let Some(to) = at.cast() {
        element = to;
    }
    let inner = match at.take("Transpose", |node| ints(node, "perm") == Some(&order(Layout::Nchw))) {
        Some(_) if fed.layout == Layout::Nhwc => Layout::Nchw,
        Some(_) => return None,
        None => fed.layout,
    };
    let mut normalise = None;
    if fed.element_type == ElementType::U8 {
        let levels = at.arithmetic("Div")?;
        let (mean, std) = (at.arithmetic("Sub")?, at.arithmetic("Div")?);
        let fits = levels == [f64::from(LEVELS)] && [mean.len(), std.len()] == [fed.channels; 2];
        if numbers == Numbers::Present && !fits {
            return None;
        }
        normalise = Some((mean, std));
        element = at.cast().unwrap_or(element);
    }
    let Cursor { nodes, last, .. } = at;
    (nodes > 0 && inner == Layout::Nchw && element != ElementType::U8).then_some((
        nodes,
        Entry { fed, normalise },
        (last, element),
    ))
}

/// Steps along the first nodes of a graph, each of which takes only what the one before makes.
struct Cursor<'a> {
    graph: &'a GraphProto,
    nodes: usize,
    last: String,
    numbers: Numbers,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, op: &str, suits: impl Fn(&NodeProto) -> bool) -> Option<&'a NodeProto> {
        let node = self.graph.node.get(self.nodes)?;
        let takes = |node: &NodeProto| node.input.first() == Some(&self.last);
        let alone = self.graph.node.iter().filter(|node| node.input.contains(&self.last)).count() == 1;
        let [output] = &node.output[..] else { return None };
        if node.op_type != op || !node.domain.is_empty() || !takes(node) || !alone || !suits(node) {
            return None;
        }
        (self.last, self.nodes) = (output.clone(), self.nodes + 1);
        Some(node)
    }

    fn cast(&mut self) -> Option<ElementType> {
        let node = self.take("Cast", |_| true)?;
        let to = node.attribute.iter().find(|attribute| attribute.name == "to")?.i;
        i32::try_from(to).ok().and_then(ElementType::from_proto)
    }

    /// The constant that a node calculates with.
    fn arithmetic(&mut self, op: &str) -> Option<Vec<f64>> {
        let node = self.take(op, |node| node.input.len() == 2)?;
        let constant = self.graph.initializer.iter().find(|tensor| tensor.name == node.input[1])?;
        // By channel, [1, C, 1, 1], or one number.
        let by_channel = matches!(constant.dims[..], [] | [1, _, 1, 1]);
        match self.numbers {
            Numbers::Present => tensor::to_f64(constant).ok().filter(|_| by_channel),
            Numbers::Absent => by_channel.then(Vec::new),
        }
    }
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    let named = |attribute: &&AttributeProto| attribute.name == name;
    node.attribute.iter().find(named).map(|attribute| &attribute.ints[..])
}

/// Takes softmaxes over the classes from the outputs, which become the logits; returns the outputs' positions.
fn exits(graph: &mut GraphProto) -> Vec<usize> {
    let mut places = Vec::new();
    for at in 0..graph.output.len() {
        let output = graph.output[at].name.clone();
        let rank = dims(&graph.output[at]).map(<[_]>::len);
        let axis = |node: &NodeProto| node.attribute.iter().find(|a| a.name == "axis").map(|a| a.i);
        let is_softmax = |node: &NodeProto| {
            node.op_type == "Softmax"
                && node.domain.is_empty()
                && node.output == [output.as_str()]
                && axis(node) == Some(1)
        };
        let used = graph.node.iter().any(|node| node.input.contains(&output));
        let Some(node) = graph.node.iter().position(is_softmax).filter(|_| rank == Some(2) && !used) else { continue };
        let logits = graph.node.remove(node).input.first().cloned().unwrap_or_default();
        graph.output[at].name = logits;
        places.push(at);
    }
    places
}
