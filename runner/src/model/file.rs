//! What an ONNX file says of itself: inputs, outputs, properties, precision. Its weights are never read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onnx_file::outline::{self, Outline, OutlineError};
use onnx_file::proto::GraphProto;
use serde::Serialize;

use super::precision::Precision;
pub use onnx_file::port::{ImageInput, Port};

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file cannot be read, or is no ONNX model.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// No input, or more than one, is a batch of images, or its extents are none that images can be brought to.
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
        let outline = Outline::read(path)?;
        let (opset, producer) = (outline.opset().unwrap_or(0), outline.producer());
        let Outline { bytes, model, graph } = outline;
        Ok(ModelFile {
            path: path.to_owned(),
            bytes,
            producer,
            opset,
            inputs: Port::inputs(&graph),
            outputs: graph.output.iter().map(Port::of).collect(),
            properties: model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect(),
            precision: Precision::of(&graph),
            graph,
        })
    }

    /// The one input that takes images: four dimensions, three channels in the second, f32 or f16.
    ///
    /// # Errors
    /// [`MetadataError::NotAnImageModel`] where there is none, or the model needs other inputs besides.
    pub fn image_input(&self) -> Result<ImageInput, MetadataError> {
        let refuse = |reason: &str| Err(self.not_an_image_model(reason.into()));
        let images: Vec<ImageInput> = self.inputs.iter().filter_map(Port::as_image).collect();
        match images.as_slice() {
            [image] if [image.batch, image.height, image.width].contains(&Some(0)) => refuse(
                "it takes empty batches or images, an extent is 0; export it with the real one, or leave it open",
            ),
            [image] if self.inputs.len() == 1 => Ok(image.clone()),
            [_] => refuse("it needs inputs besides the images"),
            [] if self.inputs.iter().any(Port::is_channels_last) => {
                refuse("it takes images as [N, H, W, 3]; only [N, 3, H, W] is supported")
            }
            [] => refuse("no input takes images, f32 or f16 [N, 3, H, W]"),
            _ => refuse("more than one input takes images"),
        }
    }

    /// Why images cannot be given to this model, beside the inputs that it has.
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

    /// Whether a batch can be divided among several runs: the number of images is left open, and every output is declared
    /// to be one row an image.
    pub fn batch_divides(&self) -> bool {
        let open = self.image_input().is_ok_and(|image| image.batch.is_none());
        let follows = |output: &Port| output.shape.as_deref().is_some_and(|shape| matches!(shape, [None, ..]));
        open && self.outputs.iter().all(follows)
    }

    /// Bytes of its weights, wherever they lie, and the rest of the file.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes.saturating_add(outline::external_bytes(&self.graph))
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

#[cfg(test)]
pub(crate) mod tests;

/// A warning where the weights are random, so that nobody takes the classes for a result.
pub(crate) fn weights_note(file: &ModelFile) -> Option<String> {
    file.random_weights().then(|| format!("the weights of {} are random: its classes mean nothing", file.name()))
}
