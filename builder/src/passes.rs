//! The rewrites: one list of their names, their order, when they are wanted, and what runs them.
//!
//! A pass is a plain function from a graph to what it rewrote and why it left the rest. It changes recipes, never numbers.

mod fold_bn;
mod integer_forms;
mod names;
mod quantize;
mod report;
mod subsample;
mod to_f16;
mod widen_groups;

use serde::Serialize;

pub use fold_bn::fold_bn;
pub(crate) use fold_bn::fold_bn_where;
pub use integer_forms::{pad_image, ungroup};
pub use names::UnknownNode;
pub use quantize::quantize;
pub use report::{Declined, Reason, Report};
pub use subsample::subsample;
pub use to_f16::to_f16;
pub use widen_groups::{Stage, Width, stages, widen_groups};

use crate::graph::Graph;
pub use crate::graph::Pass;
use crate::precision::Precision;

/// What to do to a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowering {
    /// Fold normalisations into the convolutions before them.
    pub fold_bn: bool,
    /// Widths of groups by stage, from the first; the last one holds for all further stages. Empty: as they are.
    pub group_widths: Vec<Width>,
    /// Replace each strided 1x1 convolution by a subsampling and a dense one.
    pub subsample: bool,
    /// Split each quantized grouped convolution into as many of one group, where it has no more groups than this.
    pub ungroup: usize,
    /// Give the image of a quantized network's first convolution channels of zeros, to a multiple of four.
    pub pad_image: bool,
    /// Arithmetic to carry.
    pub precision: Precision,
    /// Run no pass after this one: to find the pass that a fault comes from.
    pub stop_after: Option<Pass>,
}

impl Default for Lowering {
    fn default() -> Self {
        let precision = Precision::default();
        let (group_widths, ungroup) = (Vec::new(), 0);
        Self { fold_bn: true, group_widths, subsample: false, ungroup, pad_image: false, precision, stop_after: None }
    }
}

impl Lowering {
    /// The width asked for in a stage, counted from 0.
    pub fn width(&self, stage: usize) -> Option<Width> {
        self.group_widths.get(stage).or(self.group_widths.last()).copied()
    }
}

/// Input channels that integer kernels take at once.
const FOURS: usize = 4;

/// A pass, when it runs, and how.
struct Entry {
    pass: Pass,
    wanted: fn(&Lowering) -> bool,
    run: fn(&mut Graph, &Lowering) -> Result<Report, UnknownNode>,
}

/// All passes, in the order in which they run.
const PASSES: [Entry; 7] = [
    // First: every later pass then sees convolutions with a bias and no normalisation in between.
    Entry { pass: Pass::FoldBn, wanted: |lowering| lowering.fold_bn, run: |graph, _| Ok(fold_bn(graph)) },
    // On what is then final: the weights it spreads are scaled already, and its zeros stay exact.
    Entry {
        pass: Pass::WidenGroups,
        wanted: |lowering| !lowering.group_widths.is_empty(),
        run: |graph, lowering| Ok(widen_groups(graph, |stage| lowering.width(stage))),
    },
    // It touches no weight, so it may come after those that do.
    Entry { pass: Pass::Subsample, wanted: |lowering| lowering.subsample, run: |graph, _| Ok(subsample(graph)) },
    // Last: what is rounded is the weight that the file will hold, once.
    Entry {
        pass: Pass::ToF16,
        wanted: |lowering| lowering.precision.half().is_some(),
        run: |graph, lowering| lowering.precision.half().map_or(Ok(Report::default()), |half| to_f16(graph, half)),
    },
    // As late, for the same reason.
    Entry {
        pass: Pass::Quantize,
        wanted: |lowering| lowering.precision.int8().is_some(),
        run: |graph, lowering| lowering.precision.int8().map_or(Ok(Report::default()), |int8| quantize(graph, int8)),
    },
    // On integers, which slicing and filling up leave as they are.
    Entry {
        pass: Pass::Ungroup,
        wanted: |lowering| lowering.ungroup > 0 && lowering.precision.int8().is_some(),
        run: |graph, lowering| Ok(ungroup(graph, lowering.ungroup)),
    },
    Entry {
        pass: Pass::PadImage,
        wanted: |lowering| lowering.pad_image && lowering.precision.int8().is_some(),
        run: |graph, _| Ok(pad_image(graph, FOURS)),
    },
];

/// A pass that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassRun {
    /// Which.
    pub pass: Pass,
    /// How many places it rewrote.
    pub rewrites: usize,
    /// The nodes that it was meant for and left as they were.
    #[serde(skip)]
    pub declined: Vec<Declined>,
}

/// Runs the passes that `lowering` asks for, in order.
///
/// # Errors
/// [`UnknownNode`] where a node is to be kept in f32 that is not there.
pub fn run(graph: &mut Graph, lowering: &Lowering) -> Result<Vec<PassRun>, UnknownNode> {
    let mut runs = Vec::new();
    for Entry { pass, wanted, run } in &PASSES {
        if wanted(lowering) {
            let Report { rewrites, declined } = run(graph, lowering)?;
            tracing::info!(%pass, rewrites, declined = declined.len(), "pass");
            runs.push(PassRun { pass: *pass, rewrites, declined });
        }
        if lowering.stop_after == Some(*pass) {
            break;
        }
    }
    Ok(runs)
}

/// `fold_bn, widen_groups`: for messages.
pub(crate) fn names(runs: &[PassRun]) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.pass.name()).collect();
    names.join(", ")
}

/// `fold_bn x53, widen_groups x16`: for messages and metadata.
pub(crate) fn summary(runs: &[PassRun]) -> String {
    let parts: Vec<String> = runs.iter().map(|run| format!("{} x{}", run.pass, run.rewrites)).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Options, build};
    use crate::precision::{Half, Int8};
    use crate::variant::Variant;

    #[test]
    fn passes_run_in_their_order_up_to_the_one_to_stop_after() {
        let variant = Variant::parse("50_32x4d").unwrap();
        let all = Lowering {
            group_widths: vec![Width::at_least(8)],
            subsample: true,
            ungroup: 8,
            pad_image: true,
            ..Lowering::default()
        };
        let precisions = [Precision::F16(Half::default()), Precision::Int8(Int8::default())];
        let others = [&[Pass::Quantize, Pass::Ungroup, Pass::PadImage][..], &[Pass::ToF16]];
        for (precision, others) in precisions.into_iter().zip(others) {
            let passes = PASSES.iter().map(|entry| entry.pass);
            let wanted: Vec<Pass> = passes.filter(|pass| !others.contains(pass)).collect();
            check(&variant, &Lowering { precision, ..all.clone() }, &wanted);
        }
        let none = Lowering { fold_bn: false, ..Lowering::default() };
        assert_eq!(ran(&variant, &none), []);
    }

    fn ran(variant: &Variant, lowering: &Lowering) -> Vec<(Pass, usize)> {
        let mut graph = build(variant, &Options::classifier(variant)).unwrap();
        run(&mut graph, lowering).unwrap().iter().map(|run| (run.pass, run.rewrites)).collect()
    }

    /// Runs all of `wanted`, and up to each of them.
    fn check(variant: &Variant, all: &Lowering, wanted: &[Pass]) {
        let whole = ran(variant, all);
        assert_eq!(whole.iter().map(|(pass, _)| *pass).collect::<Vec<_>>(), wanted);
        for (index, pass) in wanted.iter().enumerate() {
            let stopped = Lowering { stop_after: Some(*pass), ..all.clone() };
            assert_eq!(ran(variant, &stopped), whole[..=index]);
        }
    }

    #[test]
    fn what_ran_is_told_with_its_counts_and_by_name() {
        let run = |pass, rewrites| PassRun { pass, rewrites, declined: Vec::new() };
        let runs = [run(Pass::FoldBn, 53), run(Pass::WidenGroups, 16)];
        assert_eq!(summary(&runs), "fold_bn x53, widen_groups x16");
        assert_eq!(names(&runs), "fold_bn, widen_groups");
        assert_eq!((summary(&[]), names(&[])), (String::new(), String::new()));
    }
}
