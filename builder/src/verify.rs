//! Whether a model computes what a checkpoint means.
//!
//! The model's own graph, whatever passes and other programs have made of it, runs in f64 beside the checkpoint's
//! unfolded forward pass, on the same seeded images. What is compared is functions, so the model may have other
//! names, merged groups or folded normalisations. It runs twice: as it is, and with every ReLU made leaky on both sides,
//! so that no wrong weight hides behind a channel that these images leave at zero.
//!
//! A model with f16 weights is compared in two steps (`verify/half.rs`), since rounding moves the function by far more
//! than a wrong weight may.

mod half;
mod memory;

use std::path::Path;

use ndarray::{Array4, ArrayD};
use onnx_file::budget::{self, OverBudget};
use onnx_file::read::ReadError;
use serde::Serialize;

use crate::architecture::StrideIn;
use crate::checkpoint::{Checkpoint, CheckpointError, Choice};
use crate::graph::{Dim, Graph};
use crate::import::{ImportError, Imported, import};
use crate::random::standard_normal;
use crate::reference::{Activation, Forward, evaluate, forward};
use crate::shape::ShapeError;
use crate::validate::{GraphError, validate};
use crate::weights::{Origin, Source, WeightsError, inferred};

/// Largest relative L2 distance of an f32 model's output: rounding each weight once gives about 1e-7.
pub const TOLERANCE: f64 = 1e-6;

/// What a comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Version of this structure.
    pub schema_version: u32,
    /// The model.
    pub model: String,
    /// The checkpoint.
    pub weights: String,
    /// The architecture in the checkpoint.
    pub variant: String,
    /// Height and width of the images.
    pub image_size: [usize; 2],
    /// Seed of the images.
    pub seed: u64,
    /// Largest distance that passes.
    pub tolerance: f64,
    /// What the outputs are compared with.
    pub basis: Basis,
    /// Two for each output of the model.
    pub outputs: Vec<Compared>,
    /// Whether every output is within the tolerance.
    pub equal: bool,
}

/// What a model is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The checkpoint's forward pass.
    Exact,
    /// That of the checkpoint with each weight rounded to f16, as this program rounds.
    Rounded,
    /// The checkpoint's forward pass, within twice what rounding its weights to f16 does to it: another program's way of
    /// rounding is not known.
    WithinRounding,
}

/// One output.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Its name in the model.
    pub output: String,
    /// What it was compared with: logits, c2, c3, ...
    pub against: String,
    /// Whether every ReLU was replaced by a leaky one, so that weights behind dead channels count.
    pub leaky: bool,
    /// L2 norm of the difference over that of the checkpoint's; infinite where a value is not a number.
    pub relative_l2: f64,
    /// What rounding the weights to f16 does to it, by the same measure; none where the model has no f16 weights.
    pub rounding_l2: Option<f64>,
    /// Largest distance that passes.
    pub tolerance: f64,
}

impl Compared {
    /// Whether the distance passes.
    pub fn equal(&self) -> bool {
        self.relative_l2 <= self.tolerance
    }
}

/// Why no verdict was reached.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The model could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The model has parts that are not understood.
    #[error("{model}: {source}")]
    Import {
        /// The model.
        model: String,
        /// Which.
        source: ImportError,
    },
    /// The model's graph is damaged.
    #[error("{model}: {source}; the file is damaged, or was edited by hand")]
    Graph {
        /// The model.
        model: String,
        /// What is wrong.
        source: GraphError,
    },
    /// A value too large to compute.
    #[error(
        "{model}: the value '{value}' has {elements} elements, more than any image calls for; the file is damaged, or its image size is wrong"
    )]
    TooLarge {
        /// The model.
        model: String,
        /// The value.
        value: String,
        /// Its elements.
        elements: u64,
    },
    /// All values together.
    #[error("{model}: {source}")]
    Memory {
        /// The model.
        model: String,
        /// What takes how much.
        source: OverBudget,
    },
    /// A weight of the model is damaged.
    #[error("{model}: {source}")]
    Tensor {
        /// The model.
        model: String,
        /// Which.
        source: onnx_file::raw::TensorError,
    },
    /// The checkpoint.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The network does not fit the model's images.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A bug in a pass.
    #[error("internal error: lowering the checkpoint moves its {output} by {relative_l2:.1e} before any rounding")]
    Lowering {
        /// logits, c2, c3, ...
        output: String,
        /// By how much.
        relative_l2: f64,
    },
    /// An output that the network does not have.
    #[error("{model}: the output '{output}' of shape {shape:?} is neither logits nor a feature map of {variant}")]
    Output {
        /// The model.
        model: String,
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The network.
        variant: String,
    },
}

impl From<CheckpointError> for VerifyError {
    fn from(error: CheckpointError) -> Self {
        Self::Weights(error.into())
    }
}

/// Compares the model at `model` with the checkpoint at `weights` on two images of seed `seed`.
///
/// # Errors
/// [`VerifyError`] where one of them cannot be read or they cannot be compared; a difference is a verdict.
pub fn verify(
    model: &Path,
    weights: &Path,
    choice: &Choice,
    stride_in: StrideIn,
    seed: u64,
) -> Result<Verdict, VerifyError> {
    let name = || model.display().to_string();
    let proto = onnx_file::read::read_whole(model)?.model;
    let checkpoint = Checkpoint::open_with(weights, choice)?;
    let found = inferred(&checkpoint)?;
    let head = found.head();
    let (variant, channels) = (found.variant, found.channels);
    let usual = variant.default_image_size();
    let ours = half::is_ours(&proto);
    let Imported { graph, weights: mut initializers } = import(proto, Some([2, channels, usual, usual]))
        .map_err(|source| VerifyError::Import { model: name(), source })?;
    let valid = validate(&graph).map_err(|source| VerifyError::Graph { model: name(), source })?;
    check_size(&graph).map_err(|(value, elements)| VerifyError::TooLarge { model: name(), value, elements })?;
    // The checkpoint's own forward pass holds as much beside it, its stages included.
    let memory = memory::peak(&graph, std::thread::available_parallelism().map_or(1, usize::from) as u64);
    budget::check("comparing on images of this size", memory.saturating_mul(2))
        .map_err(|source| VerifyError::Memory { model: name(), source })?;
    let images = images(&graph, seed);
    let rounded = if half::has_half(&graph) {
        Some(half::Lowered::like(&graph, &variant, &head, stride_in, &images)?)
    } else {
        None
    };
    let basis = match (&rounded, ours) {
        (None, _) => Basis::Exact,
        (Some(_), true) => Basis::Rounded,
        (Some(_), false) => Basis::WithinRounding,
    };
    let mut compared = Vec::new();
    for activation in [Activation::Relu, Activation::Leaky] {
        let outputs = evaluate(valid, &mut initializers, &images, activation)
            .map_err(|source| VerifyError::Tensor { model: name(), source })?;
        let mut source = Source::remembering(Origin::Checkpoint(&checkpoint));
        let exact = forward(&variant, stride_in, &head, &mut source, &images, activation)?;
        let lowered = rounded.as_ref().map(|r| r.evaluate(&mut source, &images, activation, &exact)).transpose()?;
        for (&id, output) in graph.outputs.iter().zip(&outputs) {
            let label = graph.value(id).name.clone();
            let (against, expected) = counterpart(&exact, output).ok_or_else(|| VerifyError::Output {
                model: name(),
                output: label.clone(),
                shape: output.shape().to_vec(),
                variant: variant.to_string(),
            })?;
            let twin = lowered.as_ref().and_then(|lowered| counterpart(lowered, output)).map(|(_, twin)| twin);
            let rounding_l2 = twin.map(|twin| distance(twin, expected));
            let (relative_l2, tolerance) = match (basis, twin, rounding_l2) {
                (Basis::Rounded, Some(twin), _) => (distance(output, twin), TOLERANCE),
                (_, _, rounding) => (distance(output, expected), TOLERANCE.max(2.0 * rounding.unwrap_or(0.0))),
            };
            let leaky = activation == Activation::Leaky;
            compared.push(Compared { output: label, against, leaky, relative_l2, rounding_l2, tolerance });
        }
    }
    Ok(Verdict {
        schema_version: 1,
        model: name(),
        weights: weights.display().to_string(),
        variant: variant.to_string(),
        image_size: [images.dim().2, images.dim().3],
        seed,
        tolerance: compared.iter().map(|c| c.tolerance).fold(TOLERANCE, f64::max),
        basis,
        equal: compared.iter().all(Compared::equal),
        outputs: compared,
    })
}

/// Refuses values that no network of the family makes of an image, before they are computed: 2^28 elements are 2 GiB.
fn check_size(graph: &Graph) -> Result<(), (String, u64)> {
    for id in graph.inputs.iter().copied().chain(graph.nodes.iter().map(|n| n.output)) {
        let value = graph.value(id);
        let elements = value.shape.iter().filter_map(Dim::fixed).fold(1u64, |n, dim| n.saturating_mul(dim as u64));
        if elements > 1 << 28 {
            return Err((value.name.clone(), elements));
        }
    }
    Ok(())
}

/// Normal noise in the shape that `graph` takes.
fn images(graph: &Graph, seed: u64) -> Array4<f64> {
    let shape = graph.inputs.first().map(|&id| graph.value(id).shape.clone()).unwrap_or_default();
    let extent = |axis: usize| shape.get(axis).and_then(Dim::fixed).unwrap_or(0);
    let dims = (extent(0), extent(1), extent(2), extent(3));
    let values = standard_normal(seed, "verify", dims.0 * dims.1 * dims.2 * dims.3);
    Array4::from_shape_vec(dims, values.into_iter().map(f64::from).collect()).unwrap_or_default()
}

/// The checkpoint's output of the same shape.
fn counterpart<'a>(exact: &'a Forward, output: &ArrayD<f64>) -> Option<(String, &'a ArrayD<f64>)> {
    let logits = exact.logits.iter().map(|logits| ("logits".to_string(), logits));
    let stages = exact.stages.iter().enumerate().map(|(index, stage)| (format!("c{}", index + 2), stage));
    logits.chain(stages).find(|(_, expected)| expected.shape() == output.shape())
}

/// L2 norm of the difference over that of `exact`: 0 where nothing differs, be it all zero, and infinite where a value is
/// not a number.
fn distance(found: &ArrayD<f64>, exact: &ArrayD<f64>) -> f64 {
    let difference: f64 = found.iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum();
    if difference == 0.0 {
        return 0.0;
    }
    let distance = (difference / exact.iter().map(|v| v * v).sum::<f64>()).sqrt();
    if distance.is_nan() { f64::INFINITY } else { distance }
}
