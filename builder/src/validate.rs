//! Proof that a graph is well formed, which the exporter asks for. It runs in release builds too: the graph is a few
//! hundred nodes.

use std::collections::HashSet;

use onnx_file::element::ElementType;

use crate::graph::{Dim, Graph, Node, Op, ValueId};
use crate::shape::{self, ShapeError};

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An operator cannot take its operands.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A node's result is declared with another shape than it has.
    #[error("node '{node}' makes a value of shape {found} that is declared as {declared}")]
    Declared {
        /// The node.
        node: String,
        /// What it makes.
        found: String,
        /// What the value says.
        declared: String,
    },
    /// A value is used before, or without, being made.
    #[error("'{user}' uses the value '{value}', which nothing before it makes")]
    Undefined {
        /// The node, or "the graph's outputs".
        user: String,
        /// The value.
        value: String,
    },
    /// Two nodes, or two values in use, share a name; or a value is made twice.
    #[error("the name '{name}' is used twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A constant whose recipe gives another shape than declared.
    #[error("the constant '{name}' is declared as {declared} and its recipe gives {found}")]
    Weight {
        /// The constant.
        name: String,
        /// The recipe's shape.
        found: String,
        /// The value's shape.
        declared: String,
    },
    /// Operands of types that do not go together.
    #[error("node '{node}' ({op}) makes {made} of {taken}; its types must be one, or joined by a Cast")]
    Element {
        /// The node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// The types of its operands.
        taken: String,
        /// The type of its result.
        made: ElementType,
    },
    /// There is nothing to compute.
    #[error("the graph has no output; ask for at least one of logits, c2, c3, c4, c5")]
    NoOutput,
}

/// A graph that [`validate`] has passed.
#[derive(Clone, Copy, Debug)]
pub struct Valid<'a>(&'a Graph);

impl<'a> Valid<'a> {
    /// The graph.
    pub fn graph(self) -> &'a Graph {
        self.0
    }
}

/// Checks that every value is made once before it is used, that names are unique, and that every shape and type is
/// what its operator or recipe gives.
///
/// # Errors
/// The first [`GraphError`] found.
pub fn validate(graph: &Graph) -> Result<Valid<'_>, GraphError> {
    if graph.outputs.is_empty() {
        return Err(GraphError::NoOutput);
    }
    let mut names = HashSet::new();
    let mut made = vec![false; graph.value_count()];
    let mut define = |id: ValueId, made: &mut Vec<bool>| {
        let name = &graph.value(id).name;
        let again = std::mem::replace(&mut made[id.0 as usize], true);
        if again || !names.insert(name) { Err(GraphError::Duplicate { name: name.clone() }) } else { Ok(()) }
    };
    for &input in &graph.inputs {
        define(input, &mut made)?;
    }
    for weight in graph.weights() {
        check_weight(graph, weight)?;
        define(weight, &mut made)?;
    }
    let mut node_names = HashSet::new();
    for node in &graph.nodes {
        if !node_names.insert(&node.name) {
            return Err(GraphError::Duplicate { name: node.name.clone() });
        }
        if let Some(&id) = node.inputs.iter().find(|id| !made[id.0 as usize]) {
            return Err(GraphError::Undefined { user: node.name.clone(), value: graph.value(id).name.clone() });
        }
        let operands: Vec<_> = node.inputs.iter().map(|&id| graph.value(id)).collect();
        let shape = shape::infer(&node.name, &node.op, &operands)?;
        let declared = &graph.value(node.output).shape;
        if shape != *declared {
            let (found, declared) = (text(&shape), text(declared));
            return Err(GraphError::Declared { node: node.name.clone(), found, declared });
        }
        check_elements(graph, node)?;
        define(node.output, &mut made)?;
    }
    match graph.outputs.iter().find(|id| !made[id.0 as usize]) {
        Some(&id) => {
            let value = graph.value(id).name.clone();
            Err(GraphError::Undefined { user: "the graph's outputs".into(), value })
        }
        None => Ok(Valid(graph)),
    }
}

fn check_weight(graph: &Graph, id: ValueId) -> Result<(), GraphError> {
    let value = graph.value(id);
    let Some(weight) = &value.weight else { return Ok(()) };
    let found = crate::graph::fixed(&weight.shape());
    let rounded = weight.element();
    if found == value.shape && rounded.is_none_or(|element| element == value.element) {
        return Ok(());
    }
    let tell = |element: Option<ElementType>, shape: &[Dim]| match element {
        Some(element) => format!("{element} {}", text(shape)),
        None => text(shape),
    };
    let (found, declared) = (tell(rounded, &found), tell(rounded.map(|_| value.element), &value.shape));
    Err(GraphError::Weight { name: value.name.clone(), found, declared })
}

/// Every operator computes in one type. A normalisation's statistics, and its scale and shift, may have their own (ONNX
/// BatchNormalization-15, T2 and T1); a Cast goes from any floating-point type to any; integers stand between a
/// QuantizeLinear and a DequantizeLinear.
fn check_elements(graph: &Graph, node: &Node) -> Result<(), GraphError> {
    let taken: Vec<ElementType> = node.inputs.iter().map(|&id| graph.value(id).element).collect();
    let made = graph.value(node.output).element;
    use ElementType::{I8, I32, I64, U8};
    let float = |element: &ElementType| element.is_float();
    let fits = match (&node.op, &taken[..]) {
        (Op::Cast, _) => taken.iter().chain([&made]).all(float),
        (Op::BatchNorm { .. }, [data, scale, bias, mean, variance]) => {
            *data == made && scale == bias && mean == variance && taken.iter().all(float)
        }
        (Op::QuantizeLinear { .. }, [data, scale, zero @ ..]) => {
            float(data) && data == scale && matches!(made, U8 | I8) && zero.iter().all(|zero| *zero == made)
        }
        (Op::DequantizeLinear { .. }, [data, scale, zero @ ..]) => {
            matches!(data, U8 | I8 | I32) && *scale == made && float(scale) && zero.iter().all(|zero| zero == data)
        }
        (Op::Slice { .. }, [data, places @ ..]) => *data == made && places.iter().all(|place| *place == I64),
        (Op::Pad { .. }, [data, I64, fill]) => *data == made && fill == data,
        _ => taken.iter().all(|element| *element == made),
    };
    if fits {
        return Ok(());
    }
    let taken: Vec<String> = taken.iter().map(ElementType::to_string).collect();
    Err(GraphError::Element { node: node.name.clone(), op: node.op.name(), taken: taken.join(", "), made })
}

fn text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Options, build};
    use crate::graph::Value;
    use crate::variant::Variant;
    use crate::weight::Weight;

    fn graph() -> Graph {
        let variant = Variant::parse("26_32x4d").unwrap();
        build(&variant, &Options::classifier(&variant)).unwrap()
    }

    #[test]
    fn every_built_graph_is_valid() {
        validate(&graph()).unwrap();
    }

    #[test]
    fn a_wrong_group_is_found() {
        let mut graph = graph();
        let node = graph.nodes.iter_mut().find(|n| n.name == "layer1.0.conv2").unwrap();
        let Op::Conv(conv) = &mut node.op else { panic!("a convolution") };
        conv.group = 16;
        assert!(matches!(validate(&graph), Err(GraphError::Shape(e)) if e.node == "layer1.0.conv2"));
    }

    #[test]
    fn nodes_out_of_order_doubled_names_and_stale_shapes_are_found() {
        let mut swapped = graph();
        swapped.nodes.swap(3, 4);
        assert!(matches!(validate(&swapped), Err(GraphError::Undefined { .. })));

        let mut doubled = graph();
        doubled.nodes[5].name = doubled.nodes[4].name.clone();
        assert!(matches!(validate(&doubled), Err(GraphError::Duplicate { .. })));

        let mut stale = graph();
        let id = stale.nodes[2].output;
        stale.value_mut(id).shape[1] = Dim::Fixed(63);
        assert!(matches!(validate(&stale), Err(GraphError::Declared { .. })));

        let mut mixed = graph();
        let id = mixed.nodes[2].output;
        mixed.value_mut(id).element = ElementType::F16;
        assert!(matches!(validate(&mixed), Err(GraphError::Element { node, .. }) if node == mixed.nodes[2].name));

        let mut integers = graph();
        let output = integers.nodes[0].output;
        let input = integers.inputs[0];
        integers.nodes[0] = Node {
            name: "cast".into(),
            op: Op::Cast,
            inputs: vec![input],
            output,
            origin: crate::graph::Origin::Unknown,
        };
        let shape = integers.value(input).shape.clone();
        *integers.value_mut(output) = Value { name: "x".into(), element: ElementType::I64, shape, weight: None };
        assert!(matches!(validate(&integers), Err(GraphError::Element { op: "Cast", .. })));

        let mut empty = graph();
        empty.outputs.clear();
        assert_eq!(validate(&empty).unwrap_err(), GraphError::NoOutput);
    }

    /// What a node takes: 0 the data, then its parameters in ONNX order.
    fn operand(graph: &Graph, node: &str, position: usize) -> ValueId {
        graph.nodes.iter().find(|found| found.name == node).expect("the node").inputs[position]
    }

    /// Gives operands of `bn1` a type.
    fn retype(graph: &mut Graph, positions: &[usize], element: ElementType) {
        for &position in positions {
            let id = operand(graph, "bn1", position);
            graph.value_mut(id).element = element;
        }
    }

    #[test]
    fn every_flaw_is_found_and_named() {
        use ElementType::{F16, F64, I64};
        type Change = fn(&mut Graph);
        let cases: &[(&str, Change, &str)] = &[
            (
                "an output that nothing makes",
                |graph| {
                    let value = Value { name: "nowhere".into(), ..graph.value(graph.outputs[0]).clone() };
                    let id = graph.add_value(value);
                    graph.outputs.push(id);
                },
                "'the graph's outputs' uses the value 'nowhere'",
            ),
            (
                "a value made by two nodes",
                |graph| {
                    let last = graph.nodes[graph.nodes.len() - 1].clone();
                    graph.nodes.push(Node { name: "again".into(), ..last });
                },
                "the name 'logits' is used twice",
            ),
            (
                "an input with the name of a constant",
                |graph| {
                    let id = graph.inputs[0];
                    graph.value_mut(id).name = "fc.weight".into();
                },
                "the name 'fc.weight' is used twice",
            ),
            (
                "a recipe rounded to f16 in an f32 constant",
                |graph| {
                    let id = operand(graph, "fc", 1);
                    let value = graph.value_mut(id);
                    value.weight = value.weight.take().map(|of| Weight::Half { of: Box::new(of) });
                },
                "'fc.weight' is declared as f32 [1000, 2048] and its recipe gives f16 [1000, 2048]",
            ),
            (
                "a recipe of another shape",
                |graph| {
                    let id = operand(graph, "fc", 2);
                    graph.value_mut(id).shape = crate::graph::fixed(&[999]);
                },
                "'fc.bias' is declared as [999] and its recipe gives [1000]",
            ),
            ("a scale unlike its shift", |graph| retype(graph, &[1], F64), "bn1"),
            ("a mean unlike its variance", |graph| retype(graph, &[4], F64), "bn1"),
            ("scale and shift of integers", |graph| retype(graph, &[1, 2], I64), "its types must be one"),
            ("mean and variance of integers", |graph| retype(graph, &[3, 4], I64), "its types must be one"),
            (
                "a normalisation that makes another type than it takes",
                |graph| {
                    let id = graph.nodes.iter().find(|node| node.name == "bn1").expect("the node").output;
                    graph.value_mut(id).element = F16;
                },
                "node 'bn1' (BatchNormalization) makes f16 of f32, f32",
            ),
            (
                "a bias unlike its weight",
                |graph| {
                    let id = operand(graph, "fc", 2);
                    graph.value_mut(id).element = F64;
                },
                "node 'fc' (Gemm) makes f32 of f32, f32, f64",
            ),
        ];
        for (name, change, message) in cases {
            let mut graph = graph();
            change(&mut graph);
            let error = validate(&graph).expect_err(name).to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
    }

    #[test]
    fn the_two_pairs_of_a_normalisations_parameters_may_have_types_of_their_own() {
        let mut graph = graph();
        retype(&mut graph, &[1, 2], ElementType::F64);
        retype(&mut graph, &[3, 4], ElementType::F16);
        validate(&graph).unwrap();
    }
}
