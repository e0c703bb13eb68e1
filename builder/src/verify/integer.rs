//! What rounding to 8-bit integers makes of a checkpoint: what an int8 model must equal, or its tolerance.
//!
//! A file of this program says which values are rounded, how, and what weights use of their 8 bits. The checkpoint is
//! quantized with the same, and in exact arithmetic the two are one function, so that a wrong weight does not hide among
//! roundings. Scales of values are taken from the file: that they go with the network is for a calibration to say.
//!
//! Another program rounds by other rules. Its file has to come within twice the distance that this program's rounding
//! makes, with the ranges that the values have on these images.

use std::collections::{BTreeMap, HashMap};

use clap::ValueEnum as _;
use ndarray::Array4;
use onnx_file::element::ElementType;
use onnx_file::metadata::{Key, Metadata};

use super::half::{Lowered, network};
use super::result::VerifyError;
use crate::architecture::StrideIn;
use crate::graph::{Graph, Op, ValueId};
use crate::import::Initializers;
use crate::passes::{fold_bn, quantize};
use crate::precision::int8::{Flavour, Int8, Parameters};
use crate::reference::{Activation, evaluate};
use crate::validate::validate;
use crate::variant::Variant;
use crate::weight::WeightRange;
use crate::weights::Source;

/// Whether values of `graph` are rounded to integers.
pub(super) fn has_integers(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| matches!(node.op, Op::QuantizeLinear { .. }))
}

/// How the values of a model are rounded, by their names; none where they are not in one of this program's forms.
pub(super) fn read(model: &Graph, weights: &mut Initializers, says: &Metadata) -> Option<Int8> {
    let range = says.get(Key::WeightRange).and_then(|name| WeightRange::from_str(name, false).ok())?;
    let mut int8 = Int8 { weights: range, ..Int8::default() };
    let mut parts: HashMap<ValueId, [f64; 2]> = HashMap::new();
    int8.keep_f32 = says.get(Key::KeepF32).and_then(|kept| serde_json::from_str(kept).ok()).unwrap_or_default();
    for node in model.nodes.iter().filter(|node| matches!(node.op, Op::QuantizeLinear { .. })) {
        let mut number = |input: usize| -> Option<f64> {
            let weight = model.value(*node.inputs.get(input)?).weight.as_ref()?;
            weight.eval_f64(weights).ok()?.first().copied()
        };
        let parameters = Parameters { scale: number(1)? as f32, zero_point: number(2)? as i32 };
        int8.flavour = match model.value(node.output).element {
            ElementType::I8 => Flavour::Symmetric,
            _ => Flavour::Unsigned,
        };
        let bounds = int8.flavour.bounds(parameters);
        int8.bounds.insert(model.value(node.inputs[0]).name.clone(), bounds);
        // The step to [N, C] has a name of its own wherever it was read.
        let made_by = model.nodes.iter().find(|made| made.output == node.inputs[0]);
        if let Some(flatten) = made_by.filter(|made| made.op == Op::Flatten) {
            int8.bounds.insert(model.value(flatten.inputs[0]).name.clone(), bounds);
        }
        parts.insert(node.output, bounds);
    }
    // A convolution in parts is joined under its own name, and its parts are rounded alike.
    for node in model.nodes.iter().filter(|node| node.op == Op::Concat) {
        if let Some(&bounds) = node.inputs.first().and_then(|part| parts.get(part)) {
            int8.bounds.insert(node.name.clone(), bounds);
        }
    }
    Some(int8)
}

/// The network `variant` in integers, as `int8` says or, without, with the ranges that its values have on `images`.
pub(super) fn lowered(
    model: &Graph,
    variant: &Variant,
    head: &[usize],
    stride_in: StrideIn,
    images: &Array4<f64>,
    int8: Option<Int8>,
    source: &mut Source<'_>,
) -> Result<Lowered, VerifyError> {
    let mut exact = network(model, variant, head, stride_in, images)?;
    fold_bn(&mut exact);
    let int8 = match int8 {
        Some(mut int8) => {
            with_results(&exact, &mut int8.bounds);
            int8
        }
        None => Int8 { bounds: measured(&exact, source, images)?, ..Int8::default() },
    };
    let mut rounded = exact.clone();
    // A node that was kept and is none of this network's would have been refused when the file was made.
    let _ = quantize(&mut rounded, &int8);
    Ok(Lowered::new(exact, rounded, variant.blocks.len()))
}

/// Gives what is rounded with what is before it the bounds that are known by that name: the Relu of a convolution in
/// parts, and the flattened mean.
fn with_results(graph: &Graph, bounds: &mut BTreeMap<String, [f64; 2]>) {
    let name = |id: ValueId| graph.value(id).name.clone();
    for flatten in graph.nodes.iter().filter(|node| node.op == Op::Flatten) {
        if let Some(&known) = bounds.get(&name(flatten.inputs[0])) {
            bounds.entry(name(flatten.output)).or_insert(known);
        }
    }
    for conv in graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_))) {
        let Some(&known) = bounds.get(&conv.name) else { continue };
        let relu = graph.nodes.iter().find(|node| node.op == Op::Relu && node.inputs[0] == conv.output);
        if let Some(relu) = relu {
            bounds.entry(name(relu.output)).or_insert(known);
        }
    }
}

/// The least and the largest of every value of `graph` on `images`.
fn measured(
    graph: &Graph,
    source: &mut Source<'_>,
    images: &Array4<f64>,
) -> Result<BTreeMap<String, [f64; 2]>, VerifyError> {
    let mut all = graph.clone();
    all.outputs = all.nodes.iter().map(|node| node.output).collect();
    let valid = validate(&all).map_err(|source| VerifyError::Graph { model: "the checkpoint".into(), source })?;
    let found = evaluate(valid, source, images, Activation::Relu)?;
    let ends = |values: &mut dyn Iterator<Item = &f64>| {
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &value| [low.min(value), high.max(value)])
    };
    let named = |id: &ValueId| all.value(*id).name.clone();
    let made = all.outputs.iter().zip(&found).map(|(id, values)| (named(id), ends(&mut values.iter())));
    let fed = all.inputs.iter().map(|id| (named(id), ends(&mut images.iter())));
    Ok(made.chain(fed).collect())
}
