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
//! Declined where a convolution has one group, its groups are wide enough, or (unless the width is forced) it is
//! depthwise, for which runtimes have kernels of their own, or no number of neighbours gives the width.

use serde::{Deserialize, Serialize};

use super::report::{Reason, Report};
use crate::graph::{Conv, Graph, Op};
use crate::weight::Weight;

/// How wide the groups of a convolution are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Width {
    /// At least this many channels a group, in and out.
    pub at_least: usize,
    /// And a multiple of this.
    pub multiple_of: usize,
    /// Even a depthwise convolution, and a dense one where no number of neighbours gives the width.
    pub forced: bool,
    /// Where more groups than this would be left, wider ones: up to [`Width::WIDEST`] channels.
    #[serde(skip)]
    pub most_groups: usize,
}

impl Width {
    /// At least `n` channels a group, wherever there are fewer; 1 leaves every group as it is.
    pub const fn at_least(n: usize) -> Self {
        Self { at_least: n, multiple_of: 1, forced: true, most_groups: usize::MAX }
    }

    /// Multiples of a kernel's block of `n` channels, where neighbours give them.
    pub const fn blocks_of(n: usize) -> Self {
        Self { at_least: n, multiple_of: n, forced: false, most_groups: usize::MAX }
    }

    /// Channels a group from which on fewer groups are no gain.
    const WIDEST: usize = 32;

    /// Blocks of `n` channels, and wider groups where more than `most` of them would be left.
    pub const fn few_blocks_of(n: usize, most: usize) -> Self {
        Self { most_groups: most, ..Self::blocks_of(n) }
    }

    /// How many groups to merge: the least divisor of `groups` that gives widths as asked, or all of them.
    ///
    /// # Errors
    /// [`Reason`] where the groups stay as they are.
    pub fn merge(self, groups: usize, inputs: usize, outputs: usize) -> Result<usize, Reason> {
        let fits = |width: usize| width >= self.at_least && width.is_multiple_of(self.multiple_of.max(1));
        let few = |k: usize| groups / k <= self.most_groups || inputs * k >= Self::WIDEST;
        let fit = |k: &usize| groups.is_multiple_of(*k) && fits(inputs * k) && fits(outputs * k) && few(*k);
        if groups == 1 || fit(&1) {
            return Err(Reason::WideEnough);
        }
        if !self.forced && inputs == 1 && outputs == 1 {
            return Err(Reason::Depthwise);
        }
        (1..=groups).find(fit).or(self.forced.then_some(groups)).ok_or(Reason::NoDivisor)
    }
}

/// The grouped convolutions of one stage: all that have as many output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Output channels.
    pub channels: usize,
    /// Groups of its first convolution.
    pub groups: usize,
    /// Input channels a group of its first convolution.
    pub inputs: usize,
    /// How many there are.
    pub convolutions: usize,
}

/// The stages of `graph`'s grouped convolutions, from the input on.
pub fn stages(graph: &Graph) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for index in 0..graph.nodes.len() {
        let Some((conv, [channels, inputs, ..])) = grouped(graph, index) else { continue };
        match stages.iter_mut().find(|stage| stage.channels == channels) {
            Some(stage) => stage.convolutions += 1,
            None => stages.push(Stage { channels, groups: conv.group, inputs, convolutions: 1 }),
        }
    }
    stages
}

/// The convolution at a node with more than one group, and the shape of its constant weight.
fn grouped(graph: &Graph, index: usize) -> Option<(Conv, [usize; 4])> {
    let node = &graph.nodes[index];
    let Op::Conv(conv) = node.op else { return None };
    let shape: [usize; 4] = graph.value(node.inputs[1]).weight.as_ref()?.shape().try_into().ok()?;
    (conv.group > 1).then_some((conv, shape))
}

/// Widens each grouped convolution as `width` says for its stage, counted from 0.
pub fn widen_groups(graph: &mut Graph, width: impl Fn(usize) -> Option<Width>) -> Report {
    let stages = stages(graph);
    let mut report = Report::default();
    for index in 0..graph.nodes.len() {
        let Some((mut conv, [out, inputs, ..])) = grouped(graph, index) else { continue };
        let stage = stages.iter().position(|stage| stage.channels == out);
        let Some(width) = stage.and_then(&width) else { continue };
        let merge = match width.merge(conv.group, inputs, out / conv.group) {
            Ok(merge) => merge,
            Err(reason) => {
                report.decline(&graph.nodes[index], reason);
                continue;
            }
        };
        let value = graph.value(graph.nodes[index].inputs[1]);
        let (name, element, weight) = (value.name.clone(), value.element, value.weight.clone());
        let Some(weight) = weight else { continue };
        let id = graph.add_weight(name, Weight::Widened { of: Box::new(weight), groups: conv.group, merge });
        graph.value_mut(id).element = element;
        conv.group /= merge;
        graph.nodes[index].op = Op::Conv(conv);
        graph.nodes[index].inputs[1] = id;
        report.rewrites += 1;
    }
    report
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::architecture::{Options, build};
    use crate::graph::{Dim, fixed};
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
            let changed = widen_groups(&mut wide, |_| Some(Width { multiple_of, ..Width::at_least(at_least) })).rewrites;
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
        let x = source.image(1, 40);
        let before = evaluate(validate(&graph).unwrap(), &mut source, &x, Activation::Relu).unwrap();
        assert_eq!(
            widen_groups(&mut graph, |_| Some(Width::at_least(4))).rewrites,
            2,
            "stage 2 on has 4 channels a group already"
        );
        let after = evaluate(validate(&graph).unwrap(), &mut source, &x, Activation::Relu).unwrap();
        let worst = before[0].iter().zip(&after[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-12, "{worst}");
    }

    #[test]
    fn forced_widths_that_no_divisor_gives_become_dense() {
        assert_eq!(Width::at_least(16).merge(32, 4, 4), Ok(4));
        assert_eq!(Width::at_least(16).merge(32, 16, 16), Err(Reason::WideEnough));
        assert_eq!(Width::at_least(1).merge(32, 4, 4), Err(Reason::WideEnough));
        assert_eq!(Width::at_least(300).merge(32, 4, 4), Ok(32));
        assert_eq!(Width { multiple_of: 16, ..Width::at_least(1) }.merge(4, 24, 24), Ok(2));
        // Stages of 32x4d and 64x4d: 8 groups of 16, 8 of 32, then 32 channels whatever the number.
        let few = Width::few_blocks_of(16, 8);
        let merged = [(32, 4), (32, 8), (32, 16), (32, 32), (64, 4), (64, 8)].map(|(g, n)| few.merge(g, n, n));
        assert_eq!(merged, [Ok(4), Ok(4), Ok(2), Err(Reason::WideEnough), Ok(8), Ok(4)]);
        assert_eq!(Width { multiple_of: 16, ..Width::at_least(1) }.merge(6, 4, 4), Ok(6), "24 is no multiple of 16");
    }

    #[test]
    fn blocks_are_for_groups_that_can_fill_them() {
        let blocks = Width::blocks_of(16);
        assert_eq!(blocks.merge(32, 4, 4), Ok(4));
        assert_eq!(blocks.merge(32, 8, 16), Ok(2));
        assert_eq!(blocks.merge(3, 24, 24), Err(Reason::NoDivisor));
        assert_eq!(blocks.merge(96, 1, 1), Err(Reason::Depthwise));
        assert_eq!(blocks.merge(96, 1, 2), Ok(16), "a channel multiplier is not depthwise");
        assert_eq!(blocks.merge(96, 2, 1), Ok(16));
        assert_eq!(blocks.merge(1, 4, 4), Err(Reason::WideEnough));
    }

    #[test]
    fn stages_are_told_by_their_channels() {
        let variant = small_variant();
        let graph = build(&variant, &Options { classes: 5, ..Options::classifier(&variant) }).unwrap();
        let stages = stages(&graph);
        let told: Vec<usize> = stages.iter().map(|stage| stage.convolutions).collect();
        assert_eq!(told, variant.blocks);
        assert!(stages.iter().all(|stage| stage.groups == variant.cardinality));
        assert!(stages.windows(2).all(|pair| pair[1].inputs == 2 * pair[0].inputs));
    }

    #[test]
    fn nodes_without_a_width_are_left_alone() {
        let mut graph = one_conv(Conv::square(3, 1, 1, 4), [2, 2], 5);
        let before = graph.clone();
        assert_eq!(widen_groups(&mut graph, |_| None), Report::default());
        assert_eq!(graph, before);
        assert_eq!(graph.value(graph.inputs[0]).shape[1..2], fixed(&[8]));
    }
}
