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
    constants.fold(node, &unknown).unwrap().then(|| {
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
    let mut constants = Constants::of([floats("m", &[2, 3], &[0.0; 6]), ints("bad", &[4, 4])]);
    for (op, inputs) in [
        ("Relu", &["m"][..]),
        ("Add", &["m", "x"]),
        ("Reshape", &["m", "bad"]),
        ("Squeeze", &["m", "bad"]),
        ("Gather", &["m", "bad"]),
        ("Expand", &["m", "bad"]),
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
    assert!(constants.fold(&node("Shape", &["x"], &[]), &known).unwrap());
    assert_eq!(constants.integers("y").unwrap(), [2, 3, 8, 8]);
    assert!(constants.fold(&node("CastLike", &["m", "x"], &[]), &known).unwrap());
    assert_eq!(constants.get("y").unwrap().data_type, ElementType::F16.to_proto());
}

#[test]
fn a_small_file_cannot_ask_for_much_memory() {
    let weight = vec![1.0; 1 << 16];
    let stored = || {
        Constants::of([
            floats("y", &[1, 1 << 16], &weight),
            floats("row", &[1, 1 << 16], &weight),
            bytes("q", &[1, 1 << 16], &[1; 1 << 16]),
            floats("one", &[1], &[1.0]),
            ints("many", &[1 << 16]),
            ints("flat", &[1, -1]),
            ints("zero", &[0]),
            ints("end", &[i64::MAX]),
        ])
    };
    // Each result takes the name of one of its operands, as in a chain, and all of them are held.
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a [i64])]);
    let cases: &[Case<'_>] = &[
        ("Identity", &["y"], &[]),
        ("Neg", &["y"], &[]),
        ("Abs", &["y"], &[]),
        ("Sqrt", &["y"], &[]),
        ("Reciprocal", &["y"], &[]),
        ("Cast", &["y"], &[("to", &[1])]),
        ("CastLike", &["y", "one"], &[]),
        ("Transpose", &["y"], &[]),
        ("Reshape", &["y", "flat"], &[]),
        ("Flatten", &["y"], &[]),
        ("Squeeze", &["row"], &[("axes", &[0])]),
        ("Unsqueeze", &["row"], &[("axes", &[0])]),
        ("Add", &["y", "one"], &[]),
        ("Sub", &["y", "one"], &[]),
        ("Mul", &["y", "one"], &[]),
        ("Div", &["y", "one"], &[]),
        ("DequantizeLinear", &["q", "one"], &[]),
        ("Gather", &["y", "zero"], &[]),
        ("Slice", &["row", "zero", "end"], &[]),
        ("Concat", &["row", "row", "row"], &[("axis", &[1])]),
        ("Expand", &["one", "many"], &[]),
        ("ConstantOfShape", &["many"], &[]),
    ];
    for (op, inputs, attributes) in cases {
        let mut constants = stored();
        let node = node(op, inputs, attributes);
        let mut folded = 0;
        // Most of what the file may ask for is taken already.
        constants.account.result(&[6 << 20], ElementType::F32).unwrap();
        constants.account.done();
        let refused = loop {
            match constants.fold(&node, &unknown) {
                Ok(true) if folded < 20 => folded += 1,
                Ok(made) => panic!("{op} makes {made} after {folded} times"),
                Err(error) => break error,
            }
        };
        assert!((1..10).contains(&folded), "{op}: {folded} times");
        assert!(matches!(refused, TooLarge::Growth { .. }), "{op}: {refused}");
    }
}

#[test]
fn extents_without_a_product_are_refused() {
    for dims in [&[1 << 40, 1 << 40][..], &[0, 1 << 40, 1 << 40], &[1 << 40, 1 << 40, 0], &[1 << 62]] {
        let mut constants = Constants::of([ints("dims", dims), floats("one", &[1], &[1.0])]);
        let refused = constants.fold(&node("ConstantOfShape", &["dims"], &[]), &unknown).unwrap_err();
        assert!(matches!(refused, TooLarge::Growth { .. }), "{dims:?}: {refused}");
        assert!(constants.fold(&node("Expand", &["one", "dims"], &[]), &unknown).is_err(), "{dims:?}");
    }
    let mut constants = Constants::of([ints("dims", &[0, 1 << 20, 1 << 20])]);
    assert_eq!(
        made(&mut constants, &node("ConstantOfShape", &["dims"], &[])),
        Some((vec![0, 1 << 20, 1 << 20], vec![]))
    );
}

#[test]
fn integers_that_a_type_cannot_hold_stay_with_the_runtime() {
    let to = |element: ElementType| i64::from(element.to_proto());
    let mut constants = Constants::of([
        ints("i", &[300]),
        ints("small", &[200]),
        ints("end", &[i64::MAX]),
        ints("zero", &[0]),
        bytes("q", &[1], &[-128]),
        floats("f", &[2], &[f32::NAN, 1e20]),
    ]);
    for (input, element) in [
        ("i", ElementType::U8),
        ("i", ElementType::I8),
        ("end", ElementType::I32),
        ("end", ElementType::U64),
        ("q", ElementType::U8),
        ("f", ElementType::I64),
        ("f", ElementType::U16),
    ] {
        assert_eq!(
            made(&mut constants, &node("Cast", &[input], &[("to", &[to(element)])])),
            None,
            "{input} {element:?}"
        );
    }
    for (op, inputs) in [("Neg", &["q"][..]), ("Add", &["q", "q"]), ("Add", &["end", "i"]), ("Div", &["i", "zero"])] {
        assert_eq!(made(&mut constants, &node(op, inputs, &[])), None, "{op} {inputs:?}");
    }
    let whole = made(&mut constants, &node("Cast", &["small"], &[("to", &[to(ElementType::U8)])]));
    assert_eq!(whole, Some((vec![1], vec![200.0])));
    assert!(constants.fold(&node("Identity", &["end"], &[]), &unknown).unwrap());
    assert_eq!(constants.integers("y").unwrap(), [i64::MAX]);
}

#[test]
fn extents_beyond_the_machine_have_no_flattened_form() {
    assert_eq!(flatten(&[2, 3, 4], 1), Some(vec![2, 12]));
    assert_eq!(flatten(&[2, 3, 4], 0), Some(vec![1, 24]));
    assert_eq!(flatten(&[1, 1 << 40, 1 << 40], 1), None);
    assert_eq!(flatten(&[1, 2], 3), None);
}

#[test]
fn integers_that_f64_would_round_are_left_alone() {
    let greatest = 1 << 53;
    let mut constants = Constants::of([
        ints("whole", &[greatest, i64::MAX, i64::MIN, -greatest]),
        ints("beyond", &[greatest + 1, 0]),
        ints("below_the_end", &[i64::MAX - 1]),
        ints("flat", &[-1]),
    ]);
    let exact = |constants: &Constants| onnx_file::raw::bytes(constants.get("y").unwrap()).unwrap().to_vec();
    assert!(constants.fold(&node("Reshape", &["whole", "flat"], &[]), &unknown).unwrap());
    let expected = [greatest, i64::MAX, i64::MIN, -greatest].map(i64::to_le_bytes).concat();
    assert_eq!(exact(&constants), expected);
    for rounded in ["beyond", "below_the_end"] {
        for (op, inputs, attributes) in [
            ("Reshape", &[rounded, "flat"][..], &[][..]),
            ("Cast", &[rounded], &[("to", &[1][..])]),
            ("Concat", &[rounded, "whole"], &[("axis", &[0][..])]),
        ] {
            assert!(!constants.fold(&node(op, inputs, attributes), &unknown).unwrap(), "{op} {rounded}");
        }
        assert_eq!(constants.integers(rounded), None);
    }
}

#[test]
fn the_time_that_a_small_file_may_ask_for_is_bounded() {
    // Each node reads 8 MiB and makes almost nothing of them, so that memory never runs out.
    let large = TensorProto {
        name: "large".into(),
        data_type: ElementType::F32.to_proto(),
        dims: vec![1 << 20],
        raw_data: vec![0; 4 << 20].into(),
        ..Default::default()
    };
    let mut constants = Constants::of([large, ints("zero", &[0])]);
    let gather = node("Gather", &["large", "zero"], &[]);
    let asked = (0..100_000).find_map(|done| constants.fold(&gather, &unknown).err().map(|error| (done, error)));
    let (done, error) = asked.expect("an end");
    assert!(matches!(error, TooLarge::Work { .. }), "{error}");
    assert!((128..1000).contains(&done), "{done} nodes: what exporters write is far less");
}
