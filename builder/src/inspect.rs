//! What a checkpoint or an ONNX file holds.

mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use onnx_file::digest;
use onnx_file::element::ElementType;
use onnx_file::kind::{self, Kind};
use onnx_file::metadata::Key;
use onnx_file::open;
use onnx_file::outline::{Outline, OutlineError};
use onnx_file::proto::{ModelProto, ValueInfoProto, tensor_shape_proto, tensor_shape_proto::dimension, type_proto};
use onnx_file::tensor::extent;
use serde::Serialize;

use crate::architecture::{self, Options};
use crate::checkpoint::{Checkpoint, CheckpointError, Choice};
use crate::cost::{Cost, cost_of};
use crate::graph::{Dim, Graph, Origin, Part};
use crate::judge::judge;
use crate::published::{self, Published};
use crate::variant::Variant;

/// Version of the JSON form.
pub const SCHEMA_VERSION: u32 = 2;

/// What a file holds.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Version of this structure.
    pub schema_version: u32,
    /// The file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex; none of a model unless it is asked for, because all of the file must be read for it.
    pub sha256: Option<String>,
    /// The published checkpoint it is, by digest.
    pub known: Option<Published>,
    /// What kind of file it is, with what only that kind has.
    #[serde(flatten)]
    pub content: Content,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of tensors of each element type.
    pub element_types: BTreeMap<String, usize>,
    /// All of them, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor_list: Option<Vec<Tensor>>,
    /// Elements of all floating-point tensors, normalisation statistics included.
    pub elements: u64,
    /// The architecture inferred from shapes, or why there is none.
    pub architecture: Architecture,
}

/// What kind of file.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// Weights by name.
    Checkpoint {
        /// zip, legacy or safetensors.
        container: String,
        /// The key the weights lie under.
        nested_under: Option<String>,
        /// What was removed from names.
        prefix: Option<String>,
        /// Objects beside the weights that were passed over unbuilt, `key: class`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<String>,
    },
    /// A model.
    Onnx(Box<Onnx>),
}

/// What an ONNX file declares.
#[derive(Clone, Debug, Serialize)]
pub struct Onnx {
    /// Version of the format.
    pub ir_version: i64,
    /// Operator sets by domain.
    pub opsets: BTreeMap<String, i64>,
    /// Who wrote it.
    pub producer: String,
    /// Type that it computes in: that of most of its floating-point numbers; none where it holds none.
    pub dtype: Option<String>,
    /// Inputs that are not weights.
    pub inputs: Vec<Declared>,
    /// Outputs.
    pub outputs: Vec<Declared>,
    /// Number of nodes by operator.
    pub operators: BTreeMap<String, usize>,
    /// Number of convolutions by their group, for those with more than one.
    pub grouped_convolutions: BTreeMap<i64, usize>,
    /// Metadata by key.
    pub metadata: BTreeMap<String, String>,
}

/// An input or output as a model declares it.
#[derive(Clone, Debug, Serialize)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Type of its elements, where it is a known one.
    pub element_type: Option<String>,
    /// Its extents, where it has any.
    pub shape: Option<Vec<Extent>>,
}

/// One extent: a number, the name of one that is chosen at run time, or null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Extent {
    /// Known.
    Fixed(i64),
    /// Chosen at run time, under this name.
    Named(String),
    /// Not told.
    Open,
}

impl Declared {
    /// Height and width, where it takes images of one size.
    fn image(&self) -> Option<[usize; 2]> {
        let [_, _, Extent::Fixed(height), Extent::Fixed(width)] = self.shape.as_deref()? else { return None };
        Some([usize::try_from(*height).ok()?, usize::try_from(*width).ok()?])
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Named(name) => f.write_str(name),
            Self::Open => f.write_str("?"),
        }
    }
}

impl fmt::Display for Declared {
    /// `input f32 [batch, 3, 224, 224]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = self.element_type.as_deref().unwrap_or("?");
        let extents: Vec<String> = self.shape.iter().flatten().map(Extent::to_string).collect();
        write!(f, "{} {element} [{}]", self.name, extents.join(", "))
    }
}

/// The architecture that the shapes give.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// One of the family.
    Inferred(Box<Inferred>),
    /// None of it, and why.
    Unknown(String),
}

/// An inferred architecture.
#[derive(Clone, Debug, Serialize)]
pub struct Inferred {
    /// What `--variant` takes.
    pub variant: String,
    /// Rows of `fc.weight`.
    pub classes: Option<usize>,
    /// Height and width of the images that costs are counted for: the model's own, else the network's usual ones.
    pub image_size: [usize; 2],
    /// In which of its forms the network is, as far as it is not the plain one.
    pub form: Vec<String>,
    /// Trainable parameters.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Stem, stages and head.
    pub stages: Vec<Stage>,
}

/// A row of the per-stage table.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// stem, layer1 ..., head.
    pub name: String,
    /// Blocks.
    pub blocks: Option<usize>,
    /// Groups of each 3x3.
    pub cardinality: Option<usize>,
    /// Channels of the 3x3.
    pub width: Option<usize>,
    /// Channels or classes put out.
    pub out_channels: usize,
    /// Height and width put out, for that image.
    pub out_size: Option<[usize; 2]>,
    /// Trainable parameters.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
}

/// Why a file could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not readable.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a checkpoint that is accepted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Not an ONNX file.
    #[error(transparent)]
    Onnx(#[from] OutlineError),
}

impl Inspection {
    /// Without the list of all tensors.
    pub fn without_tensors(mut self) -> Self {
        self.tensor_list = None;
        self
    }

    /// Adds the SHA-256 of the file at `path`, which was inspected, where it is not there yet.
    ///
    /// # Errors
    /// [`InspectError::Io`].
    pub fn with_sha256(mut self, path: &Path) -> Result<Self, InspectError> {
        if self.sha256.is_none() {
            let io = |source| InspectError::Io { path: path.display().to_string(), source };
            self.sha256 = Some(digest::file(path).map_err(io)?);
        }
        Ok(self)
    }
}

/// Looks into the file at `path`, recognised by content. The weights of a model are not read.
///
/// # Errors
/// [`InspectError`].
pub fn inspect(path: &Path, choice: &Choice) -> Result<Inspection, InspectError> {
    let io = |source| InspectError::Io { path: path.display().to_string(), source };
    let mut file = open::file(path).map_err(io)?;
    let is_onnx = kind::of_file(&mut file).map_err(io)? == Kind::Onnx;
    let sha256 = if is_onnx { None } else { Some(digest::file(path).map_err(io)?) };
    let bytes = file.metadata().map_err(io)?.len();
    let (content, tensors, structure) = if is_onnx {
        let (content, tensors, structure) = onnx(path)?;
        (content, tensors, Some(structure))
    } else {
        let (content, tensors) = checkpoint(path, choice)?;
        (content, tensors, None)
    };
    let mut element_types = BTreeMap::new();
    for tensor in &tensors {
        *element_types.entry(tensor.element_type.clone()).or_insert(0) += 1;
    }
    let elements = elements(tensors.iter().filter(|tensor| tensor.is_float));
    let architecture = match structure {
        Some(structure) => structure,
        None => {
            let shapes = tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
            match judge(&shapes) {
                Ok(found) => describe(&found, None, Vec::new()),
                Err(other) => Architecture::Unknown(format!("it {other}")),
            }
        }
    };
    Ok(Inspection {
        schema_version: SCHEMA_VERSION,
        file: path.display().to_string(),
        bytes,
        known: sha256.as_deref().and_then(published::by_sha256),
        sha256,
        content,
        tensors: tensors.len(),
        tensor_list: Some(tensors),
        element_types,
        elements,
        architecture,
    })
}

/// A tensor.
#[derive(Clone, Debug, Serialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub element_type: String,
    /// Extents, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    #[serde(skip)]
    is_float: bool,
}

/// Elements of all `tensors` together. Files may declare any shapes: what u64 does not hold is its largest number.
fn elements<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> u64 {
    let of = |tensor: &Tensor| tensor.shape.iter().fold(1u64, |n, &extent| n.saturating_mul(extent as u64));
    tensors.map(of).fold(0, u64::saturating_add)
}

fn checkpoint(path: &Path, choice: &Choice) -> Result<(Content, Vec<Tensor>), InspectError> {
    let checkpoint = Checkpoint::open_with(path, choice)?;
    let tensors = checkpoint.tensors().iter().map(|info| Tensor {
        name: info.name.clone(),
        shape: info.shape.clone(),
        element_type: info.dtype.to_string(),
        is_float: info.dtype.is_float(),
    });
    let tensors = tensors.collect();
    let content = Content::Checkpoint {
        container: checkpoint.format().to_string(),
        nested_under: checkpoint.nested_under().map(str::to_string),
        prefix: checkpoint.stripped_prefix().map(str::to_string),
        skipped: checkpoint.skipped().iter().map(ToString::to_string).collect(),
    };
    Ok((content, tensors))
}

fn onnx(path: &Path) -> Result<(Content, Vec<Tensor>, Architecture), InspectError> {
    let outline = Outline::read(path)?;
    let Outline { model, graph, .. } = &outline;
    if model.opset_import.is_empty() {
        let reason = "it names no opset".into();
        return Err(OutlineError::NotOnnx { path: path.to_owned(), reason }.into());
    }
    let tensors = graph.initializer.iter().map(|tensor| {
        let element = ElementType::from_proto(tensor.data_type);
        let float = [ElementType::F16, ElementType::BF16, ElementType::F32, ElementType::F64];
        Tensor {
            name: tensor.name.clone(),
            shape: extent(tensor).map_or(Vec::new(), |_| tensor.dims.iter().map(|&d| d as usize).collect()),
            element_type: element.map_or(format!("type {}", tensor.data_type), |e| e.to_string()),
            is_float: element.is_some_and(|e| float.contains(&e)),
        }
    });
    let tensors: Vec<Tensor> = tensors.collect();
    let mut operators = BTreeMap::new();
    let mut grouped_convolutions = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
        let group = node.attribute.iter().find(|a| a.name == "group").map_or(1, |a| a.i);
        if node.op_type == "Conv" && group > 1 {
            *grouped_convolutions.entry(group).or_insert(0) += 1;
        }
    }
    let integer = ["QuantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul"];
    let is_quantized = integer.iter().any(|op| operators.contains_key(*op));
    let is_weight = |value: &&ValueInfoProto| !graph.initializer.iter().any(|t| t.name == value.name);
    let onnx = Onnx {
        ir_version: model.ir_version,
        opsets: opsets(model),
        producer: outline.producer(),
        dtype: if is_quantized { Some(ElementType::I8.to_string()) } else { dtype(&tensors) },
        inputs: graph.input.iter().filter(is_weight).map(declared).collect(),
        outputs: graph.output.iter().map(declared).collect(),
        operators,
        grouped_convolutions,
        metadata: model.metadata_props.iter().map(|e| (e.key.clone(), e.value.clone())).collect(),
    };
    let image = onnx.inputs.first().and_then(Declared::image);
    let variant = onnx.metadata.get(Key::Variant.name()).and_then(|name| Variant::parse_described(name));
    let architecture = match structure::of(graph, variant.as_ref()) {
        Ok(found) => describe(&found.network, image, found.form),
        Err(reason) => Architecture::Unknown(reason),
    };
    Ok((Content::Onnx(Box::new(onnx)), tensors, architecture))
}

/// The floating-point type of most elements.
fn dtype(tensors: &[Tensor]) -> Option<String> {
    let float = || tensors.iter().filter(|tensor| tensor.is_float);
    let types: BTreeSet<&str> = float().map(|tensor| tensor.element_type.as_str()).collect();
    let most =
        types.into_iter().max_by_key(|&element| elements(float().filter(|tensor| tensor.element_type == element)));
    most.map(str::to_string)
}

fn opsets(model: &ModelProto) -> BTreeMap<String, i64> {
    let domain = |d: &str| if d.is_empty() { "ai.onnx".to_string() } else { d.to_string() };
    model.opset_import.iter().map(|opset| (domain(&opset.domain), opset.version)).collect()
}

fn declared(value: &ValueInfoProto) -> Declared {
    let tensor = match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let extent = |dim: &tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(n)) => Extent::Fixed(*n),
        Some(dimension::Value::DimParam(name)) => Extent::Named(name.clone()),
        None => Extent::Open,
    };
    Declared {
        name: value.name.clone(),
        element_type: tensor.and_then(|t| ElementType::from_proto(t.elem_type)).map(|e| e.to_string()),
        shape: tensor.and_then(|t| t.shape.as_ref()).map(|shape| shape.dim.iter().map(extent).collect()),
    }
}

fn describe(found: &architecture::Inferred, image: Option<[usize; 2]>, form: Vec<String>) -> Architecture {
    let architecture::Inferred { variant, channels, hidden, classes } = found;
    let classes = *classes;
    let mut options = Options::classifier(variant);
    let image_size = image.unwrap_or([variant.default_image_size(); 2]);
    options.image = image_size.map(Dim::Fixed);
    options.classes = classes.unwrap_or(options.classes);
    options.channels = *channels;
    options.hidden.clone_from(hidden);
    if classes.is_none() {
        options.outputs = vec![architecture::Output::Stage(variant.blocks.len())];
    }
    let graph = match architecture::build(variant, &options) {
        Ok(graph) => graph,
        Err(error) => return Architecture::Unknown(error.to_string()),
    };
    let mut stages = vec![stage(&graph, "stem", Part::Stem, None)];
    for index in 0..variant.blocks.len() {
        stages.push(stage(&graph, &format!("layer{}", index + 1), Part::Stage(index), Some((variant, index))));
    }
    if classes.is_some() {
        stages.push(stage(&graph, "head", Part::Head, None));
    }
    let costs = stages.iter().map(|s| Cost { parameters: s.parameters, multiply_adds: s.multiply_adds });
    let Cost { parameters, multiply_adds } = costs.sum();
    Architecture::Inferred(Box::new(Inferred {
        variant: variant.to_string(),
        classes,
        image_size,
        form,
        parameters,
        multiply_adds,
        stages,
    }))
}

fn stage(graph: &Graph, name: &str, part: Part, place: Option<(&Variant, usize)>) -> Stage {
    let nodes: Vec<_> = graph.nodes.iter().filter(|node| node.origin == Origin::Network(part)).collect();
    let Cost { parameters, multiply_adds } = nodes.iter().map(|n| cost_of(graph, n)).sum();
    let last = nodes.last().map(|n| graph.value(n.output).shape.clone()).unwrap_or_default();
    let extent = |axis: usize| last.get(axis).and_then(Dim::fixed);
    Stage {
        name: name.into(),
        blocks: place.map(|(variant, index)| variant.blocks[index]),
        cardinality: place.map(|(variant, _)| variant.cardinality),
        width: place.map(|(variant, index)| variant.width(index)),
        out_channels: extent(1).unwrap_or(0),
        out_size: extent(2).zip(extent(3)).map(|(h, w)| [h, w]),
        parameters,
        multiply_adds,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::{Duration, Instant};

    use onnx_file::proto::{OperatorSetIdProto, TensorProto};
    use prost::Message as _;
    use prost::encoding::{WireType, encode_key, encode_varint};

    use super::*;

    /// A field of `length` bytes, of which `content` is the beginning.
    fn field(tag: u32, content: &[u8], length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut bytes);
        encode_varint(length, &mut bytes);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn the_weights_of_a_model_are_not_read() {
        // 64 GiB of zeros that take no place on the disk: reading them would take a minute.
        let zeros: u64 = 64 << 30;
        let tensor = TensorProto {
            name: "fc.weight".into(),
            data_type: ElementType::F32.to_proto(),
            dims: vec![1 << 17, 1 << 17],
            ..TensorProto::default()
        };
        let tensor = [tensor.encode_to_vec(), field(9, &[], zeros)].concat();
        let initializer = field(5, &tensor, tensor.len() as u64 + zeros);
        let graph = field(7, &initializer, initializer.len() as u64 + zeros);
        let opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
        let model = ModelProto { ir_version: 8, opset_import, ..ModelProto::default() }.encode_to_vec();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&[model, graph].concat()).unwrap();
        let length = file.metadata().unwrap().len() + zeros;
        file.set_len(length).unwrap();
        let start = Instant::now();
        let found = inspect(&path, &Choice::default()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        assert_eq!((found.bytes, found.tensors, found.elements, found.sha256), (length, 1, 1 << 34, None));
    }

    #[test]
    fn the_digest_of_a_model_is_told_where_it_is_asked_for() {
        let opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
        let graph = Some(onnx_file::proto::GraphProto { name: "g".into(), ..Default::default() });
        let model = ModelProto { ir_version: 8, opset_import, graph, ..ModelProto::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let found = inspect(&path, &Choice::default()).unwrap();
        assert_eq!(found.sha256, None);
        assert_eq!(found.with_sha256(&path).unwrap().sha256, Some(digest::file(&path).unwrap()));
        std::fs::write(&path, ModelProto { opset_import: vec![], ..model }.encode_to_vec()).unwrap();
        assert!(inspect(&path, &Choice::default()).unwrap_err().to_string().contains("no opset"));
    }
}
