//! A build from plan to file: the chain of the crate's modules, in order.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use onnx_file::element::ElementType;
use onnx_file::exit::Exit;
use serde::Serialize;

pub use crate::assemble::materialize::{Rounding, Safety, UNCHECKED};

use crate::architecture::{self, BlockForm, Output, StrideIn};
use crate::calibration::{Calibration, CalibrationError};
use crate::checkpoint::Choice;
use crate::export::{Versions, export};
use crate::graph::{Dim, Graph};
use crate::hub::{Event, Hub, HubError};
use crate::metadata::{Labels, Preprocess, Recipe};
use crate::passes::{self, Lowering, PassRun, UnknownNode};
use crate::published::{NameError, PublishedWeights};
use crate::shape::{ShapeError, cost};
use crate::target::Rationale;
use crate::tuning::TuningError;
use crate::validate::{GraphError, validate};
use crate::variant::{Variant, VariantError};
use crate::weights::{Origin, Source, WeightsError, account};

/// Ten times the largest published network; what is beyond is probably a typo, and would fill the disk.
pub const MOST_PARAMETERS: u64 = 8_000_000_000;

/// Where the tensors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// A checkpoint file.
    File(PathBuf),
    /// A published checkpoint, from torch's cache or downloaded to it.
    Published {
        /// Which.
        known: &'static PublishedWeights,
        /// The cache and its server.
        hub: Hub,
    },
    /// Seeded initialisation.
    Random {
        /// Of all tensors.
        seed: u64,
    },
}

/// Where the model goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file, which appears whole or not at all.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// When weights go into a file of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum External {
    /// Never; a model of 2 GiB or more is refused.
    Never,
    /// Where protobuf's limit needs it.
    #[default]
    Auto,
    /// Always.
    Always,
}

/// Preprocessing to store.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PreprocessChoice {
    /// That of the checkpoint where it is a known one, else torchvision's first recipe, and say so.
    #[default]
    Known,
    /// By name.
    Recipe(Recipe),
    /// As given.
    Given(Preprocess),
}

/// Labels to store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LabelsChoice {
    /// ImageNet's where the checkpoint is a known one, else none.
    #[default]
    Known,
    /// ImageNet's.
    ImageNet,
    /// As given.
    Given(Labels),
}

/// All that a build is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The network; `None` takes what the checkpoint holds.
    pub variant: Option<Variant>,
    /// Its tensors.
    pub weights: Weights,
    /// Which part of a checkpoint is meant.
    pub choice: Choice,
    /// Where the model goes.
    pub destination: Destination,
    /// Overwrite an existing file.
    pub force: bool,
    /// Classes; `None` takes the checkpoint's or the variant's own.
    pub classes: Option<usize>,
    /// Outputs; empty means logits.
    pub outputs: Vec<Output>,
    /// The last stage's feature map instead.
    pub no_top: bool,
    /// Batch extent.
    pub batch: Dim,
    /// Height and width; `None` is the variant's own.
    pub image: Option<[Dim; 2]>,
    /// Form of grouped blocks.
    pub block_form: BlockForm,
    /// Place of the stride.
    pub stride_in: StrideIn,
    /// Passes to run.
    pub lowering: Lowering,
    /// What they were chosen for.
    pub rationale: Rationale,
    /// Ranges of values to check against the limit of f16; refused where the lowering is not to f16.
    pub calibration: Option<Calibration>,
    /// Versions to declare.
    pub versions: Versions,
    /// When weights go into a file of their own.
    pub external: External,
    /// Preprocessing to store.
    pub preprocess: PreprocessChoice,
    /// Labels to store.
    pub labels: LabelsChoice,
}

impl Plan {
    /// The plan that flags left at their defaults give.
    pub fn new(variant: Option<Variant>, weights: Weights, destination: Destination) -> Self {
        Self {
            variant,
            weights,
            choice: Choice::default(),
            destination,
            force: false,
            classes: None,
            outputs: Vec::new(),
            no_top: false,
            batch: Dim::Named("batch".into()),
            image: None,
            block_form: BlockForm::default(),
            stride_in: StrideIn::default(),
            lowering: Lowering::default(),
            rationale: Rationale::default(),
            calibration: None,
            versions: Versions::default(),
            external: External::default(),
            preprocess: PreprocessChoice::default(),
            labels: LabelsChoice::default(),
        }
    }
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither network nor weights were named.
    #[error("nothing to build: give --variant, for example --variant 50_32x4d, or --weights FILE")]
    Nothing,
    /// A request that contradicts itself or the network.
    #[error("{0}")]
    Request(String),
    /// No such network.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// No such published weights.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The published weights could not be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The checkpoint.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file's digest is not what its name promises.
    #[error(
        "{path} should have a SHA-256 that starts with {expected} and has {found}: the download is damaged or the file was renamed; fetch it again, or rename it if it is your own"
    )]
    Digest {
        /// The checkpoint.
        path: String,
        /// What the name promises.
        expected: String,
        /// The digest, in hex.
        found: String,
    },
    /// The checkpoint could not be read for its digest.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The checkpoint.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A weight that came out infinite or not a number.
    #[error(
        "'{name}' is not finite at index {index} after {passes}; the checkpoint's normalisation statistics are broken, or try --no-fold-bn"
    )]
    NotFinite {
        /// The weight.
        name: String,
        /// Flat index.
        index: usize,
        /// Passes that ran.
        passes: String,
    },
    /// A weight that f16 cannot hold.
    #[error(
        "'{name}' is {value} at index {index}, and f16 ends at {limit}; keep its node in f32 with --keep-f32 {node}, or build with --dtype f32",
        limit = ElementType::F16.max_finite()
    )]
    Overflow {
        /// The weight.
        name: String,
        /// Flat index.
        index: usize,
        /// The number there.
        value: f64,
        /// The node that uses it.
        node: String,
    },
    /// A node to be kept in f32 that is not there.
    #[error(transparent)]
    Keep(#[from] UnknownNode),
    /// The network does not fit the image.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A bug in a pass.
    #[error("internal error: a pass left an invalid graph: {0}")]
    Graph(#[from] GraphError),
    /// A bug in a shape.
    #[error("internal error: {0}")]
    Internal(String),
    /// More than 2 GiB with external data forbidden.
    #[error(
        "{variant} takes {bytes} bytes, more than the 2,147,483,647 a protobuf file can hold; use --external-data auto"
    )]
    TooLarge {
        /// The network.
        variant: String,
        /// Bytes of the model.
        bytes: u64,
    },
    /// The tuning file.
    #[error(transparent)]
    Tuning(#[from] TuningError),
    /// The calibration file, or what it speaks against.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The output could not be written.
    #[error("cannot write {path}: {source}; the old file, if any, is as it was")]
    Output {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BuildError {
    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Nothing | Self::Request(_) | Self::Variant(_) | Self::Name(_) => Exit::Usage,
            Self::TooLarge { .. } | Self::Shape(_) | Self::Keep(_) => Exit::Usage,
            Self::Hub(error) => error.exit(),
            Self::Tuning(_) | Self::Weights(_) | Self::Digest { .. } | Self::Read { .. } => Exit::BadInput,
            Self::NotFinite { .. } | Self::Overflow { .. } | Self::Calibration(_) => Exit::BadInput,
            // The reader closed the pipe: it has what it wanted.
            Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Output { .. } => Exit::Output,
            Self::Graph(_) | Self::Internal(_) => Exit::Internal,
        }
    }
}

/// What a build did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Canonical name of the network.
    pub variant: String,
    /// "random (seed 0)", or the checkpoint's file name and container.
    pub weights: String,
    /// SHA-256 of the checkpoint, in hex.
    pub weights_sha256: Option<String>,
    /// Trainable parameters of the network as built, before folding.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Type that the graph computes in.
    pub dtype: &'static str,
    /// What is known of its safety, where that is f16.
    pub f16: Option<Safety>,
    /// Provider or measurement that the passes were chosen for.
    pub target: String,
    /// Why they were chosen, one sentence each.
    pub reasons: Vec<String>,
    /// Passes that ran.
    pub passes: Vec<PassRun>,
    /// Files written, the model last.
    pub files: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Seconds from plan to file.
    pub seconds: f64,
    /// Caveats.
    pub notes: Vec<String>,
}

/// How far a build has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// Its weights are being fetched.
    Fetching(Event<'a>),
    /// Bytes of weights written.
    Writing {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// Builds what `plan` asks for; `progress` is called during a download and after each weight.
///
/// # Errors
/// [`BuildError`]; no output is left behind, and an old one stays as it was.
pub fn build(plan: &Plan, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Summary, BuildError> {
    let start = Instant::now();
    let resolved = crate::assemble::resolve::resolve(plan, progress)?;
    let mut graph = architecture::build(&resolved.variant, &resolved.options)?;
    if let Some(checkpoint) = &resolved.checkpoint {
        account(checkpoint, &resolved.variant, &graph)?;
    }
    let cost = cost(&at_usual_size(&resolved)?);
    if cost.parameters > MOST_PARAMETERS {
        let (variant, parameters) = (&resolved.variant, cost.parameters);
        return Err(BuildError::Request(format!(
            "{variant} would have {parameters} parameters; at most {MOST_PARAMETERS} are written (the largest published network of the family has 828 million)"
        )));
    }
    plan.rationale.check(&passes::stages(&graph)).map_err(BuildError::Request)?;
    let applied = passes::run(&mut graph, &plan.lowering)?;
    let valid = validate(&graph)?;
    let name = resolved.variant.to_string();
    let exported = export(valid, &name, plan.versions);
    let origin = match &resolved.checkpoint {
        Some(checkpoint) => Origin::Checkpoint(checkpoint),
        None => Origin::Random(resolved.random),
    };
    let source = match plan.block_form {
        BlockForm::Grouped => Source::new(origin),
        BlockForm::Concat | BlockForm::Branches => Source::remembering(origin),
    };
    let written = crate::assemble::write::write(plan, &resolved, exported, valid, source, &applied, progress)?;
    let mut notes = resolved.notes;
    notes.extend(written.notes);
    Ok(Summary {
        variant: name,
        weights: resolved.weights_name,
        weights_sha256: written.sha256,
        parameters: cost.parameters,
        multiply_adds: cost.multiply_adds,
        dtype: if plan.lowering.half.is_some() { "f16" } else { "f32" },
        f16: written.safety,
        target: plan.rationale.target.clone(),
        reasons: plan.rationale.reasons.clone(),
        passes: applied,
        files: written.files,
        bytes: written.bytes,
        seconds: seconds(start.elapsed()),
        notes,
    })
}

/// The network on images of a fixed size, to count its multiply-adds: the size asked for, else the variant's own.
fn at_usual_size(resolved: &crate::assemble::resolve::Resolved) -> Result<Graph, ShapeError> {
    let mut options = resolved.options.clone();
    let usual = resolved.variant.default_image_size();
    for extent in options.image.iter_mut().filter(|extent| extent.fixed().is_none()) {
        *extent = Dim::Fixed(usual);
    }
    architecture::build(&resolved.variant, &options)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
