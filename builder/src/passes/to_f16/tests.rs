use super::*;
use crate::architecture::{BlockForm, Options, Output, build};
use crate::passes::{Width, fold_bn, widen_groups};
use crate::reference::testing::{Noise, small_variant};
use crate::reference::{Activation, evaluate};
use crate::validate::validate;

fn options() -> Options {
    let variant = small_variant();
    let outputs = vec![Output::Logits, Output::Stage(1), Output::Stage(4)];
    Options { outputs, classes: 5, ..Options::classifier(&variant) }
}

fn graph(fold: bool, widen: bool, block_form: BlockForm) -> Graph {
    let mut graph = build(&small_variant(), &Options { block_form, ..options() }).unwrap();
    if fold {
        fold_bn(&mut graph);
    }
    if widen {
        widen_groups(&mut graph, |_| Some(Width::at_least(4)));
    }
    graph
}

fn keep(nodes: &[&str]) -> Half {
    Half { keep_f32: nodes.iter().map(ToString::to_string).collect(), ..Half::default() }
}

fn casts(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().filter(|n| n.op == Op::Cast).map(|n| n.name.as_str()).collect()
}

#[test]
fn every_form_becomes_f16_throughout_and_moves_by_the_rounding_of_its_weights() {
    for block_form in [BlockForm::Grouped, BlockForm::Concat, BlockForm::Branches] {
        for (fold, widen) in [(true, false), (true, true), (false, false), (false, true)] {
            let before = graph(fold, widen, block_form);
            let mut after = before.clone();
            assert_eq!(to_f16(&mut after, &Half::default()).unwrap().rewrites, before.nodes.len());
            assert_eq!(casts(&after), [""; 0]);
            let valid = validate(&after).unwrap();
            let used = after.nodes.iter().flat_map(|node| node.inputs.iter().chain([&node.output]));
            assert!(used.chain(&after.inputs).all(|&id| after.value(id).element == F16));
            let mut source = Noise(5);
            let x = source.image(2, 40);
            let exact = evaluate(validate(&before).unwrap(), &mut source, &x, Activation::Relu).unwrap();
            let found = evaluate(valid, &mut source, &x, Activation::Relu).unwrap();
            for (exact, found) in exact.iter().zip(&found) {
                let norm = exact.iter().map(|v| v * v).sum::<f64>().sqrt();
                let far = exact.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / norm;
                // 17 layers, each off by up to 2^-11, add up to 8e-3 at worst and to less than 1e-3 as a rule.
                assert!((1e-5..2e-3).contains(&far), "{block_form:?} {fold} {widen}: {far}");
            }
        }
    }
}

#[test]
fn inputs_and_outputs_keep_f32_and_their_names_behind_one_cast_each() {
    let mut graph = graph(true, false, BlockForm::Grouped);
    let names = |graph: &Graph| -> Vec<String> {
        graph.inputs.iter().chain(&graph.outputs).map(|&id| graph.value(id).name.clone()).collect()
    };
    let before = names(&graph);
    to_f16(&mut graph, &Half { keep_io_types: true, ..Half::default() }).unwrap();
    validate(&graph).unwrap();
    assert_eq!(names(&graph), before);
    assert!(graph.inputs.iter().chain(&graph.outputs).all(|&id| graph.value(id).element == F32));
    assert_eq!(casts(&graph), ["input.f16", "fc.f32", "layer1.1.f32", "layer4.0.f32"]);
}

#[test]
fn a_kept_node_stands_between_casts_and_neighbours_share_theirs() {
    let mut one = graph(true, false, BlockForm::Grouped);
    to_f16(&mut one, &keep(&["layer1.0.conv2"])).unwrap();
    validate(&one).unwrap();
    assert_eq!(casts(&one), ["layer1.0.relu1.f32", "layer1.0.conv2.f16"]);
    let kept = one.nodes.iter().find(|node| node.name == "layer1.0.conv2").unwrap();
    assert!(kept.inputs.iter().all(|&id| one.value(id).element == F32));

    let mut chain = graph(true, false, BlockForm::Grouped);
    to_f16(&mut chain, &keep(&["layer1.0.relu1", "layer1.0.conv2", "layer1.0.relu2"])).unwrap();
    validate(&chain).unwrap();
    assert_eq!(casts(&chain), ["layer1.0.conv1.f32", "layer1.0.relu2.f16"]);

    // What two kept nodes take is cast once: the block's input, by its first convolution and its shortcut.
    let mut fork = graph(true, false, BlockForm::Grouped);
    to_f16(&mut fork, &keep(&["layer2.0.conv1", "layer2.0.downsample.0"])).unwrap();
    validate(&fork).unwrap();
    assert_eq!(casts(&fork), ["c2.f32", "layer2.0.conv1.f16", "layer2.0.downsample.0.f16"]);
}

#[test]
fn the_ends_and_kept_nodes_share_casts_too() {
    let mut graph = graph(true, false, BlockForm::Grouped);
    let half = Half { keep_io_types: true, ..keep(&["conv1", "fc", "layer1.1"]) };
    to_f16(&mut graph, &half).unwrap();
    validate(&graph).unwrap();
    // The input goes to conv1 as it is, the logits and the first feature map leave as they are.
    assert_eq!(casts(&graph), ["conv1.f16", "layer1.1.add.f32", "c2.f16", "flatten.f32", "layer4.0.f32"]);

    let mut other = build(&small_variant(), &options()).unwrap();
    fold_bn(&mut other);
    to_f16(&mut other, &keep(&["fc"])).unwrap();
    validate(&other).unwrap();
    let last = other.nodes.last().unwrap();
    assert_eq!((last.name.as_str(), other.value(last.output).name.as_str()), ("fc.f16", "logits"));
}

#[test]
fn a_weight_that_is_needed_in_both_types_becomes_two() {
    let mut graph = graph(true, false, BlockForm::Grouped);
    let find = |graph: &Graph, name: &str| graph.nodes.iter().position(|n| n.name == name).unwrap();
    let shared = graph.nodes[find(&graph, "layer1.0.conv3")].inputs[1];
    let other = find(&graph, "layer1.1.conv3");
    graph.nodes[other].inputs[1] = shared;
    to_f16(&mut graph, &keep(&["layer1.1.conv3"])).unwrap();
    validate(&graph).unwrap();
    let value = |name: &str| graph.value(graph.nodes[find(&graph, name)].inputs[1]).clone();
    let (half, single) = (value("layer1.0.conv3"), value("layer1.1.conv3"));
    assert_eq!((half.element, single.element), (F16, F32));
    assert_eq!(half.weight, single.weight.map(|of| Weight::Half { of: Box::new(of) }));
}

#[test]
fn an_unknown_node_is_refused_with_the_nearest_names_and_nothing_changes() {
    let mut graph = graph(true, false, BlockForm::Grouped);
    let before = graph.clone();
    let error = to_f16(&mut graph, &keep(&["conv1", "layer1.0.con2"])).unwrap_err();
    assert!(error.to_string().contains("no node 'layer1.0.con2'; did you mean 'layer1.0.conv2'"), "{error}");
    let error = to_f16(&mut graph, &keep(&["bathroom"])).unwrap_err();
    assert_eq!(error.to_string(), "--keep-f32: the graph has no node 'bathroom'");
    assert_eq!(graph, before);
}
