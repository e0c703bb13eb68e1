//! What an inspection finds.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use onnx_file::digest;
use onnx_file::outline::OutlineError;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::{Alternative, Naming, Undecided};
use crate::identity::Other;
use crate::published::Published;
use crate::shape::ShapeError;
use crate::sidecar::Otherwise;

/// Version of the JSON form.
pub const SCHEMA_VERSION: u32 = 3;

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
    Checkpoint(Box<Weights>),
    /// A model.
    Onnx(Box<Onnx>),
}

/// What a checkpoint says beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weights {
    /// zip, legacy or safetensors.
    pub container: String,
    /// The key the weights lie under.
    pub nested_under: Option<String>,
    /// What was removed from names.
    pub prefix: Option<String>,
    /// Whose names the file has.
    pub naming: Naming,
    /// Other weights in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Alternative>,
    /// The classifier's linear layers, by their names in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classifier: Vec<String>,
    /// What has to be chosen before a model can be built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Undecided>,
    /// Tensors that are no part of the network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Objects beside the weights that were passed over unbuilt, `key: class`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
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
    pub(super) fn image(&self) -> Option<[usize; 2]> {
        let (height, width) = match self.shape.as_deref()? {
            // Channels last: no plane of a network is three pixels wide.
            [_, Extent::Fixed(height), Extent::Fixed(width), Extent::Fixed(3)] => (height, width),
            [_, _, Extent::Fixed(height), Extent::Fixed(width)] => (height, width),
            _ => return None,
        };
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
    Unknown(Unknown),
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

/// Why there is no architecture.
#[derive(Debug, Clone)]
pub enum Unknown {
    /// The tensors of a checkpoint are those of something else.
    Checkpoint(Box<Other>),
    /// The graph of a model is no plain ResNet's.
    Graph {
        /// What of it.
        reason: String,
    },
    /// Several networks are in a checkpoint, and nothing says which one is meant.
    Undecided {
        /// What there is to choose.
        reason: String,
    },
    /// The file beside the weights tells of a network that only looks like one of the family.
    Otherwise {
        /// The configuration.
        file: PathBuf,
        /// What it says.
        otherwise: Otherwise,
    },
    /// The file beside the weights, which may tell of another network, cannot be read.
    Beside {
        /// Which, and why.
        reason: String,
    },
    /// It does not fit its own images.
    Image(ShapeError),
}

impl Serialize for Unknown {
    /// A code and the sentence.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let code = match self {
            Self::Checkpoint(_) => "checkpoint",
            Self::Graph { .. } => "graph",
            Self::Undecided { .. } => "undecided",
            Self::Otherwise { .. } => "otherwise",
            Self::Beside { .. } => "beside",
            Self::Image(_) => "image",
        };
        let mut fields = serializer.serialize_struct("Unknown", 2)?;
        fields.serialize_field("code", code)?;
        fields.serialize_field("text", &self.to_string())?;
        fields.end()
    }
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
    pub(super) is_float: bool,
}

/// Elements of all `tensors` together. Files may declare any shapes: what u64 does not hold is its largest number.
pub(super) fn elements<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> u64 {
    let of = |tensor: &Tensor| tensor.shape.iter().fold(1u64, |n, &extent| n.saturating_mul(extent as u64));
    tensors.map(of).fold(0, u64::saturating_add)
}
