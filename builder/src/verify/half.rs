//! A checkpoint's network in the form of a model, and what rounding to f16 makes of it: the tolerance of an f16 model, or
//! what it must equal.
//!
//! The checkpoint is lowered in the model's own form: each normalisation folded or not, its blocks split or not, and in f16 but where the
//! model has f32 weights. Run in f64, that is a function of its own, and a file of this program computes it to 1e-6, so
//! that a wrong epsilon, which moves an output less than all roundings together, does not hide among them. That the
//! lowering before rounding is the checkpoint's own forward pass is checked each time, so that a fault of the passes
//! does not hide on both sides.
//!
//! Another program rounds at other places, such as before folding. Its file has to come within twice the distance that
//! this rounding makes: two independent roundings of one size are sqrt(2) apart.

use std::collections::HashSet;

use ndarray::Array4;
use onnx_file::element::ElementType;
use onnx_file::metadata::{Key, Metadata};
use onnx_file::proto::ModelProto;

use super::constants::{Constants, Either, compare};
use super::result::{TOLERANCE, VerifyError, distance};
use crate::architecture::{self, BlockForm, Options, Output, StrideIn};
use crate::checkpoint::Checkpoint;
use crate::graph::{Dim, Graph, Op, ValueId};
use crate::passes::{fold_bn_where, to_f16};
use crate::precision::Half;
use crate::reference::{Activation, Forward, evaluate};
use crate::validate::validate;
use crate::variant::Variant;
use crate::weight::Read;
use crate::weights::{Origin, Source, WeightsError};

/// Whether this program rounded the weights of `model`.
pub(super) fn is_ours(model: &ModelProto) -> bool {
    model.producer_name == "resnext-build" && Metadata::of(model).get(Key::Dtype).is_some()
}

/// Whether a weight of `graph` is f16.
pub(super) fn has_half(graph: &Graph) -> bool {
    graph.weights().iter().any(|&id| graph.value(id).element == ElementType::F16)
}

/// A checkpoint's network in the form of a model, before and after its weights are rounded.
pub(super) struct Lowered {
    exact: Graph,
    rounded: Graph,
    /// Number of stages.
    stages: usize,
}

impl Lowered {
    /// The network `variant` in the form of `model`, for images of the given shape.
    pub(super) fn like(
        model: &Graph,
        variant: &Variant,
        head: &[usize],
        stride_in: StrideIn,
        images: &Array4<f64>,
    ) -> Result<Self, VerifyError> {
        let mut exact = network(model, variant, head, stride_in, images)?;
        let left = scales(model);
        fold_bn_where(&mut exact, |scale| !left.contains(scale));
        let mut rounded = exact.clone();
        let half = Half { keep_f32: kept(model, &exact), ..Half::default() };
        // Its names are the graph's own.
        let _ = to_f16(&mut rounded, &half);
        Ok(Self::new(exact, rounded, variant.blocks.len()))
    }

    /// A network of so many stages, before and after rounding.
    pub(super) fn new(exact: Graph, rounded: Graph, stages: usize) -> Self {
        Self { exact, rounded, stages }
    }

    /// The network before rounding.
    pub(super) fn graph(&self) -> &Graph {
        &self.exact
    }

    /// Compares the integers of `model` with those of the rounded network, one by one.
    pub(super) fn constants<M: Read>(
        &self,
        model: &Graph,
        of_model: &mut M,
        checkpoint: &Checkpoint,
    ) -> Result<Constants, Either<M::Error, WeightsError>> {
        let mut source = Source::remembering(Origin::Checkpoint(checkpoint));
        compare((model, of_model), (&self.rounded, &mut source))
    }

    /// What the network puts out with rounded weights; `exact` is the checkpoint's own forward pass.
    pub(super) fn evaluate<R: Read<Error = WeightsError>>(
        &self,
        source: &mut R,
        images: &Array4<f64>,
        activation: Activation,
        exact: &Forward,
    ) -> Result<Forward, VerifyError> {
        let mut run = |graph: &Graph| -> Result<Forward, VerifyError> {
            let valid =
                validate(graph).map_err(|source| VerifyError::Graph { model: "the checkpoint".into(), source })?;
            let mut stages = evaluate(valid, source, images, activation)?;
            let logits = (stages.len() > self.stages).then(|| stages.pop()).flatten();
            Ok(Forward { stages, logits })
        };
        let before = run(&self.exact)?;
        let pairs = before.stages.iter().zip(&exact.stages).enumerate();
        let stages = pairs.map(|(index, (found, exact))| (format!("c{}", index + 2), distance(found, exact)));
        let logits =
            before.logits.iter().zip(&exact.logits).map(|(found, exact)| ("logits".into(), distance(found, exact)));
        match stages.chain(logits).find(|(_, relative_l2)| *relative_l2 > TOLERANCE) {
            Some((output, relative_l2)) => Err(VerifyError::Lowering { output, relative_l2 }),
            None => run(&self.rounded),
        }
    }
}

/// The network `variant` in the block form of `model`, for images of the given shape: all stages, and its classifier.
pub(super) fn network(
    model: &Graph,
    variant: &Variant,
    head: &[usize],
    stride_in: StrideIn,
    images: &Array4<f64>,
) -> Result<Graph, VerifyError> {
    let (count, channels, height, width) = images.dim();
    let mut outputs: Vec<Output> = (1..=variant.blocks.len()).map(Output::Stage).collect();
    outputs.extend(head.last().map(|_| Output::Logits));
    let options = Options {
        batch: Dim::Fixed(count),
        image: [Dim::Fixed(height), Dim::Fixed(width)],
        channels,
        hidden: head.split_last().map(|(_, hidden)| hidden.to_vec()).unwrap_or_default(),
        classes: head.last().copied().unwrap_or(1),
        outputs,
        block_form: block_form(model),
        stride_in,
    };
    Ok(architecture::build(variant, &options)?)
}

/// The block form, by the operators that join the groups of a block; parts of an integer convolution are none.
fn block_form(model: &Graph) -> BlockForm {
    let is_float = |node: &crate::graph::Node| model.value(node.output).element.is_float();
    let joins = |op: Op| model.nodes.iter().any(|node| node.op == op && is_float(node));
    match (joins(Op::Sum), joins(Op::Concat)) {
        (true, _) => BlockForm::Branches,
        (false, true) => BlockForm::Concat,
        (false, false) => BlockForm::Grouped,
    }
}

/// The scales of the normalisations that the model still has: `optimize` folds in f32 and leaves those in f16.
fn scales(model: &Graph) -> HashSet<&str> {
    let norms = model.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm { .. }));
    norms.map(|node| model.value(node.inputs[1]).name.as_str()).collect()
}

/// The nodes of `lowered` that have f32 weights in `model`, where they have the same names.
fn kept(model: &Graph, lowered: &Graph) -> Vec<String> {
    let is_single = |id: &ValueId| {
        let value = model.value(*id);
        value.weight.is_some() && value.element == ElementType::F32
    };
    let single = model.nodes.iter().filter(|node| node.inputs.iter().any(is_single));
    let single: HashSet<&str> = single.map(|node| node.name.as_str()).collect();
    let nodes = lowered.nodes.iter().map(|node| node.name.clone());
    nodes.filter(|name| single.contains(name.as_str())).collect()
}
