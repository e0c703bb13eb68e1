//! Whether a model computes what a checkpoint means.
//!
//! The model's own graph, whatever passes and other programs have made of it, runs in f64 beside the checkpoint's
//! unfolded forward pass, on the same seeded images. What is compared is functions, so the model may have other
//! names, merged groups or folded normalisations. It runs twice: as it is, and with every ReLU made leaky on both sides,
//! so that no wrong weight hides behind a channel that these images leave at zero.
//!
//! An int8 model is compared with the checkpoint quantized alike (`verify/integer.rs`).
//!
//! A model with f16 weights is compared in two steps (`verify/half.rs`), since rounding moves the function by far more
//! than a wrong weight may.

mod constants;
mod half;
mod integer;
mod memory;
mod result;

use constants::Either;
pub use constants::{Constants, Different};
use result::distance;
pub use result::{Basis, Compared, TOLERANCE, Verdict, VerifyError};

use std::path::Path;

use ndarray::{Array4, ArrayD};
use onnx_file::budget;
use onnx_file::metadata::Metadata;
use onnx_file::proto::ModelProto;

use crate::architecture::StrideIn;
use crate::checkpoint::{Checkpoint, Choice};
use crate::ends::strip;
use crate::graph::{Dim, Graph, Op};
use crate::import::{Imported, import};
use crate::random::standard_normal;
use crate::reference::{Activation, Forward, evaluate, forward};
use crate::sidecar::Sidecar;
use crate::validate::validate;
use crate::weight::Read;
use crate::weights::{Origin, Source, inferred};

/// Compares the model at `model` with the checkpoint at `weights` on two images of seed `seed`; `progress` is called with
/// the convolutions computed so far and all of them.
///
/// # Errors
/// [`VerifyError`] where one of them cannot be read or they cannot be compared; a difference is a verdict.
pub fn verify(
    model: &Path,
    weights: &Path,
    choice: &Choice,
    stride_in: StrideIn,
    seed: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verdict, VerifyError> {
    let proto = onnx_file::read::read_whole(model)?.model;
    let checkpoint = Checkpoint::open_with(weights, choice)?;
    let beside = Sidecar::beside(weights)?;
    if let Some((otherwise, file)) = beside.otherwise {
        return Err(VerifyError::Otherwise { path: file.display().to_string(), otherwise });
    }
    let stride_in = if beside.stride_in_1x1 { StrideIn::Conv1x1 } else { stride_in };
    compare(proto, &model.display().to_string(), Meaning { checkpoint: &checkpoint, stride_in }, seed, progress)
}

/// What a model should compute.
#[derive(Clone, Copy)]
pub(crate) struct Meaning<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) stride_in: StrideIn,
}

/// As [`verify`], of a model in memory that is called `name`.
pub(crate) fn compare(
    mut proto: ModelProto,
    name: &str,
    Meaning { checkpoint, stride_in }: Meaning<'_>,
    seed: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verdict, VerifyError> {
    let name = || name.to_owned();
    let found = inferred(checkpoint)?;
    let head = found.head();
    let (variant, channels) = (found.variant, found.channels);
    let usual = variant.default_image_size();
    let mut ours = half::is_ours(&proto);
    let says = Metadata::of(&proto);
    // What stands around the network has no counterpart in the checkpoint; it goes only where it does what the file says.
    strip(&mut proto);
    let Imported { graph, weights: mut initializers } = import(proto, Some([2, channels, usual, usual]))
        .map_err(|source| VerifyError::Import { model: name(), source })?;
    let valid = validate(&graph).map_err(|source| VerifyError::Graph { model: name(), source })?;
    check_size(&graph).map_err(|(value, elements)| VerifyError::TooLarge { model: name(), value, elements })?;
    // The checkpoint's own forward pass holds as much beside it, its stages included.
    let memory = memory::peak(&graph, std::thread::available_parallelism().map_or(1, usize::from) as u64);
    budget::check("comparing on images of this size", memory.saturating_mul(2))
        .map_err(|source| VerifyError::Memory { model: name(), source })?;
    let images = images(&graph, seed);
    let is_integer = integer::has_integers(&graph);
    let network = if is_integer {
        let int8 = if ours { integer::read(&graph, &mut initializers, &says) } else { None };
        ours = int8.is_some();
        let mut source = Source::remembering(Origin::Checkpoint(checkpoint));
        integer::lowered(&graph, &variant, &head, stride_in, &images, int8, &mut source)?
    } else {
        half::Lowered::like(&graph, &variant, &head, stride_in, &images)?
    };
    let rounded = (is_integer || half::has_half(&graph)).then_some(&network);
    let basis = match (rounded, ours) {
        (None, _) => Basis::Exact,
        (Some(_), true) if is_integer => Basis::Quantized,
        (Some(_), true) => Basis::Rounded,
        (Some(_), false) => Basis::WithinRounding,
    };
    let forwards = if rounded.is_some() { 3 } else { 1 };
    // Integers end at 0 behind a ReLU, leaky or not.
    let activations = if is_integer { &[Activation::Relu][..] } else { &[Activation::Relu, Activation::Leaky] };
    let total = activations.len() as u64 * (convolutions(&graph) + forwards * convolutions(network.graph()));
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(done, total);
    };
    let mut compared = Vec::new();
    for &activation in activations {
        let mut model = Watched { source: &mut initializers, step: &mut step };
        let outputs = evaluate(valid, &mut model, &images, activation)
            .map_err(|source| VerifyError::Tensor { model: name(), source })?;
        let mut source = Source::remembering(Origin::Checkpoint(checkpoint));
        let mut source = Watched { source: &mut source, step: &mut step };
        let exact = forward(&variant, stride_in, &head, &mut source, &images, activation)?;
        let lowered = rounded.map(|r| r.evaluate(&mut source, &images, activation, &exact)).transpose()?;
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
                (Basis::Rounded | Basis::Quantized, Some(twin), _) => (distance(output, twin), TOLERANCE),
                (_, _, rounding) => (distance(output, expected), TOLERANCE.max(2.0 * rounding.unwrap_or(0.0))),
            };
            let leaky = activation == Activation::Leaky;
            compared.push(Compared { output: label, against, leaky, relative_l2, rounding_l2, tolerance });
        }
    }
    let constants = match basis {
        Basis::Quantized => {
            Some(network.constants(&graph, &mut initializers, checkpoint).map_err(|error| match error {
                Either::Model(source) => VerifyError::Tensor { model: name(), source },
                Either::Checkpoint(error) => error.into(),
            })?)
        }
        _ => None,
    };
    let same_constants = constants.as_ref().is_none_or(|constants| constants.different.is_empty());
    Ok(Verdict {
        schema_version: 1,
        model: name(),
        weights: checkpoint.path().display().to_string(),
        variant: variant.to_string(),
        image_size: [images.dim().2, images.dim().3],
        seed,
        tolerance: compared.iter().map(|c| c.tolerance).fold(TOLERANCE, f64::max),
        basis,
        equal: compared.iter().all(Compared::equal) && same_constants,
        constants,
        outputs: compared,
    })
}

/// A source of tensors that tells of each convolution's weight: with it comes the work.
struct Watched<'a, R> {
    source: &'a mut R,
    step: &'a mut dyn FnMut(),
}

impl<R: Read> Read for Watched<'_, R> {
    type Error = R::Error;

    fn read_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, R::Error> {
        self.source.read_f32(name, shape)
    }

    fn read_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, R::Error> {
        if shape.len() == 4 {
            (self.step)();
        }
        self.source.read_f64(name, shape)
    }
}

fn convolutions(graph: &Graph) -> u64 {
    graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_))).count() as u64
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

/// The checkpoint's output of the same shape, but for trailing extents of 1.
fn counterpart<'a>(exact: &'a Forward, output: &ArrayD<f64>) -> Option<(String, &'a ArrayD<f64>)> {
    let kept = |shape: &[usize]| shape.iter().rposition(|extent| *extent != 1).map_or(0, |last| last + 1);
    let trimmed = |array: &ArrayD<f64>| array.shape()[..kept(array.shape())].to_vec();
    let logits = exact.logits.iter().map(|logits| ("logits".to_string(), logits));
    let stages = exact.stages.iter().enumerate().map(|(index, stage)| (format!("c{}", index + 2), stage));
    logits.chain(stages).find(|(_, expected)| trimmed(expected) == trimmed(output))
}
