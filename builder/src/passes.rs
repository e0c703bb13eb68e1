//! The rewrites, and their order.
//!
//! 1. `fold_bn` first: every later pass then sees convolutions with a bias and no normalisation in between.
//!
//! A pass is a plain function from a graph to the number of rewrites it made. It changes recipes, never numbers.

mod fold_bn;

use serde::Serialize;

pub use fold_bn::fold_bn;

use crate::graph::Graph;

/// What to do to a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowering {
    /// Fold normalisations into the convolutions before them.
    pub fold_bn: bool,
}

impl Default for Lowering {
    fn default() -> Self {
        Self { fold_bn: true }
    }
}

/// A pass that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its name.
    pub pass: &'static str,
    /// How many places it rewrote.
    pub rewrites: usize,
}

/// Runs the passes that `lowering` asks for, in order.
pub fn run(graph: &mut Graph, lowering: Lowering) -> Vec<Applied> {
    let mut applied = Vec::new();
    if lowering.fold_bn {
        applied.push(Applied { pass: "fold_bn", rewrites: fold_bn(graph) });
    }
    applied
}
