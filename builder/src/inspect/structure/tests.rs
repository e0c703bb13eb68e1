use std::time::{Duration, Instant};

use onnx_file::element::ElementType;
use onnx_file::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::of;

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

/// A stem that makes `x0`, and then `nodes`.
fn graph(nodes: Vec<NodeProto>) -> GraphProto {
    let weight = |name: &str, dims: &[i64]| TensorProto {
        name: name.into(),
        data_type: ElementType::F32.to_proto(),
        dims: dims.to_vec(),
        ..Default::default()
    };
    let stem = node("Conv", &["image", "w"], "x0");
    GraphProto {
        initializer: vec![weight("w", &[8, 3, 3, 3]), weight("one", &[8, 8, 1, 1])],
        node: [vec![stem], nodes].concat(),
        ..Default::default()
    }
}

fn strided(mut made: NodeProto, stride: i64) -> NodeProto {
    made.attribute = vec![AttributeProto { name: "strides".into(), ints: vec![stride; 2], ..Default::default() }];
    made
}

#[test]
fn hostile_graphs_are_refused_within_a_second() {
    let twice = |op: &str, n: usize| -> Vec<NodeProto> {
        let pair = |at: usize| node(op, &[&format!("x{at}"), &format!("x{at}")], &format!("x{}", at + 1));
        (0..n).map(pair).collect()
    };
    let ending_in_add = |mut nodes: Vec<NodeProto>, value: &str| {
        nodes.push(node("Add", &[value, "x0"], "y"));
        nodes
    };
    let ring = vec![node("Identity", &["b"], "a"), node("Identity", &["a"], "b"), node("Add", &["a", "x0"], "y")];
    let own = vec![node("Relu", &["a"], "a"), node("Add", &["a", "x0"], "y")];
    let again: Vec<NodeProto> = (0..4_000)
        .map(|at| node("Identity", &[&format!("x{at}")], &format!("x{}", at + 1)))
        .chain((0..4_000).map(|at| node("Add", &["x4000", "x3999"], &format!("y{at}"))))
        .collect();
    let strides = vec![
        node("Conv", &["x0", "one"], "x1"),
        strided(node("MaxPool", &["x0"], "p"), i64::MAX),
        strided(node("MaxPool", &["p"], "q"), i64::MAX),
        node("Conv", &["q", "one"], "x2"),
    ];
    for (hostile, reason, nodes) in [
        ("two nodes in a ring", "which it or a later node makes", ring),
        ("a node of its own", "which it or a later node makes", own),
        ("splits in splits", "split again", ending_in_add(twice("Concat", 60), "x60")),
        ("deep splits", "split again", ending_in_add(twice("Sum", 50_000), "x50000")),
        ("one way taken again and again", "again and again", again),
        ("strides out of range", "out of range", ending_in_add(strides, "x2")),
    ] {
        let started = Instant::now();
        let refused = of(&graph(nodes), None).unwrap_err();
        assert!(refused.contains(reason), "{hostile}: {refused}");
        assert!(started.elapsed() < Duration::from_secs(1), "{hostile}: {:?}", started.elapsed());
    }
}
