//! Joins a graph and the source of its tensors: every tensor is accounted for, then read by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::{self, InferError, Inferred, Options, hidden};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::graph::Graph;
use crate::random::{NoRule, Random};
use crate::shape::ShapeError;
use crate::variant::Variant;
use crate::weight::Read;

/// Why a checkpoint does not go with a graph, or a tensor could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file itself.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The shapes are not those of the family.
    #[error("{path}: {source}")]
    Infer {
        /// The checkpoint.
        path: String,
        /// What does not fit.
        source: InferError,
    },
    /// The checkpoint is of another network than the one asked for.
    #[error("{path} holds {found}, not {asked}{difference}; ask for --variant {found}, or leave --variant out")]
    OtherVariant {
        /// The checkpoint.
        path: String,
        /// The variant asked for.
        asked: String,
        /// The variant its shapes give.
        found: String,
        /// What differs, where it is one thing.
        difference: String,
    },
    /// Another number of classes than the one asked for.
    #[error("{path}: fc.weight has {found} classes, not {asked}; leave --num-classes out, or use --no-top")]
    Classes {
        /// The checkpoint.
        path: String,
        /// Number asked for.
        asked: usize,
        /// Number in the file.
        found: usize,
    },
    /// No head, where one is needed.
    #[error("{path} has no fc.weight: it is a feature extractor; add --no-top, or --outputs c5")]
    NoHead {
        /// The checkpoint.
        path: String,
    },
    /// Tensors that the network needs and the file lacks.
    #[error("{path} is {variant} but lacks {}; the file is incomplete, save it again", list(names))]
    Missing {
        /// The checkpoint.
        path: String,
        /// The nearest architecture.
        variant: String,
        /// The tensors.
        names: Vec<String>,
    },
    /// Tensors that the network has no place for.
    #[error(
        "{path} is nearest to {variant} but also holds {}, which that network has not; it is another architecture, or was saved with extra parts: remove them and save again",
        list(names)
    )]
    Unexpected {
        /// The checkpoint.
        path: String,
        /// The nearest architecture.
        variant: String,
        /// The tensors.
        names: Vec<String>,
    },
    /// A tensor of the wrong shape.
    #[error(
        "{path}: '{name}' has shape {found:?} where {variant} has {expected:?}; it is another architecture, or damaged"
    )]
    Shape {
        /// The checkpoint.
        path: String,
        /// The nearest architecture.
        variant: String,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The image is too small for the network.
    #[error(transparent)]
    Architecture(#[from] ShapeError),
    /// A bug.
    #[error(transparent)]
    Random(#[from] NoRule),
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|n| format!("'{n}'")).collect();
    let more = names.len().saturating_sub(5);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// The architecture in a checkpoint, by its shapes.
///
/// # Errors
/// [`WeightsError::Infer`].
pub fn inferred(checkpoint: &Checkpoint) -> Result<Inferred, WeightsError> {
    let shape = |name: &str| checkpoint.get(name).map(|info| info.shape.as_slice());
    let path = || checkpoint.path().display().to_string();
    architecture::infer(shape).map_err(|source| WeightsError::Infer { path: path(), source })
}

/// Refuses a checkpoint of another network than `asked`.
///
/// # Errors
/// [`WeightsError::OtherVariant`].
pub fn check_variant(checkpoint: &Checkpoint, asked: &Variant, found: &Variant) -> Result<(), WeightsError> {
    if asked == found {
        return Ok(());
    }
    let same_but_groups = Variant { cardinality: asked.cardinality, group_width: asked.group_width, ..found.clone() };
    let difference = if same_but_groups == *asked {
        let (name, stage) = ("layer1.0.conv2.weight", 0);
        let shape = checkpoint.get(name).map(|info| info.shape.clone()).unwrap_or_default();
        let expected = [asked.width(stage), asked.group_width, 3, 3];
        format!(
            " (cardinality {} instead of {}: '{name}' is {shape:?}, not {expected:?})",
            found.cardinality, asked.cardinality
        )
    } else {
        String::new()
    };
    let path = checkpoint.path().display().to_string();
    Err(WeightsError::OtherVariant { path, asked: asked.to_string(), found: found.to_string(), difference })
}

/// Accounts for every tensor: all that `graph` reads are there with the right shape, and all that are there belong to
/// the network, read or not (a feature extractor leaves `fc` alone).
///
/// # Errors
/// [`WeightsError`], naming tensors.
pub fn account(checkpoint: &Checkpoint, variant: &Variant, graph: &Graph) -> Result<(), WeightsError> {
    let path = || checkpoint.path().display().to_string();
    let mut needed: BTreeMap<&str, &[usize]> = BTreeMap::new();
    for id in graph.weights() {
        if let Some(weight) = &graph.value(id).weight {
            weight.for_each_stored(&mut |name, shape| {
                needed.insert(name, shape);
            });
        }
    }
    let missing: Vec<String> =
        needed.keys().filter(|name| checkpoint.get(name).is_none()).map(|name| name.to_string()).collect();
    if !missing.is_empty() {
        return Err(WeightsError::Missing { path: path(), variant: variant.to_string(), names: missing });
    }
    for (name, expected) in &needed {
        let found = checkpoint.get(name).map(|info| info.shape.as_slice()).unwrap_or_default();
        if found != *expected {
            return Err(WeightsError::Shape {
                path: path(),
                variant: variant.to_string(),
                name: name.to_string(),
                found: found.to_vec(),
                expected: expected.to_vec(),
            });
        }
    }
    let mut options = Options::classifier(variant);
    let hidden = (0..).take_while(|index| checkpoint.get(&format!("{}.weight", hidden(*index))).is_some());
    options.hidden = hidden.map(|_| 1).collect();
    let whole = architecture::build(variant, &options)?;
    let mut belongs = BTreeSet::new();
    for id in whole.weights() {
        if let Some(weight) = &whole.value(id).weight {
            weight.for_each_stored(&mut |name, _| {
                belongs.insert(name.to_string());
            });
        }
    }
    // BatchNorm2d counts its training steps, and an averaged model its updates, in tensors without use for inference.
    let ignored = |name: &str| name.ends_with(".num_batches_tracked") || name == "n_averaged";
    let unexpected: Vec<String> = checkpoint
        .tensors()
        .iter()
        .map(|info| info.name.clone())
        .filter(|name| !belongs.contains(name) && !ignored(name))
        .collect();
    if unexpected.is_empty() {
        return Ok(());
    }
    Err(WeightsError::Unexpected { path: path(), variant: variant.to_string(), names: unexpected })
}

/// Where a build's tensors come from.
pub enum Origin<'a> {
    /// A checkpoint.
    Checkpoint(&'a Checkpoint),
    /// Seeded initialisation.
    Random(Random),
}

/// Reads tensors by name; remembers the last one where recipes take many slices of it in a row.
pub struct Source<'a> {
    origin: Origin<'a>,
    /// `None`: do not remember.
    last: Option<Last>,
}

/// The last tensor read, as f32 or as f64.
#[derive(Default)]
struct Last {
    name: String,
    single: Vec<f32>,
    double: Vec<f64>,
}

impl<'a> Source<'a> {
    /// A source that holds nothing.
    pub fn new(origin: Origin<'a>) -> Self {
        Self { origin, last: None }
    }

    /// A source that keeps the last tensor, at the price of its memory.
    pub fn remembering(origin: Origin<'a>) -> Self {
        Self { origin, last: Some(Last::default()) }
    }

    fn origin_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        match &mut self.origin {
            Origin::Checkpoint(checkpoint) => Ok(checkpoint.read_f32(name)?),
            Origin::Random(random) => Ok(random.read_f32(name, shape)?),
        }
    }

    fn origin_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, WeightsError> {
        match &mut self.origin {
            Origin::Checkpoint(checkpoint) => Ok(checkpoint.read_f64(name)?),
            Origin::Random(random) => Ok(random.read_f64(name, shape)?),
        }
    }

    /// Whether a tensor is worth remembering: a normalisation's vectors come between the slices of one weight, and cost
    /// nothing to read again.
    fn remembers(&self, shape: &[usize]) -> bool {
        self.last.is_some() && shape.len() >= 2
    }
}

impl Read for Source<'_> {
    type Error = WeightsError;

    fn read_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        match &self.last {
            Some(last) if last.name == name && !last.single.is_empty() => return Ok(last.single.clone()),
            _ => {}
        }
        let data = self.origin_f32(name, shape)?;
        if self.remembers(shape) {
            self.last = Some(Last { name: name.into(), single: data.clone(), double: Vec::new() });
        }
        Ok(data)
    }

    fn read_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, WeightsError> {
        match &self.last {
            Some(last) if last.name == name && !last.double.is_empty() => return Ok(last.double.clone()),
            _ => {}
        }
        let data = self.origin_f64(name, shape)?;
        if self.remembers(shape) {
            self.last = Some(Last { name: name.into(), single: Vec::new(), double: data.clone() });
        }
        Ok(data)
    }
}
