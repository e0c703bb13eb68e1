//! Replaces each strided 1x1 convolution by a strided 1x1 MaxPool and a convolution of stride 1, with the same result.
//!
//! A 1x1 convolution with stride s and no padding reads the pixels at multiples of s and no others. A maximum over 1x1
//! windows with that stride is exactly these pixels, and the convolution of what it gives, without a stride, is the
//! same function for finite inputs, bit for bit.
//!
//! Why: runtimes' fast 1x1 kernels take the pixels of a dense feature map in one row as long as it is, but a strided one
//! row by row (onnxruntime's `snchwc.cpp`, MLAS_NCHWC_CONV_POINTWISE_ALGORITHM), so that the last 14 or 7 pixels of
//! every row leave their registers half empty. In a ResNeXt these are the projection shortcuts of stages 2 to 4.
//!
//! Declined where the convolution has padding (the zeros around the image are no maximum) or a larger kernel.

use super::report::{Reason, Report};
use crate::graph::{Conv, Graph, Op, Origin, Pass, Pool};

/// A convolution that reads only some of the pixels, were it not for its padding.
fn is_strided_pointwise(conv: &Conv) -> bool {
    conv.kernel == [1, 1] && conv.stride != [1, 1] && !conv.stride.contains(&0)
}

/// Makes every strided 1x1 convolution dense.
pub fn subsample(graph: &mut Graph) -> Report {
    let nodes = std::mem::take(&mut graph.nodes);
    let mut report = Report::default();
    for mut node in nodes {
        match node.op {
            Op::Conv(conv) if is_strided_pointwise(&conv) && conv.padding != [0; 4] => {
                report.decline(&node, Reason::Padded);
            }
            Op::Conv(conv) if is_strided_pointwise(&conv) => {
                let pool = Op::MaxPool(Pool { kernel: [1, 1], stride: conv.stride, padding: [0; 4] });
                let first = graph.nodes.len();
                // A window of one pixel fits whatever the convolution fits.
                if let Ok(pixels) = graph.add_node(Pass::Subsample.added_name(&node.name), pool, &node.inputs[..1]) {
                    graph.set_origin(first, Origin::Added(Pass::Subsample));
                    node.inputs[0] = pixels;
                    node.op = Op::Conv(Conv { stride: [1, 1], ..conv });
                    report.rewrites += 1;
                }
            }
            _ => {}
        }
        graph.nodes.push(node);
    }
    report
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::architecture::{Options, build};
    use crate::graph::Dim;
    use crate::passes::{Width, fold_bn, widen_groups};
    use crate::reference::testing::{Noise, small_variant};
    use crate::reference::{Activation, evaluate};
    use crate::validate::validate;
    use crate::weight::Weight;

    fn one_conv(conv: Conv, [inner, outer]: [usize; 2], size: [usize; 2]) -> Graph {
        let mut graph = Graph::default();
        let shape = [2, inner * conv.group, size[0], size[1]].map(Dim::Fixed).to_vec();
        let x = graph.add_input("input", shape);
        let [height, width] = conv.kernel;
        let weight = graph.add_weight("w", Weight::stored("w", &[outer * conv.group, inner, height, width]));
        let bias = graph.add_weight("b", Weight::stored("b", &[outer * conv.group]));
        let y = graph.add_node("conv", Op::Conv(conv), &[x, weight, bias]).unwrap();
        graph.outputs.push(y);
        graph
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_strided_pointwise_convolution_stays_the_same_function(
            group in 1usize..=4,
            widths in [1usize..=4, 1usize..=4],
            stride in [1usize..=4, 1usize..=4],
            dilation in [1usize..=3, 1usize..=3],
            size in [1usize..=9, 1usize..=9],
            seed in 0u64..1000,
        ) {
            let conv = Conv { group, kernel: [1, 1], stride, padding: [0; 4], dilation };
            let plain = one_conv(conv, widths, size);
            let mut dense = plain.clone();
            let changed = subsample(&mut dense).rewrites;
            prop_assert_eq!(changed, usize::from(stride != [1, 1]));
            let valid = validate(&dense).unwrap();
            prop_assert_eq!(&dense.value(dense.outputs[0]).shape, &plain.value(plain.outputs[0]).shape);
            let mut source = Noise(seed);
            let x = ndarray::Array4::from_shape_fn((2, widths[0] * group, size[0], size[1]), |(n, c, y, x)| {
                ((n * 31 + c * 17 + y * 5 + x * 3) % 23) as f64 / 7.0 - 1.5
            });
            let expected = evaluate(validate(&plain).unwrap(), &mut source, &x, Activation::Relu).unwrap();
            let found = evaluate(valid, &mut source, &x, Activation::Relu).unwrap();
            prop_assert_eq!(expected, found);
        }
    }

    #[test]
    fn padding_and_larger_kernels_are_left_alone() {
        let padded = Conv { padding: [1, 0, 0, 0], ..Conv::square(1, 2, 0, 1) };
        for conv in [padded, Conv::square(3, 2, 1, 1), Conv::square(3, 2, 0, 2), Conv::square(1, 1, 0, 1)] {
            let mut graph = one_conv(conv, [2, 2], [7, 7]);
            let before = graph.clone();
            let report = subsample(&mut graph);
            assert_eq!(report.rewrites, 0, "{conv:?}");
            let reasons: Vec<Reason> = report.declined.iter().map(|declined| declined.reason).collect();
            assert_eq!(reasons, if conv == padded { vec![Reason::Padded] } else { vec![] });
            assert_eq!(graph, before);
        }
    }

    #[test]
    fn a_whole_network_stays_the_same_after_folding_and_widening() {
        let variant = small_variant();
        let mut graph = build(&variant, &Options { classes: 5, ..Options::classifier(&variant) }).unwrap();
        let mut source = Noise(3);
        let x = source.image(1, 40);
        fold_bn(&mut graph);
        widen_groups(&mut graph, |_| Some(Width::at_least(4)));
        let before = evaluate(validate(&graph).unwrap(), &mut source, &x, Activation::Relu).unwrap();
        let stages = variant.blocks.len();
        assert_eq!(subsample(&mut graph).rewrites, stages - 1, "the projections of all stages but the first");
        let after = evaluate(validate(&graph).unwrap(), &mut source, &x, Activation::Relu).unwrap();
        assert_eq!(before, after);
        assert_eq!(subsample(&mut graph).rewrites, 0, "nothing is left to do");
    }
}
