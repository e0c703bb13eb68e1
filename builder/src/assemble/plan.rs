//! What a build is asked for.

use std::path::PathBuf;

use crate::architecture::{BlockForm, Output, StrideIn};
use crate::calibration::Calibration;
use crate::checkpoint::Choice;
use crate::ends::Ends;
use crate::export::Versions;
use crate::graph::Dim;
use crate::hub::{Hub, Remote};
use crate::output::{DataName, External};
use crate::passes::Lowering;
use crate::published::PublishedWeights;
use crate::target::Rationale;
use crate::variant::Variant;
use onnx_file::metadata::{Labels, Preprocess, Recipe};

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
    /// A checkpoint on a server, from the cache that it belongs in or downloaded to it.
    Remote {
        /// Which.
        remote: Remote,
        /// The cache of single files, and patience with servers.
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
    /// First hex digits of the SHA-256 that the file has to have.
    pub sha256: Option<String>,
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
    /// Name of that file; by default it follows from the model's name and the content.
    pub data_name: Option<DataName>,
    /// Names, layout and type of what goes in and comes out.
    pub ends: Ends,
    /// Preprocessing to store.
    pub preprocess: PreprocessChoice,
    /// Labels to store.
    pub labels: LabelsChoice,
    /// Compare the finished model with the checkpoint before it takes its name.
    pub verify: bool,
    /// Files that were read for this plan, beside the weights: the output can be none of them.
    pub files: Vec<PathBuf>,
}

impl Plan {
    /// The plan that flags left at their defaults give.
    pub fn new(variant: Option<Variant>, weights: Weights, destination: Destination) -> Self {
        Self {
            variant,
            weights,
            sha256: None,
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
            data_name: None,
            ends: Ends::default(),
            preprocess: PreprocessChoice::default(),
            labels: LabelsChoice::default(),
            verify: false,
            files: Vec::new(),
        }
    }
}
