use super::*;
use onnx_file::proto::AttributeProto;
use onnx_file::tensor::to_f64;

fn ints(name: &str, numbers: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: ElementType::I64.to_proto(),
        dims: vec![numbers.len() as i64],
        int64_data: numbers.to_vec(),
        ..Default::default()
    }
}

fn bytes(name: &str, dims: &[i64], numbers: &[i8]) -> TensorProto {
    let raw: Vec<u8> = numbers.iter().map(|&n| n as u8).collect();
    let data_type = ElementType::I8.to_proto();
    TensorProto { name: name.into(), data_type, dims: dims.to_vec(), raw_data: raw.into(), ..Default::default() }
}

fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
    let data_type = ElementType::F32.to_proto();
    TensorProto {
        name: name.into(),
        data_type,
        dims: dims.to_vec(),
        float_data: numbers.to_vec(),
        ..Default::default()
    }
}

fn node(op: &str, inputs: &[&str], attributes: &[(&str, &[i64])]) -> NodeProto {
    let attribute = |(name, ints): &(&str, &[i64])| AttributeProto {
        name: (*name).into(),
        i: ints.first().copied().unwrap_or_default(),
        ints: ints.to_vec(),
        ..Default::default()
    };
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec!["y".into()],
        attribute: attributes.iter().map(attribute).collect(),
        ..Default::default()
    }
}

fn unknown(_: &str) -> Known {
    Known::default()
}

/// Shape and numbers of what `node` makes.
fn made(constants: &mut Constants, node: &NodeProto) -> Option<(Vec<i64>, Vec<f64>)> {
    constants.fold(node, &unknown).then(|| {
        let tensor = constants.get("y").unwrap();
        (tensor.dims.clone(), to_f64(tensor).unwrap())
    })
}

#[test]
fn every_operator_gives_its_numbers() {
    let stored = || {
        Constants::of([
            floats("m", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            floats("row", &[3], &[10.0, 20.0, 30.0]),
            floats("one", &[1], &[0.5]),
            bytes("q", &[2, 2], &[-4, 2, 6, 8]),
            floats("scales", &[2], &[0.5, 2.0]),
            bytes("zeros", &[2], &[2, -1]),
            ints("i", &[1, -1]),
            ints("to", &[3, -1]),
            ints("first", &[0]),
            ints("end", &[i64::MAX]),
            ints("seven", &[7]),
            ints("two", &[-2]),
            ints("three", &[3]),
        ])
    };
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a [i64])], &'a [i64], &'a [f64]);
    let cases: &[Case<'_>] = &[
        ("Transpose", &["m"], &[], &[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
        ("Transpose", &["m"], &[("perm", &[0, 1])], &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("Reshape", &["m", "to"], &[], &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("Flatten", &["m"], &[("axis", &[0])], &[1, 6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("Unsqueeze", &["row", "first"], &[], &[1, 3], &[10.0, 20.0, 30.0]),
        ("Squeeze", &["one"], &[], &[], &[0.5]),
        ("Squeeze", &["one"], &[("axes", &[-1])], &[], &[0.5]),
        ("Expand", &["one", "three"], &[], &[3], &[0.5, 0.5, 0.5]),
        ("Add", &["m", "row"], &[], &[2, 3], &[11.0, 22.0, 33.0, 14.0, 25.0, 36.0]),
        ("Sub", &["row", "one"], &[], &[3], &[9.5, 19.5, 29.5]),
        ("Mul", &["m", "one"], &[], &[2, 3], &[0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
        ("Div", &["row", "one"], &[], &[3], &[20.0, 40.0, 60.0]),
        ("Div", &["seven", "two"], &[], &[1], &[-3.0]),
        ("DequantizeLinear", &["q", "one"], &[], &[2, 2], &[-2.0, 1.0, 3.0, 4.0]),
        ("DequantizeLinear", &["q", "scales", "zeros"], &[("axis", &[0])], &[2, 2], &[-3.0, 0.0, 14.0, 18.0]),
        ("DequantizeLinear", &["q", "scales"], &[], &[2, 2], &[-2.0, 4.0, 3.0, 16.0]),
        ("Gather", &["m", "i"], &[("axis", &[1])], &[2, 2], &[2.0, 3.0, 5.0, 6.0]),
        ("Slice", &["m", "first", "end", "first"], &[], &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("Slice", &["m"], &[("starts", &[-1]), ("ends", &[9]), ("axes", &[1])], &[2, 1], &[3.0, 6.0]),
        ("Concat", &["row", "one"], &[("axis", &[0])], &[4], &[10.0, 20.0, 30.0, 0.5]),
        ("Cast", &["row"], &[("to", &[7])], &[3], &[10.0, 20.0, 30.0]),
        ("Shape", &["m"], &[("start", &[-1])], &[1], &[3.0]),
        ("Reciprocal", &["one"], &[], &[1], &[2.0]),
        ("Sqrt", &["scales"], &[], &[2], &[0.5f32.sqrt().into(), 2f32.sqrt().into()]),
    ];
    for (op, inputs, attributes, dims, numbers) in cases {
        let found = made(&mut stored(), &node(op, inputs, attributes));
        assert_eq!(found, Some((dims.to_vec(), numbers.to_vec())), "{op} {inputs:?}");
    }
}

#[test]
fn what_does_not_follow_from_constants_is_none() {
    let mut constants =
        Constants::of([floats("m", &[2, 3], &[0.0; 6]), ints("bad", &[4, 4]), ints("big", &[1 << 20, 1 << 20])]);
    for (op, inputs) in [
        ("Relu", &["m"][..]),
        ("Add", &["m", "x"]),
        ("Reshape", &["m", "bad"]),
        ("Squeeze", &["m", "bad"]),
        ("Gather", &["m", "bad"]),
        ("Expand", &["m", "bad"]),
        ("ConstantOfShape", &["big"]),
        ("Shape", &["x"]),
        ("CastLike", &["m", "x"]),
    ] {
        assert_eq!(made(&mut constants, &node(op, inputs, &[])), None, "{op}");
    }
    let other = NodeProto { domain: "com.microsoft".into(), ..node("Sqrt", &["m"], &[]) };
    assert_eq!(made(&mut constants, &other), None);
}

#[test]
fn types_and_shapes_that_are_known_of_other_values_are_used() {
    let known = |name: &str| match name {
        "x" => Known { element: Some(ElementType::F16), shape: Some(vec![2, 3, 8, 8]) },
        _ => Known::default(),
    };
    let mut constants = Constants::of([floats("m", &[1], &[1.0])]);
    assert!(constants.fold(&node("Shape", &["x"], &[]), &known));
    assert_eq!(constants.integers("y").unwrap(), [2, 3, 8, 8]);
    assert!(constants.fold(&node("CastLike", &["m", "x"], &[]), &known));
    assert_eq!(constants.get("y").unwrap().data_type, ElementType::F16.to_proto());
}

#[test]
fn a_small_file_cannot_ask_for_much_memory() {
    let mut constants = Constants::of([floats("one", &[1], &[1.0]), ints("many", &[1 << 20])]);
    let expand = node("Expand", &["one", "many"], &[]);
    let folded = (0..100).take_while(|_| constants.fold(&expand, &unknown)).count();
    assert!((1..10).contains(&folded), "{folded} times 4 MiB");
}
