//! Joins a graph and the source of its tensors: every tensor is accounted for, then read by name.

use std::collections::BTreeMap;

use crate::architecture::Inferred;
use crate::checkpoint::{Checkpoint, CheckpointError, TensorInfo, Undecided};
use crate::graph::Graph;
use crate::identity::{Other, identify, list};
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
    /// The tensors are not those of a network of the family.
    #[error("{path} {other}")]
    Other {
        /// The checkpoint.
        path: String,
        /// What they are, or what they are nearest to.
        other: Box<Other>,
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
    #[error(
        "{path} has no classifier under torchvision's name, fc.weight{}; --no-top or --outputs c5 builds the feature maps alone",
        fc(names)
    )]
    NoHead {
        /// The checkpoint.
        path: String,
        /// What there is under `fc`.
        names: Vec<String>,
    },
    /// A classifier of more parts than one layer.
    #[error("{path} also holds {} under 'fc', which is more than one layer", list(names))]
    Head {
        /// The checkpoint.
        path: String,
        /// The tensors.
        names: Vec<String>,
    },
    /// Tensors that the network needs and the file lacks.
    #[error("{path} is {variant} but lacks {}", list(names))]
    Missing {
        /// The checkpoint.
        path: String,
        /// The nearest architecture.
        variant: String,
        /// The tensors.
        names: Vec<String>,
    },
    /// A tensor of the wrong shape.
    #[error("{path}: '{name}' has shape {found:?} where {variant} has {expected:?}")]
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

/// What stands where the classifier's weight would.
fn fc(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" (it has {})", list(names)) }
}

/// The architecture in a checkpoint, by its shapes.
///
/// # Errors
/// [`WeightsError::Other`], and where the file leaves open which network or classifier is meant.
pub fn inferred(checkpoint: &Checkpoint) -> Result<Inferred, WeightsError> {
    if let Some(Undecided::Prefixes { .. }) = checkpoint.undecided() {
        checkpoint.decided()?;
    }
    let found = identified(checkpoint)
        .map_err(|other| WeightsError::Other { path: checkpoint.path().display().to_string(), other })?;
    checkpoint.decided()?;
    Ok(found)
}

/// As [`inferred`], whichever of several classifiers is meant.
///
/// # Errors
/// [`Other`].
pub fn identified(checkpoint: &Checkpoint) -> Result<Inferred, Box<Other>> {
    let of = |info: &'_ TensorInfo| (info.name.clone(), info.shape.clone());
    let all: Vec<(String, Vec<usize>)> = checkpoint.tensors().iter().map(of).collect();
    let shapes = |aside: &[String]| {
        let wanted = all.iter().filter(|(name, _)| !aside.contains(name));
        identify(&wanted.map(|(name, shape)| (name.as_str(), shape.as_slice())).collect())
    };
    match checkpoint.undecided() {
        // Of a network that is not of the family they are no classifiers, but parts that may give it away.
        Some(Undecided::Heads { tensors, .. }) => shapes(tensors).or_else(|_| shapes(&[])),
        _ => shapes(&[]),
    }
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
    // All else was identified; a classifier's tensors are needed or, in a feature extractor, left alone.
    let has_head = needed.keys().any(|name| name.starts_with("fc."));
    let extra = |name: &&str| has_head && name.starts_with("fc.") && !needed.contains_key(*name);
    let names: Vec<String> =
        checkpoint.tensors().iter().map(|info| info.name.as_str()).filter(extra).map(str::to_owned).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(WeightsError::Head { path: path(), names })
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
