use super::*;
use crate::architecture::{BlockForm, Options, Output, build};
use crate::passes::{Width, fold_bn, subsample, widen_groups};
use crate::reference::testing::{Noise, small_variant};
use crate::reference::{Activation, evaluate};
use crate::validate::validate;
use crate::weight::WeightRange;

fn graph(block_form: BlockForm) -> Graph {
    let variant = small_variant();
    let outputs = vec![Output::Logits, Output::Stage(1), Output::Stage(4)];
    let options = Options { outputs, classes: 5, block_form, ..Options::classifier(&variant) };
    let mut graph = build(&variant, &options).unwrap();
    fold_bn(&mut graph);
    graph
}

/// The ranges of all values of `graph` on two images of a seed, as a calibration would measure them.
fn bounds(graph: &Graph, seed: u64) -> std::collections::BTreeMap<String, [f64; 2]> {
    let mut all = graph.clone();
    all.outputs = all.nodes.iter().map(|node| node.output).collect();
    let mut source = Noise(seed);
    let image = source.image(2, 40);
    let found = evaluate(validate(&all).unwrap(), &mut source, &image, Activation::Relu).unwrap();
    let ends = |values: &mut dyn Iterator<Item = &f64>| values.fold([0.0f64; 2], |[l, h], &v| [l.min(v), h.max(v)]);
    let name = |id: &ValueId| all.value(*id).name.clone();
    let mut bounds: std::collections::BTreeMap<_, _> =
        all.outputs.iter().zip(&found).map(|(id, values)| (name(id), ends(&mut values.iter()))).collect();
    bounds.insert(name(&all.inputs[0]), ends(&mut image.iter()));
    bounds
}

fn int8(graph: &Graph, flavour: Flavour) -> Int8 {
    Int8 { flavour, weights: WeightRange::PairSafe, bounds: bounds(graph, 5), ..Int8::default() }
}

/// How far the outputs of two graphs are apart on an image, L2 over L2.
fn distances(before: &Graph, after: &Graph) -> Vec<f64> {
    let mut source = Noise(5);
    let image = source.image(2, 40);
    let mut run = |graph: &Graph| evaluate(validate(graph).unwrap(), &mut source, &image, Activation::Relu).unwrap();
    let (before, after) = (run(before), run(after));
    let norm = |values: Vec<f64>| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let pairs = before.iter().zip(&after);
    pairs.map(|(a, b)| norm((a - b).into_iter().collect()) / norm(a.iter().copied().collect())).collect()
}

#[test]
fn every_form_becomes_integers_throughout_and_stays_near() {
    for form in [BlockForm::Grouped, BlockForm::Concat] {
        for flavour in [Flavour::Unsigned, Flavour::Symmetric] {
            let before = graph(form);
            let mut after = before.clone();
            let report = quantize(&mut after, &int8(&before, flavour)).unwrap();
            let concats = report.declined.iter().filter(|declined| declined.op == "Concat").count();
            let expected = if flavour == Flavour::Symmetric { concats } else { 0 };
            assert_eq!(report.declined.len(), expected, "{:?}", report.declined);
            for far in distances(&before, &after) {
                assert!((1e-4..0.1).contains(&far), "{form:?} {flavour:?}: {far}");
            }
        }
    }
}

#[test]
fn the_unsigned_form_rounds_every_value_once_and_biases_too() {
    let before = graph(BlockForm::Grouped);
    let mut after = before.clone();
    quantize(&mut after, &int8(&before, Flavour::Unsigned)).unwrap();
    validate(&after).unwrap();
    let producers = after.producers();
    let producer = |id: ValueId| producers[id.0 as usize].map(|index| &after.nodes[index]);
    let counts = after.use_counts();
    for node in &after.nodes {
        let dequantized = |id: ValueId| matches!(producer(id).map(|node| node.op), Some(Op::DequantizeLinear { .. }));
        match node.op {
            Op::Conv(_) | Op::Gemm => assert!(node.inputs.iter().all(|&id| dequantized(id)), "{}", node.name),
            Op::Add | Op::MaxPool(_) | Op::GlobalAveragePool | Op::Flatten => {
                assert!(node.inputs.iter().all(|&id| dequantized(id)), "{}", node.name);
                assert_eq!(counts[node.output.0 as usize], 1, "{}: nobody takes it unrounded", node.name);
            }
            Op::QuantizeLinear { .. } => {
                let zero = after.value(node.inputs[2]).weight.clone();
                let from = producer(node.inputs[0]).map(|node| node.op);
                if from == Some(Op::Relu) {
                    assert_eq!(zero, Some(Weight::number(0.0)), "{}: makes the Relu redundant", node.name);
                }
            }
            _ => {}
        }
    }
    // Names of outputs stay.
    let names: Vec<&str> = after.outputs.iter().map(|&id| after.value(id).name.as_str()).collect();
    assert_eq!(names, ["logits", "c2", "c5"]);
}

#[test]
fn the_symmetric_form_rounds_one_branch_of_a_sum_and_no_bias() {
    let before = graph(BlockForm::Grouped);
    let mut after = before.clone();
    quantize(&mut after, &int8(&before, Flavour::Symmetric)).unwrap();
    let producers = after.producers();
    let is_rounded = |id: ValueId| {
        producers[id.0 as usize].is_some_and(|at| matches!(after.nodes[at].op, Op::DequantizeLinear { .. }))
    };
    for node in &after.nodes {
        match node.op {
            Op::Add => assert_eq!(node.inputs.iter().filter(|&&id| is_rounded(id)).count(), 1, "{}", node.name),
            Op::Conv(_) | Op::Gemm => {
                let [data, weight, bias] = node.inputs[..] else { panic!("three operands") };
                assert!(is_rounded(data) && is_rounded(weight) && after.value(bias).element == F32);
            }
            Op::QuantizeLinear { .. } => {
                assert_eq!(after.value(node.output).element, I8);
                assert_eq!(after.value(node.inputs[2]).weight, Some(Weight::number(0.0)));
            }
            _ => {}
        }
    }
}

#[test]
fn kept_nodes_and_values_without_a_range_stay_f32() {
    let before = graph(BlockForm::Grouped);
    let mut int8 = int8(&before, Flavour::Unsigned);
    int8.keep_f32 = vec!["layer1.0.conv2".into()];
    int8.bounds.remove("layer2.0.relu1");
    let mut after = before.clone();
    let report = quantize(&mut after, &int8).unwrap();
    let declined: Vec<(&str, Reason)> = report.declined.iter().map(|d| (d.node.as_str(), d.reason)).collect();
    let expected = [
        ("layer1.0.relu2", Reason::NotBetweenIntegers),
        ("layer2.0.conv1", Reason::NoRange),
        ("layer2.0.relu1", Reason::NotBetweenIntegers),
        ("layer2.0.conv2", Reason::NoRange),
        ("layer2.0.relu2", Reason::NotBetweenIntegers),
    ];
    assert_eq!(declined, expected);
    let kept = after.nodes.iter().find(|node| node.name == "layer1.0.conv2").unwrap();
    // Its data has a scale for each channel, so that no runtime rounds its weights unasked.
    let data = after.nodes.iter().find(|node| node.output == kept.inputs[0]).unwrap();
    assert_eq!((data.op, after.value(data.inputs[1]).shape.len()), (Op::DequantizeLinear { axis: 1 }, 1));
    assert_eq!(kept.inputs[1..], before.nodes.iter().find(|n| n.name == kept.name).unwrap().inputs[1..]);
    assert!(distances(&before, &after).iter().all(|far| *far < 0.1));

    let wrong = Int8 { keep_f32: vec!["layer1.0.conv9".into()], ..int8 };
    let mut same = before.clone();
    let error = quantize(&mut same, &wrong).unwrap_err();
    assert!(error.to_string().contains("layer1.0.conv"), "{error}");
    assert_eq!(same, before);
}

#[test]
fn lowered_forms_round_to_the_same_numbers() {
    let before = graph(BlockForm::Grouped);
    let int8 = int8(&before, Flavour::Unsigned);
    let quantized = |change: &dyn Fn(&mut Graph)| {
        let mut graph = before.clone();
        change(&mut graph);
        quantize(&mut graph, &int8).unwrap();
        graph
    };
    let plain = quantized(&|_| {});
    let wide = quantized(&|graph| drop(widen_groups(graph, |_| Some(Width::at_least(4)))));
    let dense = quantized(&|graph| drop(subsample(graph)));
    for lowered in [wide, dense] {
        assert_ne!(plain, lowered);
        assert_eq!(distances(&plain, &lowered), [0.0; 3]);
    }
}

#[test]
fn numbers_in_other_types_are_left() {
    let mut half = graph(BlockForm::Grouped);
    let int8 = int8(&half, Flavour::Unsigned);
    crate::passes::to_f16(&mut half, &crate::precision::Half::default()).unwrap();
    let before = half.nodes.len();
    let report = quantize(&mut half, &int8).unwrap();
    assert_eq!((report.rewrites, half.nodes.len()), (0, before));
    assert!(report.declined.iter().any(|declined| declined.reason == Reason::NotF32));
}
