//! From a variant to its graph: stem, stages, head, with torchvision's names.
//!
//! Batch normalisation is still a node of its own here, as in the paper (section 4: after every convolution, ReLU after
//! it); folding is a pass. Names are torchvision's, so that a checkpoint's tensors map to the graph's by identity.

mod block;
mod infer;
mod layer;
mod options;

pub use infer::{InferError, Inferred, infer};
pub use layer::{EPSILON, hidden};
use layer::{convolve, linear, normalise};
pub use options::{BlockForm, CHANNELS, Options, Output, StrideIn};

use crate::graph::{Conv, Dim, Graph, Op, Origin, Part, Pool, ValueId};
use crate::shape::ShapeError;
use crate::variant::{Stem, Variant};
use crate::weight::Weight;

/// Builds the graph, its weights the tensors of a checkpoint by torchvision's names.
///
/// # Errors
/// [`ShapeError`] where the image is too small for the network's strides.
pub fn build(variant: &Variant, options: &Options) -> Result<Graph, ShapeError> {
    let mut graph = Graph::default();
    let [height, width] = options.image.clone();
    let input = graph.add_input("input", vec![options.batch.clone(), Dim::Fixed(options.channels), height, width]);
    let mut x = stem(&mut graph, variant, options.channels, input)?;
    graph.set_origin(0, Origin::Network(Part::Stem));
    let top = options.outputs.contains(&Output::Logits);
    let last_needed = if top { variant.blocks.len() } else { deepest(&options.outputs) };
    let mut stage_outputs = Vec::new();
    let mut in_channels = variant.planes;
    for stage in 0..last_needed {
        let first = graph.nodes.len();
        for index in 0..variant.blocks[stage] {
            let stride = if index == 0 && stage > 0 { 2 } else { 1 };
            let place = block::Place {
                name: format!("layer{}.{index}", stage + 1),
                in_channels,
                width: variant.width(stage),
                out_channels: variant.out_channels(stage),
                stride,
            };
            x = block::build(&mut graph, variant, options, &place, x)?;
            in_channels = place.out_channels;
        }
        graph.set_origin(first, Origin::Network(Part::Stage(stage)));
        stage_outputs.push(x);
    }
    let first = graph.nodes.len();
    let logits = if top { Some(head(&mut graph, in_channels, options, x)?) } else { None };
    graph.set_origin(first, Origin::Network(Part::Head));
    for output in &options.outputs {
        let id = match *output {
            Output::Logits => logits,
            Output::Stage(stage) => stage_outputs.get(stage - 1).copied(),
        };
        if let Some(id) = id {
            graph.value_mut(id).name = output.name();
            graph.outputs.push(id);
        }
    }
    Ok(graph)
}

fn deepest(outputs: &[Output]) -> usize {
    let stage = |o: &Output| if let Output::Stage(n) = o { *n } else { 0 };
    outputs.iter().map(stage).max().unwrap_or(0)
}

fn stem(graph: &mut Graph, variant: &Variant, channels: usize, input: ValueId) -> Result<ValueId, ShapeError> {
    let conv = match variant.stem {
        Stem::ImageNet => Conv::square(7, 2, 3, 1),
        Stem::Cifar => Conv::square(3, 1, 1, 1),
    };
    let [kernel, _] = conv.kernel;
    let weight = Weight::stored("conv1.weight", &[variant.planes, channels, kernel, kernel]);
    let x = convolve(graph, "conv1", conv, weight, input)?;
    let x = normalise(graph, "bn1", variant.planes, x)?;
    let x = graph.add_node("relu", Op::Relu, &[x])?;
    match variant.stem {
        Stem::ImageNet => {
            graph.add_node("maxpool", Op::MaxPool(Pool { kernel: [3; 2], stride: [2; 2], padding: [1; 4] }), &[x])
        }
        Stem::Cifar => Ok(x),
    }
}

fn head(graph: &mut Graph, mut features: usize, options: &Options, x: ValueId) -> Result<ValueId, ShapeError> {
    let x = graph.add_node("avgpool", Op::GlobalAveragePool, &[x])?;
    let mut x = graph.add_node("flatten", Op::Flatten, &[x])?;
    for (index, &out) in options.hidden.iter().enumerate() {
        let name = hidden(index);
        x = linear(graph, &name, [out, features], x)?;
        x = graph.add_node(format!("{name}.relu"), Op::Relu, &[x])?;
        features = out;
    }
    linear(graph, "fc", [options.classes, features], x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::cost;

    fn graph(name: &str) -> Graph {
        let variant = Variant::parse(name).unwrap();
        build(&variant, &Options::classifier(&variant)).unwrap()
    }

    #[test]
    fn parameters_and_multiply_adds_are_the_published_ones() {
        // torchvision's `num_params` and `_ops` (10^9 multiply-adds); the paper's Table 7 (34.4M, 68.1M) for CIFAR.
        for (name, parameters, giga) in [
            ("50_32x4d", 25_028_904, "4.230"),
            ("101_32x8d", 88_791_336, "16.414"),
            ("101_64x4d", 83_455_272, "15.460"),
            ("resnet18", 11_689_512, "1.814"),
            ("resnet34", 21_797_672, "3.664"),
            ("resnet50", 25_557_032, "4.089"),
            ("resnet101", 44_549_160, "7.801"),
            ("resnet152", 60_192_808, "11.514"),
            ("wide_resnet50_2", 68_883_240, "11.398"),
            ("wide_resnet101_2", 126_886_696, "22.753"),
        ] {
            let cost = cost(&graph(name));
            assert_eq!(cost.parameters, parameters, "{name}");
            let found = format!("{:.3}", cost.multiply_adds as f64 / 1e9);
            assert_eq!(found, giga, "{name}");
        }
        assert_eq!(cost(&graph("29_8x64d")).parameters, 34_426_698);
        assert_eq!(cost(&graph("29_16x64d")).parameters, 68_155_210);
    }

    #[test]
    fn block_costs_are_those_of_the_papers_table_2() {
        // C (256 d + 9 d^2 + 256 d) weights in a block of the first stage with 256 inputs.
        for (name, weights) in [
            ("resnet50", 69_632),
            ("50_2x40d", 69_760),
            ("50_4x24d", 69_888),
            ("50_8x14d", 71_456),
            ("50_32x4d", 70_144),
        ] {
            let graph = graph(name);
            let of_block = |id: &ValueId| {
                let value = graph.value(*id);
                value
                    .name
                    .starts_with("layer1.1.conv")
                    .then(|| value.shape.iter().filter_map(Dim::fixed).product::<usize>())
            };
            assert_eq!(graph.weights().iter().filter_map(of_block).sum::<usize>(), weights, "{name}");
        }
    }

    #[test]
    fn a_grouped_convolution_has_one_gth_of_the_dense_parameters() {
        let conv2 = |name: &str| {
            let graph = graph(name);
            let weights = graph.weights();
            let id = weights.iter().find(|id| graph.value(**id).name == "layer1.0.conv2.weight").unwrap();
            graph.value(*id).shape.iter().filter_map(Dim::fixed).product::<usize>()
        };
        assert_eq!(conv2("50_1x128d"), 32 * conv2("50_32x4d"));
    }

    #[test]
    fn operator_counts_are_those_of_the_reference_graph() {
        let graph = graph("50_32x4d");
        let count = |name: &str| graph.nodes.iter().filter(|n| n.op.name() == name).count();
        let counts = ["Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm"].map(count);
        assert_eq!(counts, [53, 49, 16, 1, 1, 1, 1]);
    }

    #[test]
    fn feature_maps_stop_where_the_last_is_made() {
        let variant = Variant::parse("50_32x4d").unwrap();
        let outputs = vec![Output::Stage(2), Output::Stage(3)];
        let graph = build(&variant, &Options { outputs, ..Options::classifier(&variant) }).unwrap();
        let shapes: Vec<_> = graph.outputs.iter().map(|&id| graph.value(id)).collect();
        assert_eq!(
            (shapes[0].name.as_str(), shapes[0].shape[1..].to_vec()),
            ("c3", crate::graph::fixed(&[512, 28, 28]))
        );
        assert_eq!(
            (shapes[1].name.as_str(), shapes[1].shape[1..].to_vec()),
            ("c4", crate::graph::fixed(&[1024, 14, 14]))
        );
        assert!(graph.nodes.iter().all(|n| !n.name.starts_with("layer4") && n.name != "fc"));
    }

    #[test]
    fn an_image_that_is_too_small_is_refused() {
        let variant = Variant::parse("50_32x4d").unwrap();
        let image = [Dim::Fixed(0), Dim::Fixed(224)];
        assert!(build(&variant, &Options { image, ..Options::classifier(&variant) }).is_err());
    }
}
