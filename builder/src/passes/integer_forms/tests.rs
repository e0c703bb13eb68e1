use super::*;
use crate::architecture::{BlockForm, Options, Output, build};
use crate::passes::{Width, fold_bn, quantize, widen_groups};
use crate::precision::int8::{Flavour, Int8};
use crate::reference::testing::{Noise, small_variant};
use crate::reference::{Activation, evaluate};
use crate::validate::validate;
use crate::weight::WeightRange;

/// A quantized network, its grouped convolutions widened to `width` channels a group.
fn quantized(width: usize, flavour: Flavour) -> Graph {
    let variant = small_variant();
    let outputs = vec![Output::Logits, Output::Stage(2)];
    let block_form = BlockForm::Grouped;
    let options = Options { outputs, classes: 5, block_form, ..Options::classifier(&variant) };
    let mut graph = build(&variant, &options).unwrap();
    fold_bn(&mut graph);
    widen_groups(&mut graph, |_| Some(Width::at_least(width)));
    let made = graph.nodes.iter().map(|node| node.output).chain(graph.inputs.clone());
    let bounds = made.map(|id| (graph.value(id).name.clone(), [-2.0, 3.0])).collect();
    let int8 = Int8 { flavour, weights: WeightRange::PairSafe, bounds, ..Int8::default() };
    quantize(&mut graph, &int8).unwrap();
    graph
}

fn run(graph: &Graph) -> Vec<ndarray::ArrayD<f64>> {
    let mut source = Noise(7);
    let image = source.image(2, 40);
    evaluate(validate(graph).unwrap(), &mut source, &image, Activation::Relu).unwrap()
}

fn groups(graph: &Graph) -> Vec<usize> {
    let group = |node: &Node| if let Op::Conv(conv) = node.op { Some(conv.group) } else { None };
    graph.nodes.iter().filter_map(group).collect()
}

#[test]
fn every_form_makes_the_same_numbers_bit_for_bit() {
    for flavour in [Flavour::Unsigned, Flavour::Symmetric] {
        let expected = run(&quantized(1, flavour));
        for (width, at_most) in [(1, 8), (4, 8), (4, 2), (8, 8)] {
            let mut graph = quantized(width, flavour);
            let before = groups(&graph);
            let report = ungroup(&mut graph, at_most);
            let fitting = before.iter().filter(|group| (2..=at_most).contains(*group)).count();
            // Behind TensorRT's form a convolution before a sum has no quantization of its own.
            if flavour == Flavour::Unsigned {
                assert_eq!(report.rewrites, fitting, "{width} {at_most}: {:?}", report.declined);
                assert!(groups(&graph).iter().all(|group| *group == 1 || *group > at_most));
            }
            let padded = pad_image(&mut graph, 4);
            assert_eq!(padded.rewrites, usize::from(flavour == Flavour::Unsigned));
            assert_eq!(run(&graph), expected, "{flavour:?} {width} {at_most}");
        }
    }
}

#[test]
fn the_image_has_a_fourth_channel_and_an_image_of_four_none_more() {
    let mut graph = quantized(1, Flavour::Unsigned);
    assert_eq!(pad_image(&mut graph, 3).rewrites, 0);
    assert_eq!(pad_image(&mut graph, 4).rewrites, 1);
    let conv = graph.nodes.iter().find(|node| node.name == "conv1").unwrap();
    assert_eq!(graph.value(conv.inputs[1]).shape[1].fixed(), Some(4));
    assert_eq!(pad_image(&mut graph, 4).rewrites, 0, "it reads no input any more");
}

#[test]
fn convolutions_of_real_numbers_and_of_many_groups_stay() {
    let variant = small_variant();
    let mut graph = build(&variant, &Options::classifier(&variant)).unwrap();
    let before = graph.clone();
    let report = ungroup(&mut graph, 8);
    assert!(report.declined.iter().all(|declined| declined.reason == Reason::NotBetweenIntegers));
    assert_eq!((report.rewrites, report.declined.len(), pad_image(&mut graph, 4).rewrites), (0, 5, 0));
    assert_eq!(graph, before);
    let mut many = quantized(1, Flavour::Unsigned);
    let report = ungroup(&mut many, 2);
    assert!(report.rewrites == 0 && report.declined.iter().all(|declined| declined.reason == Reason::ManyGroups));
}
