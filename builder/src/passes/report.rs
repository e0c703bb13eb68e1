//! What a pass did, and what it left as it was.

use serde::Serialize;

use crate::graph::{Node, Origin};

/// What a pass did to a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many places it rewrote.
    pub rewrites: usize,
    /// The nodes that it was meant for and left as they were.
    pub declined: Vec<Declined>,
}

impl Report {
    pub(super) fn decline(&mut self, node: &Node, reason: Reason) {
        let (name, op) = (node.name.clone(), node.op.name());
        self.declined.push(Declined { node: name, op, origin: node.origin, reason });
    }
}

/// A node that a pass was meant for and left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// Its name.
    pub node: String,
    /// Its operator.
    pub op: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it was left.
    pub reason: Reason,
}

/// Why a pass leaves a node as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A normalisation that no convolution comes before, or one whose result has other uses.
    NoConvolution,
    /// A normalisation, or a convolution before it, with computed parameters.
    Computed,
    /// Groups that are as wide as asked for: nothing to gain.
    WideEnough,
    /// One channel a group.
    Depthwise,
    /// 3 groups of 24 make no multiple of 16 but all together.
    NoDivisor,
    /// More groups than are to be convolutions of their own.
    ManyGroups,
    /// An operator that no runtime has an integer kernel for.
    NoIntegerKernel,
    /// An operator that computes in integers only between others that do.
    NotBetweenIntegers,
    /// Values that the calibration has no range of.
    NoRange,
    /// Weights or values in another type than f32.
    NotF32,
    /// A strided 1x1 convolution that also reads the zeros around the image.
    Padded,
}
