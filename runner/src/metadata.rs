//! What an ONNX file says of itself: inputs, outputs, properties, precision. Its weights are never read.

pub mod port;
pub mod skeleton;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use onnx_file::proto::{GraphProto, ModelProto};
use prost::Message;
use serde::Serialize;
use sha2::{Digest, Sha256};

use port::{as_image, is_channels_last};

pub use port::{ElementType, ImageInput, Port, Precision};
pub use skeleton::SkeletonError;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file cannot be opened.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no ONNX model.
    #[error("{}: {source}", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What was found where.
        source: SkeletonError,
    },
    /// The protobuf messages do not decode, or there is no graph.
    #[error("{}: {reason}: not an ONNX model", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No input, or more than one, is a batch of pictures, or its extents are none that pictures can be brought to.
    #[error("{}: {reason}; its inputs are: {inputs}", path.display())]
    NotAnImageModel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// Names, types and shapes of the inputs.
        inputs: String,
    },
    /// A property that this program reads holds something else than it should.
    #[error("{}: property {key}: {reason}", path.display())]
    BadProperty {
        /// The file.
        path: PathBuf,
        /// Key in `metadata_props`.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// An ONNX file without its weights.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Size of the file in bytes, external data not counted.
    pub bytes: u64,
    /// Program that wrote it, with its version.
    pub producer: String,
    /// Version of the default operator set.
    pub opset: i64,
    /// Inputs that are not weights.
    pub inputs: Vec<Port>,
    /// Outputs, in order.
    pub outputs: Vec<Port>,
    /// `metadata_props`.
    pub properties: BTreeMap<String, String>,
    /// Coarsest arithmetic found in the file.
    pub precision: Precision,
    /// Whether weights lie in other files.
    pub external_data: bool,
    /// The graph; its tensors have names, types and shapes but no contents.
    pub graph: GraphProto,
}

/// What a file of `resnext-build` says of where it comes from; `None` is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The variant's name, from `resnext.variant`.
    pub variant: Option<String>,
    /// SHA-256 of the checkpoint, from `resnext.weights_sha256`.
    pub source_sha256: Option<String>,
    /// Seed of random weights, from `resnext.seed`.
    pub random_seed: Option<u64>,
}

impl ModelFile {
    /// Reads everything but the weights.
    ///
    /// # Errors
    /// [`MetadataError`] where the file cannot be read or is no ONNX model.
    pub fn read(path: &Path) -> Result<ModelFile, MetadataError> {
        let io = |source| MetadataError::Io { path: path.to_owned(), source };
        let malformed = |reason: String| MetadataError::Malformed { path: path.to_owned(), reason };
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(malformed("it is not a regular file".into()));
        }
        let bytes = about.len();
        if bytes == 0 {
            return Err(malformed("the file is empty".into()));
        }
        let kept = skeleton::skeleton(&mut BufReader::with_capacity(64 << 10, file), bytes)
            .map_err(|source| MetadataError::NotOnnx { path: path.to_owned(), source })?;
        let model = ModelProto::decode(kept.as_slice()).map_err(|error| malformed(error.to_string()))?;
        let opset = default_opset(&model);
        let producer = format!("{} {}", model.producer_name, model.producer_version).trim().to_owned();
        let properties = model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let graph = model.graph.ok_or_else(|| malformed("there is no graph".into()))?;
        let weights: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str())).map(Port::of).collect();
        Ok(ModelFile {
            path: path.to_owned(),
            bytes,
            producer,
            opset,
            inputs,
            outputs: graph.output.iter().map(Port::of).collect(),
            properties,
            precision: precision(&graph),
            external_data: graph.initializer.iter().any(|tensor| tensor.data_location == 1),
            graph,
        })
    }

    /// The one input that takes pictures: four dimensions, three channels in the second, f32 or f16.
    ///
    /// # Errors
    /// [`MetadataError::NotAnImageModel`] where there is none, or the model needs other inputs besides.
    pub fn image_input(&self) -> Result<ImageInput, MetadataError> {
        let refuse = |reason: &str| Err(self.not_an_image_model(reason.into()));
        let pictures: Vec<ImageInput> = self.inputs.iter().filter_map(as_image).collect();
        match pictures.as_slice() {
            [image] if [image.batch, image.height, image.width].contains(&Some(0)) => refuse(
                "it takes empty batches or pictures, an extent is 0; export it with the real one, or leave it open",
            ),
            [image] if self.inputs.len() == 1 => Ok(image.clone()),
            [_] => refuse("it needs inputs besides the pictures"),
            [] if self.inputs.iter().any(is_channels_last) => {
                refuse("it takes pictures as [N, H, W, 3]; only [N, 3, H, W] is supported")
            }
            [] => refuse("no input takes pictures, f32 or f16 [N, 3, H, W]"),
            _ => refuse("more than one input takes pictures"),
        }
    }

    /// Why pictures cannot be given to this model, beside the inputs that it has.
    pub(crate) fn not_an_image_model(&self, reason: String) -> MetadataError {
        let inputs: Vec<String> = self.inputs.iter().map(Port::to_string).collect();
        let inputs = if inputs.is_empty() { "none".to_owned() } else { inputs.join("; ") };
        MetadataError::NotAnImageModel { path: self.path.clone(), reason, inputs }
    }

    /// Names of the classes by index, from `resnext.labels`; `None` where the file holds none.
    ///
    /// # Errors
    /// [`MetadataError::BadProperty`] where the property is no JSON array of strings.
    pub fn labels(&self) -> Result<Option<Vec<String>>, MetadataError> {
        self.strings("resnext.labels")
    }

    /// WordNet ids of the classes by index, from `resnext.label_ids`; empty where the file holds none.
    ///
    /// # Errors
    /// As for [`ModelFile::labels`].
    pub fn label_ids(&self) -> Result<Vec<String>, MetadataError> {
        Ok(self.strings("resnext.label_ids")?.unwrap_or_default())
    }

    /// Where the model comes from.
    ///
    /// # Errors
    /// [`MetadataError::BadProperty`] where the seed is no number.
    pub fn origin(&self) -> Result<Origin, MetadataError> {
        let text = |key: &str| self.properties.get(key).cloned();
        let key = "resnext.seed";
        let bad = |error: std::num::ParseIntError| MetadataError::BadProperty {
            path: self.path.clone(),
            key,
            reason: error.to_string(),
        };
        Ok(Origin {
            variant: text("resnext.variant"),
            source_sha256: text("resnext.weights_sha256"),
            random_seed: text(key).map(|seed| seed.parse().map_err(bad)).transpose()?,
        })
    }

    fn strings(&self, key: &'static str) -> Result<Option<Vec<String>>, MetadataError> {
        let bad = |reason| MetadataError::BadProperty { path: self.path.clone(), key, reason };
        let Some(text) = self.properties.get(key) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| bad(format!("no JSON array of strings ({error})")))
    }

    /// Whether a batch can be divided among several runs: the number of pictures is left open, and no output is declared
    /// to be anything else than one row a picture.
    pub fn batch_divides(&self) -> bool {
        let open = self.image_input().is_ok_and(|image| image.batch.is_none());
        let follows = |output: &Port| output.shape.as_deref().is_none_or(|shape| matches!(shape, [None, ..]));
        open && self.outputs.iter().all(follows)
    }

    /// Bytes of its weights, wherever they lie, and the rest of the file.
    pub fn weight_bytes(&self) -> u64 {
        let external = self.graph.initializer.iter().filter(|tensor| tensor.data_location == 1);
        let bytes = external.filter_map(|tensor| onnx_file::tensor::extent(tensor).ok().map(|(.., bytes)| bytes));
        bytes.fold(self.bytes, u64::saturating_add)
    }

    /// Names of the files that hold its weights, relative to its own folder, each once.
    pub fn data_files(&self) -> BTreeSet<&str> {
        let external = self.graph.initializer.iter().filter(|tensor| tensor.data_location == 1);
        let locations = external.flat_map(|tensor| &tensor.external_data).filter(|entry| entry.key == "location");
        locations.map(|entry| entry.value.as_str()).collect()
    }

    /// Whether the file says that its weights are random.
    pub fn random_weights(&self) -> bool {
        self.properties.get("resnext.weights").is_some_and(|weights| weights == "random")
    }

    /// File name, for people.
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into())
    }
}

fn default_opset(model: &ModelProto) -> i64 {
    model
        .opset_import
        .iter()
        .filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"))
        .map(|set| set.version)
        .next()
        .unwrap_or(0)
}

fn precision(graph: &GraphProto) -> Precision {
    let quantized =
        |op: &str| op.starts_with("QLinear") || matches!(op, "QuantizeLinear" | "ConvInteger" | "MatMulInteger");
    if graph.node.iter().any(|node| quantized(&node.op_type)) {
        return Precision::Int8;
    }
    let carried = |kind: ElementType| match kind {
        ElementType::Bf16 => Precision::Bf16,
        ElementType::F16 => Precision::F16,
        _ => Precision::F32,
    };
    let weights = graph.initializer.iter().map(|tensor| carried(ElementType::of(tensor.data_type)));
    weights.max().unwrap_or(Precision::F32)
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// Any error of reading it.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use onnx_file::proto::{
        NodeProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_proto::DataType,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    };

    use super::*;

    /// A value with a shape; an extent of -1 is dynamic.
    pub(crate) fn value(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
        let dim = shape
            .iter()
            .map(|&n| {
                let value = if n < 0 { dimension::Value::DimParam("n".into()) } else { dimension::Value::DimValue(n) };
                Dimension { value: Some(value), ..Default::default() }
            })
            .collect();
        let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
    }

    /// Writes a model of the given inputs and properties to a temporary file and reads it back.
    pub(crate) fn file(inputs: Vec<ValueInfoProto>, properties: &[(&str, &str)]) -> ModelFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let weight = TensorProto { name: "weight".into(), data_type: 1, dims: vec![8], ..Default::default() };
        let graph = GraphProto {
            node: vec![NodeProto { op_type: "Conv".into(), ..Default::default() }],
            initializer: vec![weight],
            input: inputs,
            output: vec![value("logits", DataType::Float, &[-1, 10])],
            ..Default::default()
        };
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
        let model = ModelProto {
            ir_version: 8,
            graph: Some(graph),
            metadata_props: properties.iter().map(entry).collect(),
            ..Default::default()
        };
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        ModelFile::read(&path).unwrap()
    }

    #[test]
    fn the_image_input_is_found_beside_weights_listed_as_inputs() {
        let inputs = vec![value("x", DataType::Float16, &[-1, 3, 224, 320]), value("weight", DataType::Float, &[8])];
        let image = file(inputs, &[]).image_input().unwrap();
        assert_eq!((image.name.as_str(), image.element_type), ("x", ElementType::F16));
        assert_eq!((image.batch, image.height, image.width), (None, Some(224), Some(320)));
    }

    #[test]
    fn a_model_that_takes_no_pictures_is_refused_with_its_inputs_named() {
        for (inputs, said) in [
            (vec![value("ids", DataType::Int64, &[1, 128])], "no input takes pictures"),
            (vec![value("x", DataType::Float, &[1, 224, 224, 3])], "[N, H, W, 3]"),
            (vec![value("x", DataType::Float, &[1, 1, 28, 28])], "no input takes pictures"),
            (vec![], "inputs are: none"),
            (vec![value("x", DataType::Float, &[1, 3, 8, 8]), value("size", DataType::Int64, &[2])], "inputs besides"),
        ] {
            let error = file(inputs, &[]).image_input().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let error = file(vec![value("ids", DataType::Int64, &[1, -1])], &[]).image_input().unwrap_err().to_string();
        assert!(error.contains("ids i64 [1, ?]"), "{error}");
    }

    #[test]
    fn a_batch_divides_where_it_is_open_and_every_output_is_one_row_a_picture() {
        let open = || file(vec![value("x", DataType::Float, &[-1, 3, 8, 8])], &[]);
        assert!(open().batch_divides());
        assert!(!file(vec![value("x", DataType::Float, &[4, 3, 8, 8])], &[]).batch_divides());
        let with = |shape: Option<Vec<Option<usize>>>| {
            let mut model = open();
            let port = Port { shape, ..model.outputs[0].clone() };
            model.outputs.push(port);
            model.batch_divides()
        };
        assert!(with(None) && with(Some(vec![None, Some(7)])));
        assert!(!with(Some(vec![])) && !with(Some(vec![Some(1), Some(7)])));
    }

    #[test]
    fn weights_in_other_files_count_as_they_will_in_memory() {
        let mut model = file(vec![], &[]);
        let bytes = model.bytes;
        assert_eq!(model.weight_bytes(), bytes);
        model.graph.initializer[0].data_location = 1;
        assert_eq!(model.weight_bytes(), bytes + 32);
    }

    #[test]
    fn labels_and_random_weights_are_read_from_the_properties() {
        let model = file(vec![], &[("resnext.labels", r#"["cat","dog"]"#), ("resnext.weights", "random")]);
        assert_eq!(model.labels().unwrap().unwrap(), ["cat", "dog"]);
        assert!(model.random_weights());
        let model = file(vec![], &[("resnext.labels", "cat, dog"), ("resnext.weights", "my.pth")]);
        assert!(model.labels().unwrap_err().to_string().contains("resnext.labels"));
        assert!(!model.random_weights());
    }

    #[test]
    fn the_origin_is_read_from_the_properties() {
        let model = file(vec![], &[("resnext.variant", "50_32x4d"), ("resnext.seed", "7")]);
        let found = model.origin().unwrap();
        assert_eq!(
            (found.variant.as_deref(), found.source_sha256, found.random_seed),
            (Some("50_32x4d"), None, Some(7))
        );
        assert_eq!(file(vec![], &[]).origin().unwrap(), Origin::default());
        let error = file(vec![], &[("resnext.seed", "-1")]).origin().unwrap_err().to_string();
        assert!(error.contains("resnext.seed"), "{error}");
    }

    #[test]
    fn what_is_no_model_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.onnx");
        for (bytes, said) in
            [(b"".as_slice(), "empty"), (b"\x08\x08", "no graph"), (b"some text, no model", "not an ONNX model")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = ModelFile::read(&path).unwrap_err().to_string();
            assert!(error.contains("odd.onnx") && error.contains(said), "{error}");
        }
        assert!(ModelFile::read(folder.path()).is_err(), "a folder");
        assert!(matches!(ModelFile::read(&folder.path().join("none")), Err(MetadataError::Io { .. })));
    }

    #[test]
    fn precision_is_the_coarsest_in_the_file() {
        let half = TensorProto { data_type: DataType::Float16 as i32, ..Default::default() };
        let single = TensorProto { data_type: DataType::Float as i32, ..Default::default() };
        let graph = GraphProto { initializer: vec![half, single], ..Default::default() };
        assert_eq!(precision(&graph), Precision::F16);
        let node = NodeProto { op_type: "QLinearConv".into(), ..Default::default() };
        assert_eq!(precision(&GraphProto { node: vec![node], ..graph }), Precision::Int8);
    }
}
