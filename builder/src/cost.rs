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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv, ValueId, fixed};
    use crate::weight::Weight;

    /// A convolution that does everything differently in height and in width.
    const UNEVEN: Conv = Conv { group: 2, kernel: [3, 2], stride: [2, 1], padding: [1, 0, 2, 3], dilation: [2, 1] };

    fn any(name: &str) -> Dim {
        Dim::Named(name.into())
    }

    /// A graph with the node `op` of an input and of constants with these shapes.
    fn graph(op: Op, data: &[Dim], constants: &[&[usize]]) -> Graph {
        let mut graph = Graph::default();
        let mut inputs: Vec<ValueId> = vec![graph.add_input("input", data.to_vec())];
        for (index, dims) in constants.iter().enumerate() {
            let name = format!("w{index}");
            inputs.push(graph.add_weight(name.as_str(), Weight::stored(&name, dims)));
        }
        graph.add_node("n", op, &inputs).expect("operands that fit");
        graph
    }

    #[test]
    fn costs_are_counted_for_one_image() {
        let cost_of = |graph: &Graph| (cost(graph).parameters, cost(graph).multiply_adds);
        let conv = graph(Op::Conv(UNEVEN), &fixed(&[3, 4, 9, 7]), &[&[6, 2, 3, 2], &[6]]);
        assert_eq!(cost_of(&conv), (72 + 6, 4 * 9 * 72), "4 x 9 positions, each of all 72 weights");
        let low = graph(Op::Conv(UNEVEN), &[any("N"), Dim::Fixed(4), any("h"), Dim::Fixed(7)], &[&[6, 2, 3, 2]]);
        assert_eq!(cost_of(&low), (72, 9 * 72), "a height of one row");
        let norm = graph(
            Op::BatchNorm { epsilon: 0.0 },
            &[any("N"), Dim::Fixed(4), Dim::Fixed(9), Dim::Fixed(7)],
            &[&[4][..]; 4],
        );
        assert_eq!(cost_of(&norm), (8, 0), "scale and bias");
        let gemm = graph(Op::Gemm, &fixed(&[7, 5]), &[&[3, 5], &[3]]);
        assert_eq!(cost_of(&gemm), (18, 15));
        assert_eq!(cost_of(&graph(Op::Relu, &[any("N"), Dim::Fixed(4)], &[])), (0, 0));
    }

    #[test]
    fn costs_too_large_to_count_are_the_largest_number() {
        let huge = Cost { parameters: u64::MAX - 1, multiply_adds: u64::MAX - 1 };
        let more = Cost { parameters: 3, multiply_adds: 1 };
        assert_eq!([huge, more].into_iter().sum::<Cost>(), Cost { parameters: u64::MAX, multiply_adds: u64::MAX });
        assert_eq!([more, more].into_iter().sum::<Cost>(), Cost { parameters: 6, multiply_adds: 2 });
    }
}
