use super::*;
use crate::proto::tensor_proto::DataType;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::{TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let extent = |&n: &i64| match n {
        0.. => dimension::Value::DimValue(n),
        _ => dimension::Value::DimParam("n".into()),
    };
    let dim = shape.iter().map(|n| Dimension { value: Some(extent(n)), ..Default::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

/// A node from `inputs > outputs`, names separated by blanks.
fn node(op: &str, from_to: &str) -> NodeProto {
    let (inputs, outputs) = from_to.split_once('>').unwrap();
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let (domain, op) = op.rsplit_once('/').unwrap_or(("", op));
    NodeProto {
        op_type: op.into(),
        domain: domain.into(),
        input: names(inputs),
        output: names(outputs),
        ..Default::default()
    }
}

fn with(mut node: NodeProto, name: &str, i: i64) -> NodeProto {
    node.attribute.push(AttributeProto { name: name.into(), i, ..Default::default() });
    node
}

/// A convolution network `x` to logits `z`, and then these nodes; `y` is the output.
fn after(more: Vec<NodeProto>, shape: &[i64]) -> GraphProto {
    let mut nodes = vec![node("Gemm", "x w > z")];
    nodes.extend(more);
    let weights = ["w", "c"].map(|name| TensorProto { name: name.into(), ..Default::default() });
    GraphProto { node: nodes, initializer: weights.into(), output: vec![value("y", shape)], ..Default::default() }
}

fn meaning(more: Vec<NodeProto>, shape: &[i64], opset: i64) -> Meaning {
    Meanings::of(&after(more, shape), opset).meaning("y")
}

#[test]
fn the_node_that_decides_is_found_behind_those_that_move_numbers() {
    use Meaning::{Classes, IndependentProbabilities, LogProbabilities, Logits, Probabilities, Scores};
    for (op, expected) in [
        ("Softmax", Probabilities),
        ("LogSoftmax", LogProbabilities),
        ("Sigmoid", IndependentProbabilities),
        ("ArgMax", Classes),
        ("Relu", Logits),
        ("Tanh", Scores),
        ("com.microsoft/QLinearSoftmax", Probabilities),
        ("com.microsoft/SomethingNew", Scores),
        ("my.own/Softmax", Scores),
    ] {
        let nodes = vec![node(op, "z > a"), node("QuantizeLinear", "a s > b"), node("DequantizeLinear", "b s > d")];
        let moved = vec![node("Cast", "d > e"), node("Reshape", "e c > f"), node("Identity", "f > y")];
        assert_eq!(meaning([nodes, moved].concat(), &[-1, 10], 17), expected, "{op}");
    }
    assert_eq!(meaning(vec![node("Identity", "z > y")], &[-1, 10], 17), Logits);
    assert_eq!(Meanings::of(&GraphProto::default(), 17).meaning("y"), Scores, "nothing makes it");
}

#[test]
fn a_softmax_over_images_or_pixels_gives_no_probabilities_of_classes() {
    let softmax = |axis: Option<i64>| match axis {
        Some(axis) => vec![with(node("Softmax", "z > y"), "axis", axis)],
        None => vec![node("Softmax", "z > y")],
    };
    for (axis, shape, opset, right) in [
        (None, &[-1, 10][..], 17, true),
        (Some(1), &[-1, 10], 17, true),
        (Some(0), &[-1, 10], 17, false),
        (Some(-2), &[4, 10], 17, false),
        (None, &[-1, 10, 1, 1], 17, false),
        (Some(1), &[-1, 10, 1, 1], 17, true),
        (None, &[-1, 10, 1, 1], 11, true),
        (Some(1), &[-1, 10, 7, 7], 17, false),
        (None, &[10], 17, true),
        (Some(0), &[10], 11, true),
        (None, &[-1, 1], 17, false),
    ] {
        let found = meaning(softmax(axis), shape, opset);
        assert_eq!(found == Meaning::Probabilities, right, "{axis:?} of {shape:?} at opset {opset}: {found:?}");
    }
}

#[test]
fn arithmetic_on_probabilities_is_no_longer_decided_and_on_logits_it_is() {
    let mean = |op: &str| vec![node(op, "z > a"), node(op, "z > b"), node("Add", "a b > d"), node("Mul", "d c > y")];
    assert_eq!(meaning(mean("Softmax"), &[-1, 10], 17), Meaning::Scores);
    assert_eq!(meaning(mean("Identity"), &[-1, 10], 17), Meaning::Logits);
    let written_out =
        vec![node("ReduceMax", "z > m"), node("Sub", "z m > d"), node("Exp", "d > e"), node("ReduceSum", "e c > s")];
    assert_eq!(meaning([written_out, vec![node("Div", "e s > y")]].concat(), &[-1, 10], 17), Meaning::Probabilities);
    let logarithm = vec![node("Softmax", "z > a"), node("Log", "a > y")];
    assert_eq!(meaning(logarithm, &[-1, 10], 17), Meaning::LogProbabilities);
}

#[test]
fn the_places_of_the_best_go_with_their_values() {
    let graph = after(vec![node("Softmax", "z > p"), node("TopK", "p c > v i"), node("Cast", "i > y")], &[-1, 5]);
    let meanings = Meanings::of(&graph, 17);
    assert_eq!((meanings.meaning("y"), meanings.meaning("v")), (Meaning::Classes, Meaning::Probabilities));
    assert_eq!(meanings.top_values("y"), Some("v"));
    assert_eq!(["v", "i", "y", "p"].map(|value| meanings.is_picked(value)), [true, false, false, false]);
    assert_eq!(meanings.lineage("y").last(), meanings.lineage("p").last(), "they rank the same scores");
    let graph = after(vec![with(node("TopK", "z c > v y"), "largest", 0)], &[-1, 5]);
    assert_eq!(Meanings::of(&graph, 17).meaning("y"), Meaning::Scores, "the worst");
}

#[test]
fn a_graph_that_branches_without_end_is_given_up_on() {
    let mut nodes = vec![node("Add", "z z > a0")];
    nodes.extend((0..60).map(|n| node("Add", &format!("a{n} a{n} > a{}", n + 1))));
    nodes.push(node("Identity", "a60 > y"));
    assert_eq!(meaning(nodes, &[-1, 10], 17), Meaning::Scores);
    let circle = vec![node("Identity", "y > b"), node("Identity", "b > y")];
    assert_eq!(meaning(circle.clone(), &[-1, 10], 17), Meaning::Scores);
    assert_eq!(Meanings::of(&after(circle, &[1, 2]), 17).lineage("y"), ["y", "b"]);
}

#[test]
fn what_is_no_product_of_weights_is_not_taken_for_logits() {
    for op in ["Tile", "Pad", "GatherElements", "Compress", "Resize", "CumSum", "Erf", "ReduceProd", "OfTheFuture"] {
        let nodes = vec![node("Softmax", "z > p"), node(op, "p c > y")];
        assert_eq!(meaning(nodes, &[-1, 10], 17), Meaning::Scores, "{op}");
    }
    for (op, expected) in [("Relu", Meaning::Logits), ("BatchNormalization", Meaning::Logits)] {
        assert_eq!(meaning(vec![node(op, "z c > y")], &[-1, 10], 17), expected, "{op}");
        assert_eq!(meaning(vec![node("Softmax", "z > p"), node(op, "p c > y")], &[-1, 10], 17), Meaning::Scores);
    }
    let features = vec![node("Relu", "z > r"), node("GlobalAveragePool", "r > p"), node("Flatten", "p > y")];
    assert_eq!(meaning(features, &[-1, 2048], 17), Meaning::Scores, "class maps or features, nobody knows");
}

#[test]
fn a_softmax_written_out_over_all_images_gives_no_probabilities() {
    let sum = |sum: NodeProto| vec![node("Exp", "z > e"), sum, node("Div", "e s > y")];
    let along = |axis: i64| {
        let mut sum = node("ReduceSum", "e > s");
        sum.attribute.push(AttributeProto { name: "axes".into(), ints: vec![axis], ..Default::default() });
        sum
    };
    for (reduced, expected) in [
        (along(1), Meaning::Probabilities),
        (along(-1), Meaning::Probabilities),
        (along(0), Meaning::Scores),
        (node("ReduceSum", "e > s"), Meaning::Scores),
    ] {
        assert_eq!(meaning(sum(reduced.clone()), &[-1, 10], 11), expected, "{reduced:?}");
    }
}

#[test]
fn parts_cut_from_one_value_are_not_the_same_scores() {
    let graph = after(vec![node("Split", "z > a b"), node("Softmax", "a > y"), node("Identity", "b > v")], &[-1, 5]);
    let meanings = Meanings::of(&graph, 17);
    assert_ne!(meanings.lineage("y").last(), meanings.lineage("v").last());
    assert_eq!((meanings.meaning("y"), meanings.meaning("v")), (Meaning::Probabilities, Meaning::Logits));
    let circle = after(vec![node("Identity", "y > b"), node("Identity", "b > y")], &[1, 2]);
    assert_eq!(Meanings::of(&circle, 17).top_values("y"), None);
}
