//! Folds a normalisation into the convolution before it.
//!
//! With m = scale / sqrt(variance + epsilon), per output channel:
//! BN(W x + b) = m (W x + b - mean) + bias = (m W) x + (bias + (b - mean) m). Computed in f64, rounded once.
//!
//! Over a sum of convolutions the same holds with m in every weight and the shift in the first bias alone:
//! BN(sum W_i x_i) = sum (m W_i) x_i + (bias - mean m).
//!
//! Declined where the convolution's result has another use, or the parameters are not constants.

use std::sync::Arc;

use super::report::{Reason, Report};
use crate::graph::{Graph, Op, ValueId};
use crate::weight::{Norm, Weight};

/// Folds every normalisation it can.
pub fn fold_bn(graph: &mut Graph) -> Report {
    fold_bn_where(graph, |_| true)
}

/// Folds every normalisation it can of those whose scale has a name that `is_wanted`.
pub(crate) fn fold_bn_where(graph: &mut Graph, is_wanted: impl Fn(&str) -> bool) -> Report {
    let mut producers = graph.producers();
    let uses = graph.use_counts();
    let mut report = Report::default();
    let mut dead = vec![false; graph.nodes.len()];
    for (index, dead) in dead.iter_mut().enumerate() {
        let node = &graph.nodes[index];
        if !matches!(node.op, Op::BatchNorm { .. }) || !is_wanted(&graph.value(node.inputs[1]).name) {
            continue;
        }
        let single = |id: ValueId| producers[id.0 as usize].filter(|_| uses[id.0 as usize] == 1);
        let (norm, before) = match foldable(graph, index, &single) {
            Ok(found) => found,
            Err(reason) => {
                report.decline(node, reason);
                continue;
            }
        };
        let norm = Arc::new(norm);
        for (position, &conv) in before.convs.iter().enumerate() {
            scale_conv(graph, conv, &norm, position == 0);
        }
        take_over(graph, before.last, index);
        // A normalisation after this one has the convolution before it now.
        producers[graph.nodes[index].output.0 as usize] = Some(before.last);
        *dead = true;
        report.rewrites += 1;
    }
    graph.remove_nodes(&dead);
    report
}

/// What a normalisation is folded into.
struct Before {
    /// The node that makes its input.
    last: usize,
    /// That node, or where it is a sum the convolutions that it sums.
    convs: Vec<usize>,
}

/// The parameters of the normalisation at `index` and the convolutions that can take them; `single` is the node that
/// makes a value, where that value has one use.
fn foldable(graph: &Graph, index: usize, single: &impl Fn(ValueId) -> Option<usize>) -> Result<(Norm, Before), Reason> {
    let norm = norm_of(graph, index).ok_or(Reason::Computed)?;
    let last = single(graph.nodes[index].inputs[0]).ok_or(Reason::NoConvolution)?;
    let convs: Option<Vec<usize>> = match graph.nodes[last].op {
        Op::Conv(_) => Some(vec![last]),
        Op::Sum => graph.nodes[last].inputs.iter().map(|&id| single(id)).collect(),
        _ => None,
    };
    let convs = convs.ok_or(Reason::NoConvolution)?;
    if convs.iter().any(|&conv| !matches!(graph.nodes[conv].op, Op::Conv(_))) {
        return Err(Reason::NoConvolution);
    }
    if !convs.iter().all(|&conv| has_constant_parameters(graph, conv)) {
        return Err(Reason::Computed);
    }
    Ok((norm, Before { last, convs }))
}

fn norm_of(graph: &Graph, index: usize) -> Option<Norm> {
    let node = &graph.nodes[index];
    let Op::BatchNorm { epsilon } = node.op else { return None };
    let parameter = |input: usize| graph.value(*node.inputs.get(input)?).weight.clone();
    Some(Norm { scale: parameter(1)?, bias: parameter(2)?, mean: parameter(3)?, variance: parameter(4)?, epsilon })
}

fn has_constant_parameters(graph: &Graph, index: usize) -> bool {
    graph.nodes[index].inputs[1..].iter().all(|&id| graph.value(id).weight.is_some())
}

/// Multiplies the weight and, in the convolution that carries it, adds the shift; the others' own biases are scaled.
fn scale_conv(graph: &mut Graph, index: usize, norm: &Arc<Norm>, carries_shift: bool) {
    let node = graph.nodes[index].clone();
    let weight_of = |graph: &Graph, input: usize| node.inputs.get(input).and_then(|&id| graph.value(id).weight.clone());
    let Some(weight) = weight_of(graph, 1) else { return };
    let own_bias = weight_of(graph, 2).map(Box::new);
    let scaled = Weight::Scaled { of: Box::new(weight), norm: Arc::clone(norm) };
    let mut inputs = vec![node.inputs[0], graph.add_weight(format!("{}.weight", node.name), scaled)];
    let bias = match own_bias {
        own if carries_shift => Some(Weight::Shifted { of: own, norm: Arc::clone(norm) }),
        Some(own) => Some(Weight::Scaled { of: own, norm: Arc::clone(norm) }),
        None => None,
    };
    if let Some(bias) = bias {
        inputs.push(graph.add_weight(format!("{}.bias", node.name), bias));
    }
    let element = graph.value(node.output).element;
    for &id in &inputs[1..] {
        graph.value_mut(id).element = element;
    }
    graph.nodes[index].inputs = inputs;
}

/// Lets the node at `before` make what the normalisation at `norm` made, under its own name unless that is an output.
fn take_over(graph: &mut Graph, before: usize, norm: usize) {
    let output = graph.nodes[norm].output;
    if !graph.outputs.contains(&output) {
        graph.value_mut(output).name = graph.nodes[before].name.clone();
    }
    graph.nodes[before].output = output;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{BlockForm, Options, Output, StrideIn, build};
    use crate::reference::testing::{Noise, small_variant};
    use crate::reference::{Activation, evaluate, forward};
    use crate::validate::validate;
    use crate::variant::Variant;

    #[test]
    fn folding_removes_every_normalisation_and_keeps_the_function() {
        let variant = small_variant();
        for block_form in [BlockForm::Grouped, BlockForm::Concat, BlockForm::Branches] {
            let outputs = vec![Output::Logits, Output::Stage(1), Output::Stage(4)];
            let options = Options { block_form, outputs, classes: 5, ..Options::classifier(&variant) };
            let mut graph = build(&variant, &options).unwrap();
            let before = graph.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })).count();
            let mut source = Noise(7);
            let input = source.image(2, 48);
            let expected = forward(&variant, StrideIn::Conv3x3, &[5], &mut source, &input, Activation::Relu).unwrap();
            assert_eq!(fold_bn(&mut graph).rewrites, before, "{block_form:?}");
            assert!(graph.nodes.iter().all(|n| !matches!(n.op, Op::BatchNorm { .. })));
            let valid = validate(&graph).unwrap();
            let found = evaluate(valid, &mut source, &input, Activation::Relu).unwrap();
            let pairs = [
                (&found[0], expected.logits.as_ref().unwrap()),
                (&found[1], &expected.stages[0]),
                (&found[2], &expected.stages[3]),
            ];
            for (found, expected) in pairs {
                let worst = found.iter().zip(expected.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let scale = expected.iter().map(|v| v.abs()).fold(0.0, f64::max);
                assert!(worst <= 1e-12 * scale, "{block_form:?}: {worst} of {scale}");
            }
        }
    }

    #[test]
    fn a_convolution_whose_result_is_used_twice_keeps_its_normalisation() {
        let variant = Variant::parse("resnet18").unwrap();
        let mut graph = build(&variant, &Options::classifier(&variant)).unwrap();
        let conv1 = graph.nodes[0].output;
        graph.outputs.push(conv1);
        let folded = fold_bn(&mut graph);
        assert_eq!(folded.rewrites, 19, "all of resnet18's 20 but the first");
        let declined: Vec<_> = folded.declined.iter().map(|d| (d.node.as_str(), d.reason)).collect();
        assert_eq!(declined, [("bn1", Reason::NoConvolution)]);
        assert!(matches!(graph.nodes[1].op, Op::BatchNorm { .. }));
        validate(&graph).unwrap();
    }

    #[test]
    fn folding_twice_changes_nothing_more() {
        let variant = small_variant();
        let mut graph = build(&variant, &Options::classifier(&variant)).unwrap();
        fold_bn(&mut graph);
        let once = graph.clone();
        assert_eq!(fold_bn(&mut graph), Report::default());
        assert_eq!(graph, once);
    }
}
