//! Tables of operands: what each operator makes of them, and what it says of those that it cannot take.

use onnx_file::element::ElementType;

use super::*;

/// Extents apart by spaces: numbers are fixed, `?` is unknown, anything else is a name.
fn shape(text: &str) -> Shape {
    let dim = |word: &str| match (word, word.parse()) {
        ("?", _) => Dim::Unknown,
        (_, Ok(extent)) => Dim::Fixed(extent),
        (name, Err(_)) => Dim::Named(name.into()),
    };
    text.split_whitespace().map(dim).collect()
}

fn infer_of(op: &Op, operands: &[&str]) -> Result<Shape, String> {
    let value = |text: &&str| Value { name: "v".into(), element: ElementType::F32, shape: shape(text), weight: None };
    let values: Vec<Value> = operands.iter().map(value).collect();
    infer("n", op, &values.iter().collect::<Vec<_>>()).map_err(|error| error.to_string())
}

/// A convolution that does everything differently in height and in width.
const UNEVEN: Conv = Conv { group: 2, kernel: [3, 2], stride: [2, 1], padding: [1, 0, 2, 3], dilation: [2, 1] };
const POOL: Pool = Pool { kernel: [3, 2], stride: [2, 3], padding: [1, 0, 0, 1] };

#[test]
fn every_operator_makes_the_shape_that_onnx_gives_it() {
    let norm = Op::BatchNorm { epsilon: 1e-5 };
    let plain = Op::Conv(Conv::square(3, 1, 0, 1));
    for (name, op, operands, expected) in [
        ("a convolution", Op::Conv(UNEVEN), &["N 4 9 7", "6 2 3 2"][..], "N 6 4 9"),
        ("one with a bias", Op::Conv(UNEVEN), &["N 4 9 7", "6 2 3 2", "6"], "N 6 4 9"),
        ("one of any height", Op::Conv(UNEVEN), &["N 4 h 7", "6 2 3 2"], "N 6 ? 9"),
        ("one that just fits", plain, &["1 2 3 3", "5 2 3 3"], "1 5 1 1"),
        ("a normalisation", norm, &["N 4 ? 7", "4", "4", "4", "4"], "N 4 ? 7"),
        ("a ReLU", Op::Relu, &["N 4"], "N 4"),
        ("a cast", Op::Cast, &["2 3 4"], "2 3 4"),
        ("an addition", Op::Add, &["N 4 ? 7", "N 4 ? 7"], "N 4 ? 7"),
        ("a sum of one", Op::Sum, &["N 4"], "N 4"),
        ("a sum of three", Op::Sum, &["N 4", "N 4", "N 4"], "N 4"),
        ("a join", Op::Concat, &["N 4 ? 7", "N 1 ? 7", "N 2 ? 7"], "N 7 ? 7"),
        ("a pooling", Op::MaxPool(POOL), &["N 5 8 9"], "N 5 4 3"),
        ("a mean", Op::GlobalAveragePool, &["N 5 ? 9"], "N 5 1 1"),
        ("a flattening", Op::Flatten, &["N 5 1 1"], "N 5"),
        ("a matrix product", Op::Gemm, &["N 5", "3 5", "3"], "N 3"),
    ] {
        assert_eq!(infer_of(&op, operands), Ok(shape(expected)), "{name}");
    }
}

#[test]
fn operands_that_do_not_fit_are_refused_with_the_reason() {
    let conv = |conv: Conv| Op::Conv(conv);
    let norm = Op::BatchNorm { epsilon: 1e-5 };
    let square = Conv::square(3, 1, 0, 1);
    for (name, op, operands, reason) in [
        ("no groups", conv(Conv { group: 0, ..square }), &["1 2 5 5", "4 2 3 3"][..], "in 0 groups"),
        ("inputs not in groups", conv(Conv { group: 2, ..square }), &["1 3 5 5", "4 2 3 3"], "3 input and 4 output"),
        ("outputs not in groups", conv(Conv { group: 2, ..square }), &["1 4 5 5", "5 2 3 3"], "5 output channels in 2"),
        ("a kernel of another height", conv(square), &["1 2 5 5", "4 2 2 3"], "weight 2 x 3 differ"),
        ("a kernel of another width", conv(square), &["1 2 5 5", "4 2 3 2"], "weight 3 x 2 differ"),
        ("a bias of another length", conv(square), &["1 2 5 5", "4 2 3 3", "5"], "shape [4], not [5]"),
        ("a bias of another rank", conv(square), &["1 2 5 5", "4 2 3 3", "4 1"], "shape [4], not [4, 1]"),
        ("too many operands", conv(square), &["1 2 5 5", "4 2 3 3", "4", "4"], "takes 2 or 3 operands, not 4"),
        ("too few operands", conv(square), &["1 2 5 5"], "takes 2 or 3 operands, not 1"),
        ("data of rank 3", conv(square), &["1 2 5", "4 2 3 3"], "takes [N, C, H, W]"),
        ("channels of any number", conv(square), &["1 c 5 5", "4 2 3 3"], "fixed number of channels"),
        ("a weight of any size", conv(square), &["1 2 5 5", "4 2 3 ?"], "weight of 4 fixed dimensions"),
        ("a weight of rank 3", conv(square), &["1 2 5 5", "4 2 3"], "weight of 4 fixed dimensions"),
        ("an image too low", conv(square), &["1 2 2 5", "4 2 3 3"], "a window of 3 does not fit 2 + 0"),
        ("an image too narrow", conv(square), &["1 2 5 2", "4 2 3 3"], "use a larger image"),
        ("no stride", conv(Conv { stride: [0, 1], ..square }), &["1 2 5 5", "4 2 3 3"], "a window of 3"),
        ("a statistic of another length", norm, &["N 4 5 5", "4", "4", "4", "3"], "shape [4], not [3]"),
        ("a statistic too few", norm, &["N 4 5 5", "4", "4", "4"], "takes 5 operands, not 4"),
        ("two operands of a ReLU", Op::Relu, &["N 4", "N 4"], "takes 1 operands, not 2"),
        ("terms of two shapes", Op::Add, &["N 4 5", "N 4 6"], "operands of one shape"),
        ("one term", Op::Add, &["N 4"], "takes 2 operands, not 1"),
        ("a third term unlike the first", Op::Sum, &["N 4", "N 4", "N 5"], "operands of one shape"),
        ("a sum of nothing", Op::Sum, &[], "operands of one shape"),
        ("a join of nothing", Op::Concat, &[], "at least one operand"),
        ("maps of other batches", Op::Concat, &["N 4 5 5", "M 4 5 5"], "agree in all but their channels"),
        ("maps of other heights", Op::Concat, &["N 4 5 5", "N 4 6 5"], "agree in all but their channels"),
        ("maps of other widths", Op::Concat, &["N 4 5 5", "N 4 5 6"], "agree in all but their channels"),
        ("maps of any number of channels", Op::Concat, &["N c 5 5", "N 4 5 5"], "fixed number of channels"),
        ("pooling of rank 3", Op::MaxPool(POOL), &["N 5 8"], "takes [N, C, H, W]"),
        ("a mean of rank 3", Op::GlobalAveragePool, &["N 5 8"], "not rank 3"),
        ("a map that is not 1 x 1", Op::Flatten, &["N 5 1 2"], "takes [N, C, 1, 1]"),
        ("features too many", Op::Gemm, &["N 6", "3 5", "3"], "weights for 5 features and is given 6"),
        ("features of any number", Op::Gemm, &["N f", "3 5", "3"], "is given f"),
        ("a bias for other classes", Op::Gemm, &["N 5", "3 5", "5"], "shape [3], not [5]"),
        ("a map for a matrix", Op::Gemm, &["N 5 1 1", "3 5", "3"], "takes [N, features]"),
    ] {
        let error = infer_of(&op, operands).expect_err(name);
        let head = format!("node 'n' ({}): ", op.name());
        assert!(error.starts_with(&head) && error.contains(reason), "{name}: {error}");
    }
}
