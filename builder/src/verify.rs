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

mod half;
mod integer;
mod memory;
mod result;

use result::distance;
pub use result::{Basis, Compared, TOLERANCE, Verdict, VerifyError};

use std::path::Path;

use ndarray::{Array4, ArrayD};
use onnx_file::budget;
use onnx_file::metadata::Metadata;

use crate::architecture::StrideIn;
use crate::checkpoint::{Checkpoint, Choice};
use crate::graph::{Dim, Graph};
use crate::import::{Imported, import};
use crate::random::standard_normal;
use crate::reference::{Activation, Forward, evaluate, forward};
use crate::validate::validate;
use crate::weights::{Origin, Source, inferred};

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
    let says = Metadata::of(&proto);
    let Imported { graph, weights: mut initializers } = import(proto, Some([2, channels, usual, usual]))
        .map_err(|source| VerifyError::Import { model: name(), source })?;
    let valid = validate(&graph).map_err(|source| VerifyError::Graph { model: name(), source })?;
    check_size(&graph).map_err(|(value, elements)| VerifyError::TooLarge { model: name(), value, elements })?;
    // The checkpoint's own forward pass holds as much beside it, its stages included.
    let memory = memory::peak(&graph, std::thread::available_parallelism().map_or(1, usize::from) as u64);
    budget::check("comparing on images of this size", memory.saturating_mul(2))
        .map_err(|source| VerifyError::Memory { model: name(), source })?;
    let images = images(&graph, seed);
    let mut ours = ours;
    let rounded = if integer::has_integers(&graph) {
        let int8 = if ours { integer::read(&graph, &mut initializers, &says) } else { None };
        ours = int8.is_some();
        let mut source = Source::remembering(Origin::Checkpoint(&checkpoint));
        Some(integer::lowered(&graph, &variant, &head, stride_in, &images, int8, &mut source)?)
    } else if half::has_half(&graph) {
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
