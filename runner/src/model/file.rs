//! What an ONNX file says of itself: inputs, outputs, properties, precision. Its weights are never read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onnx_file::budget::OverBudget;
use onnx_file::bundle::{self, BundleError, Manifest};
use onnx_file::metadata::{Key, Labels, Metadata, Preprocess, PropertyError, Provenance};
use onnx_file::named::{self, NamedError};
use onnx_file::outline::{self, Outline, OutlineError};
use onnx_file::proto::{GraphProto, NodeProto};
use onnx_file::stream::{STANDARD_INPUT, Source as Streamed, is_stream};

use super::golden::Golden;
use super::precision::Precision;
use super::said::{self, Asked, Foreign, Source};
pub use onnx_file::port::{ImageInput, Layout, Port};

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file cannot be read, or is no ONNX model.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// Standard input was to hold it.
    #[error("cannot read standard input: {0}")]
    Input(#[source] io::Error),
    /// What only the file tells is needed, and there is none here.
    #[error("{model} has no file here, and what only its file tells is needed; give the .onnx file")]
    NoFile {
        /// What the model is called.
        model: String,
    },
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
    /// No output says the classes, or nothing tells which one does.
    #[error("{}: {reason}; its outputs are: {outputs}", path.display())]
    NotAClassifier {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// Names, types and shapes of the outputs.
        outputs: String,
    },
    /// A bundle that is not what was written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It names a file that it may not name, or that is not there.
    #[error("{}: {source}", path.display())]
    Named {
        /// The file.
        path: PathBuf,
        /// What it names, and why that is not read.
        source: NamedError,
    },
    /// What it calls for takes more memory than this process may.
    #[error("{}: {source}", path.display())]
    Budget {
        /// The file.
        path: PathBuf,
        /// What takes it.
        source: OverBudget,
    },
    /// A property that this program reads holds something else than it should.
    #[error("{}: {source}", path.display())]
    Property {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PropertyError,
    },
}

impl MetadataError {
    /// The same of a file that people know by another name.
    fn called(self, name: &Path) -> Self {
        match self {
            Self::Outline(error) => Self::Outline(error.called(name)),
            Self::Named { source, .. } => Self::Named { path: name.to_owned(), source },
            other => other,
        }
    }
}

/// An ONNX file without its weights.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Holds the copy of standard input, where it came from there, as long as anybody needs it.
    pub(crate) copy: Option<Arc<Streamed>>,
    /// Files that it names, its external data above all, links followed.
    pub named: Vec<PathBuf>,
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
    /// What it says under the keys of these programs.
    pub metadata: Metadata,
    /// What other programs say of it.
    pub foreign: Foreign,
    /// What the user says of it.
    pub asked: Asked,
    /// Shapes of inputs that were asked for, by name.
    pub shaped: BTreeMap<String, Vec<Option<usize>>>,
    /// What it has to make of given tensors before anything else is asked of it, where it is a bundle's.
    pub golden: Option<Golden>,
    /// The outputs that are fetched from a run; all where nothing is said.
    pub fetched: Option<Vec<String>>,
    /// Coarsest arithmetic found in the file.
    pub precision: Precision,
    /// The graph; its tensors have names, types and shapes but no contents.
    pub graph: GraphProto,
}

impl ModelFile {
    /// Reads everything but the weights of a file, or of what standard input holds where `path` is `-`; of a bundle, its
    /// most exact model, once every file is known to be what was written.
    ///
    /// # Errors
    /// [`MetadataError`] where the file cannot be read, is no ONNX model, or names a file that it may not name.
    pub fn read(path: &Path) -> Result<ModelFile, MetadataError> {
        if bundle::is_bundle(path) {
            return ModelFile::of_bundle(path);
        }
        if !is_stream(path) {
            return ModelFile::at(path);
        }
        let copy = Streamed::of(path).map_err(MetadataError::Input)?;
        let file = ModelFile::at(copy.path()).map_err(|error| error.called(Path::new(STANDARD_INPUT)))?;
        Ok(ModelFile { copy: Some(Arc::new(copy)), ..file })
    }

    fn of_bundle(path: &Path) -> Result<ModelFile, MetadataError> {
        let manifest = Manifest::checked(path)?;
        let reason = "it holds no model".into();
        let none = || BundleError::Manifest { path: path.join(bundle::MANIFEST), reason };
        let model = manifest.models.first().ok_or_else(none)?;
        let golden = Some(Golden::read(path, model)?);
        Ok(ModelFile { golden, ..ModelFile::at(&path.join(&model.path))? })
    }

    fn at(path: &Path) -> Result<ModelFile, MetadataError> {
        let outline = Outline::read(path)?;
        let (opset, producer) = (outline.opset().unwrap_or(0), outline.producer());
        let Outline { bytes, model, graph } = outline;
        // Whoever executes the model opens what it names.
        let named = named::resolve(path, &model, &graph);
        Ok(ModelFile {
            path: path.to_owned(),
            copy: None,
            named: named.map_err(|source| MetadataError::Named { path: path.to_owned(), source })?,
            bytes,
            producer,
            opset,
            inputs: Port::inputs(&graph),
            outputs: graph.output.iter().map(Port::of).collect(),
            metadata: Metadata::of(&model),
            foreign: Foreign::read(path, &model),
            asked: Asked::default(),
            shaped: BTreeMap::new(),
            golden: None,
            fetched: None,
            precision: Precision::of(&graph),
            graph,
        })
    }

    /// Every file that it or what is said of it was read from, or that a run opens.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let named = self.named.iter().chain(&self.asked.files).cloned();
        named.chain([self.path.clone()]).chain(said::beside_model(&self.path)).collect()
    }

    /// The one input that takes images: four dimensions, 1, 3 or 4 channels in the second or the last, f32, f16, f64 or u8.
    ///
    /// # Errors
    /// [`MetadataError::NotAnImageModel`] where there is none, or the model needs other inputs besides.
    pub fn image_input(&self) -> Result<ImageInput, MetadataError> {
        ImageInput::among(&self.inputs).map_err(|reason| self.not_an_image_model(reason.to_string()))
    }

    /// Why images cannot be given to this model, beside the inputs that it has.
    pub(crate) fn not_an_image_model(&self, reason: String) -> MetadataError {
        let inputs: Vec<String> = self.inputs.iter().map(Port::to_string).collect();
        let inputs = if inputs.is_empty() { "none".to_owned() } else { inputs.join("; ") };
        MetadataError::NotAnImageModel { path: self.shown(), reason, inputs }
    }

    /// How images are prepared, as the file or another program says, and which; `None` where nobody does.
    ///
    /// # Errors
    /// [`MetadataError::Property`] where that does not parse or makes no sense.
    pub fn preprocess(&self) -> Result<Option<(Preprocess, Option<&Source>)>, MetadataError> {
        let own = self.metadata.preprocess().map_err(|source| self.property(source))?;
        let foreign = self.foreign.preprocess.as_ref().map(|(preprocess, source)| (*preprocess, Some(source)));
        Ok(own.map(|own| (own, None)).or(foreign))
    }

    /// Names and WordNet ids of the classes; either is empty where nobody says.
    ///
    /// # Errors
    /// [`MetadataError::Property`] where a property is no JSON array of strings.
    pub fn labels(&self) -> Result<Labels, MetadataError> {
        if let Some(asked) = &self.asked.labels {
            return Ok(asked.clone());
        }
        let own = self.metadata.labels().map_err(|source| self.property(source))?;
        match self.labels_of_others() {
            Some((labels, _)) if own == Labels::default() => Ok(labels.clone()),
            _ => Ok(own),
        }
    }

    /// The labels that another program gives, where nobody else does. Those of a file that lies beside the model are
    /// another model's where they are not as many as an output's numbers.
    pub fn labels_of_others(&self) -> Option<&(Labels, Source)> {
        let own = self.metadata.labels().is_ok_and(|own| own != Labels::default());
        let open = |shape: &[Option<usize>]| shape.iter().skip(1).any(Option::is_none);
        let as_many = |count: usize| {
            let mut shapes = self.outputs.iter().map(|output| output.shape.as_deref());
            shapes.any(|shape| shape.is_none_or(|shape| open(shape) || shape.contains(&Some(count))))
        };
        let found = self.foreign.labels.as_ref().filter(|_| self.asked.labels.is_none() && !own)?;
        match found {
            (_, Source::Ultralytics) => Some(found),
            (labels, Source::Beside(_)) => as_many(labels.names.len()).then_some(found),
        }
    }

    /// Where the model comes from.
    ///
    /// # Errors
    /// [`MetadataError::Property`] where the seed is no number.
    pub fn origin(&self) -> Result<Provenance, MetadataError> {
        self.metadata.origin().map_err(|source| self.property(source))
    }

    fn property(&self, source: PropertyError) -> MetadataError {
        MetadataError::Property { path: self.shown(), source }
    }

    /// Whether a batch can be divided among several runs: the number of images is left open, and every output that is
    /// fetched is declared to be one row an image.
    pub fn batch_divides(&self) -> bool {
        let open = self.image_input().is_ok_and(|image| image.batch.is_none());
        let follows = |output: &Port| output.shape.as_deref().is_some_and(|shape| matches!(shape, [None, ..]));
        let fetched = |output: &&Port| self.fetched.as_ref().is_none_or(|names| names.contains(&output.name));
        open && self.outputs.iter().filter(fetched).all(follows)
    }

    /// Whether it is a network of `resnext-build`'s, in f32, lowered for no provider, with grouped convolutions.
    pub fn has_plain_groups(&self) -> bool {
        let lowered = [Key::Lowering, Key::Optimized].iter().any(|&key| self.metadata.get(key).is_some());
        let grouped =
            |node: &NodeProto| node.attribute.iter().any(|attribute| attribute.name == "group" && attribute.i > 1);
        let plain = self.metadata.get(Key::Variant).is_some() && !lowered && self.precision == Precision::F32;
        plain && self.copy.is_none() && self.graph.node.iter().any(grouped)
    }

    /// Whether `resnext-build` can make an int8 model of it: a file that lies here, with convolutions in f32.
    pub fn may_be_int8(&self) -> bool {
        let f32 = self.copy.is_none() && self.precision == Precision::F32;
        f32 && self.graph.node.iter().any(|node| node.op_type == "Conv")
    }

    /// Bytes of its weights, wherever they lie, and the rest of the file.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes.saturating_add(outline::external_bytes(&self.graph))
    }

    /// Its path, for people.
    pub fn shown(&self) -> PathBuf {
        self.copy.as_ref().map_or_else(|| self.path.clone(), |copy| copy.name().into())
    }

    /// File name, for people.
    pub fn name(&self) -> String {
        let shown = self.shown();
        shown.file_name().map_or_else(|| shown.display().to_string(), |name| name.to_string_lossy().into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
