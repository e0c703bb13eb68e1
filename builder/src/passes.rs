//! The rewrites, and their order.
//!
//! 1. `fold_bn` first: every later pass then sees convolutions with a bias and no normalisation in between.
//! 2. `widen_groups` on what is then final: the weights it spreads are scaled already, and its zeros stay exact.
//! 3. `subsample` touches no weight, so it may come after those that do.
//! 4. `to_f16` last: what is rounded is the weight that the file will hold, once.
//!
//! A pass is a plain function from a graph to the number of rewrites it made. It changes recipes, never numbers.

mod fold_bn;
mod subsample;
mod to_f16;
mod widen_groups;

use serde::Serialize;

pub use fold_bn::fold_bn;
pub(crate) use fold_bn::fold_bn_where;
pub(crate) use subsample::SUFFIX as SUBSAMPLE_SUFFIX;
pub use subsample::subsample;
pub use to_f16::{Half, UnknownNode, to_f16};
pub use widen_groups::{Declined, Stage, Width, stages, widen_groups};

use crate::graph::Graph;

/// What to do to a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowering {
    /// Fold normalisations into the convolutions before them.
    pub fold_bn: bool,
    /// Widths of groups by stage, from the first; the last one holds for all further stages. Empty: as they are.
    pub group_widths: Vec<Width>,
    /// Replace each strided 1x1 convolution by a subsampling and a dense one.
    pub subsample: bool,
    /// Compute in f16; `None` leaves the types as they are.
    pub half: Option<Half>,
}

impl Default for Lowering {
    fn default() -> Self {
        Self { fold_bn: true, group_widths: Vec::new(), subsample: false, half: None }
    }
}

impl Lowering {
    /// The width asked for in a stage, counted from 0.
    pub fn width(&self, stage: usize) -> Option<Width> {
        self.group_widths.get(stage).or(self.group_widths.last()).copied()
    }
}

/// A pass that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassRun {
    /// Its name.
    pub pass: &'static str,
    /// How many places it rewrote.
    pub rewrites: usize,
}

/// Runs the passes that `lowering` asks for, in order.
///
/// # Errors
/// [`UnknownNode`] where a node is to be kept in f32 that is not there.
pub fn run(graph: &mut Graph, lowering: &Lowering) -> Result<Vec<PassRun>, UnknownNode> {
    let mut applied = Vec::new();
    if lowering.fold_bn {
        applied.push(PassRun { pass: "fold_bn", rewrites: fold_bn(graph) });
    }
    if !lowering.group_widths.is_empty() {
        let rewrites = widen_groups(graph, |stage| lowering.width(stage));
        applied.push(PassRun { pass: "widen_groups", rewrites });
    }
    if lowering.subsample {
        applied.push(PassRun { pass: "subsample", rewrites: subsample(graph) });
    }
    if let Some(half) = &lowering.half {
        applied.push(PassRun { pass: "to_f16", rewrites: to_f16(graph, half)? });
    }
    Ok(applied)
}
