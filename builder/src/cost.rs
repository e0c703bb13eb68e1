//! What a network costs: parameters and multiply-adds.

use crate::graph::{Dim, Graph, Node, Op};

/// What a network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Elements of all weights and biases; batch normalisation counts its scale and shift, not its statistics.
    pub parameters: u64,
    /// Multiply-adds of convolutions and the fully-connected layer for one image.
    pub multiply_adds: u64,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |total, cost| Self {
            parameters: total.parameters.saturating_add(cost.parameters),
            multiply_adds: total.multiply_adds.saturating_add(cost.multiply_adds),
        })
    }
}

/// Parameters and multiply-adds of `graph` for one image; extents chosen at run time count as 1.
pub fn cost(graph: &Graph) -> Cost {
    graph.nodes.iter().map(|node| cost_of(graph, node)).sum()
}

/// What one node of `graph` costs. A file's shapes may be absurd: what u64 does not hold is its largest number.
pub fn cost_of(graph: &Graph, node: &Node) -> Cost {
    let product = |dims: &[Dim]| dims.iter().filter_map(Dim::fixed).fold(1, |n: u64, d| n.saturating_mul(d as u64));
    let elements = |id| product(&graph.value(id).shape);
    let learned = match node.op {
        Op::BatchNorm { .. } => &node.inputs[1..3],
        _ => &node.inputs[..],
    };
    let weights = learned.iter().filter(|&&id| graph.value(id).weight.is_some());
    let parameters = weights.map(|&id| elements(id)).fold(0, u64::saturating_add);
    let multiply_adds = match (&node.op, node.inputs.get(1)) {
        (Op::Conv(_) | Op::Gemm, Some(&weight)) => {
            // Each output position takes the weights of one output channel once.
            let output = product(&graph.value(node.output).shape[1..]);
            let out_channels = graph.value(weight).shape[0].fixed().unwrap_or(1).max(1) as u64;
            (output / out_channels).saturating_mul(elements(weight))
        }
        _ => 0,
    };
    Cost { parameters, multiply_adds }
}
