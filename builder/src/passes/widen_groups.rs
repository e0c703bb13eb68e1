//! Merges neighbouring groups of a convolution, with exact zeros where the groups did not see each other.
//!
//! A grouped convolution is block-diagonal: group g of G maps its own I input channels to its own O / G outputs. With k
//! neighbouring groups merged, the weight becomes `[O, k I, kH, kW]` in G / k groups; output channel o of old group g
//! keeps its weights at offset (g mod k) I and has zeros elsewhere. The same function for finite inputs, bit for bit up
//! to the order in which zeros are added.
//!
//! Why: runtimes' fast kernels need channels per group in multiples of their block (16 with AVX-512, 8 with AVX2 in
//! onnxruntime's CPU provider; `nchwc_transformer.cc`, TransformConv). The arithmetic added is small where the grouped
//! 3x3s are a small part of the network's.
//!
//! Declined where a convolution has one group, or its groups are wide enough.

use serde::Serialize;

use crate::graph::{Graph, Op};
use crate::weight::Weight;

/// How wide the groups of a convolution are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Width {
    /// At least this many channels a group, in and out.
    pub at_least: usize,
    /// And a multiple of this.
    pub multiple_of: usize,
}

impl Width {
    /// At least `n` channels a group.
    pub const fn at_least(n: usize) -> Self {
        Self { at_least: n, multiple_of: 1 }
    }

    /// How many groups to merge: the least divisor of `groups` that gives widths as asked, or all of them.
    pub fn merge(self, groups: usize, inputs: usize, outputs: usize) -> usize {
        let fits = |width: usize| width >= self.at_least && width.is_multiple_of(self.multiple_of.max(1));
        let fit = |k: &usize| groups.is_multiple_of(*k) && fits(inputs * k) && fits(outputs * k);
        (1..=groups).find(fit).unwrap_or(groups)
    }
}

/// Widens each grouped convolution as `width` says for its node name, and returns how many it changed.
pub fn widen_groups(graph: &mut Graph, width: impl Fn(&str) -> Option<Width>) -> usize {
    let mut changed = 0;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Op::Conv(mut conv), Some(width)) = (node.op, width(&node.name)) else { continue };
        let Some(weight) = graph.value(node.inputs[1]).weight.clone() else { continue };
        let [out, inner, ..] = weight.shape()[..] else { continue };
        let merge = width.merge(conv.group, inner, out / conv.group);
        if conv.group == 1 || merge == 1 {
            continue;
        }
        let widened = Weight::Widened { of: Box::new(weight), groups: conv.group, merge };
        let value = graph.value(node.inputs[1]);
        let (name, element) = (value.name.clone(), value.element);
        let id = graph.add_weight(name, widened);
        graph.value_mut(id).element = element;
        conv.group /= merge;
        graph.nodes[index].op = Op::Conv(conv);
        graph.nodes[index].inputs[1] = id;
        changed += 1;
    }
    changed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::architecture::{Options, build};
    use crate::graph::{Conv, Dim, fixed};
    use crate::passes::fold_bn;
    use crate::reference::testing::{Noise, small_variant};
    use crate::reference::{Activation, evaluate};
    use crate::validate::validate;

    /// A graph of one grouped convolution with bias.
    fn one_conv(conv: Conv, [inner, outer]: [usize; 2], size: usize) -> Graph {
        let mut graph = Graph::default();
        let shape = vec![Dim::Fixed(2), Dim::Fixed(inner * conv.group), Dim::Fixed(size), Dim::Fixed(size + 1)];
        let x = graph.add_input("input", shape);
        let [height, width] = conv.kernel;
        let dims = [outer * conv.group, inner, height, width];
        let weight = graph.add_weight("w", Weight::stored("w", &dims));
        let bias = graph.add_weight("b", Weight::stored("b", &[outer * conv.group]));
        let y = graph.add_node("conv", Op::Conv(conv), &[x, weight, bias]).unwrap();
        graph.outputs.push(y);
        graph
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn widening_keeps_every_grouped_convolution_the_same_function(
            group in 1usize..=8,
            widths in [1usize..=5, 1usize..=5],
            kernel in 1usize..=3,
            stride in [1usize..=3, 1usize..=3],
            dilation in [1usize..=2, 1usize..=2],
            padding in [0usize..=2, 0usize..=2, 0usize..=2, 0usize..=2],
            at_least in 1usize..=32,
            multiple_of in 1usize..=4,
            seed in 0u64..1000,
        ) {
            let conv = Conv { group, kernel: [kernel; 2], stride, padding, dilation };
            let plain = one_conv(conv, widths, 7);
            let mut wide = plain.clone();
            let changed = widen_groups(&mut wide, |_| Some(Width { at_least, multiple_of }));
            let valid = validate(&wide).unwrap();
            let Op::Conv(now) = wide.nodes[0].op else { panic!("a convolution") };
            prop_assert_eq!(changed == 1, now.group != group);
            let width = widths[0].min(widths[1]) * group / now.group;
            prop_assert!(now.group == 1 || width >= at_least);
            let mut source = Noise(seed);
            let x = ndarray::Array4::from_shape_fn((2, widths[0] * group, 7, 8), |(n, c, y, x)| {
                ((n * 31 + c * 17 + y * 5 + x * 3) % 23) as f64 / 7.0 - 1.5
            });
            let expected = evaluate(validate(&plain).unwrap(), &mut source, &x, Activation::Relu).unwrap();
            let found = evaluate(valid, &mut source, &x, Activation::Relu).unwrap();
            // Zeros change no sum, only the order in which the reference's matrix product takes its terms.
            for (expected, found) in expected[0].iter().zip(&found[0]) {
                prop_assert!((expected - found).abs() <= 1e-13 * (1.0 + expected.abs()), "{} {}", expected, found);
            }
        }
    }

    #[test]
    fn a_whole_network_stays_the_same_after_folding() {
        let variant = small_variant();
        let mut graph = build(&variant, &Options { classes: 5, ..Options::classifier(&variant) }).unwrap();
        fold_bn(&mut graph);
        let mut source = Noise(3);
        let x = source.picture(1, 40);
        let before = evaluate(validate(&graph).unwrap(), &mut source, &x, Activation::Relu).unwrap();
        assert_eq!(
            widen_groups(&mut graph, |_| Some(Width::at_least(4))),
            2,
            "stage 2 on has 4 channels a group already"
        );
        let after = evaluate(validate(&graph).unwrap(), &mut source, &x, Activation::Relu).unwrap();
        let worst = before[0].iter().zip(&after[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-12, "{worst}");
    }

    #[test]
    fn widths_that_no_divisor_gives_become_dense() {
        assert_eq!(Width::at_least(16).merge(32, 4, 4), 4);
        assert_eq!(Width::at_least(16).merge(32, 16, 16), 1);
        assert_eq!(Width::at_least(300).merge(32, 4, 4), 32);
        assert_eq!(Width { at_least: 1, multiple_of: 16 }.merge(4, 24, 24), 2);
        assert_eq!(Width { at_least: 1, multiple_of: 16 }.merge(6, 4, 4), 6, "no divisor of 6 gives a multiple of 16");
    }

    #[test]
    fn nodes_without_a_width_are_left_alone() {
        let mut graph = one_conv(Conv::square(3, 1, 1, 4), [2, 2], 5);
        let before = graph.clone();
        assert_eq!(widen_groups(&mut graph, |_| None), 0);
        assert_eq!(graph, before);
        assert_eq!(graph.value(graph.inputs[0]).shape[1..2], fixed(&[8]));
    }
}
