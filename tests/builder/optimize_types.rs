//! `resnext-build optimize` on tensors of every type.

use crate::common::models::{export, groups, read};
use crate::common::program::{fail, names, succeed};
use crate::optimize::two_convolutions;
use half::{bf16, f16};
use onnx_file::element::ElementType;
use onnx_file::proto::{NodeProto, TensorProto};
use onnx_file::tensor::{to_f32, to_f64};

/// Stores a tensor's numbers as `element`, in the fields of that type or as raw bytes.
fn store(tensor: &mut TensorProto, element: ElementType, raw: bool) {
    let values = to_f32(tensor).expect("floats");
    *tensor = TensorProto { name: tensor.name.clone(), dims: tensor.dims.clone(), ..Default::default() };
    tensor.data_type = element.to_proto();
    let bits =
        |v: f32| if element == ElementType::F16 { f16::from_f32(v).to_bits() } else { bf16::from_f32(v).to_bits() };
    match (element, raw) {
        (ElementType::F64, true) => {
            tensor.raw_data = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect::<Vec<u8>>().into();
        }
        (ElementType::F64, false) => tensor.double_data = values.iter().map(|&v| f64::from(v)).collect(),
        (_, true) => tensor.raw_data = values.iter().flat_map(|&v| bits(v).to_le_bytes()).collect::<Vec<u8>>().into(),
        (_, false) => tensor.int32_data = values.iter().map(|&v| i32::from(bits(v))).collect(),
    }
}

#[test]
fn weights_of_every_floating_point_type_are_widened_without_rounding() {
    let folder = tempfile::tempdir().unwrap();
    for element in [ElementType::F16, ElementType::BF16, ElementType::F64] {
        for (raw, external) in [(true, "never"), (false, "never"), (true, "always"), (false, "always")] {
            let model = two_convolutions(|g| {
                for tensor in &mut g.initializer {
                    // 2 KiB and more, so that external data takes them.
                    tensor.dims[2] = 64;
                    tensor.float_data = (0..1024).map(|v| (v % 97) as f32 / 32.0).collect();
                    store(tensor, element, raw);
                }
                for node in &mut g.node {
                    node.attribute[1].ints = vec![64, 1];
                }
            });
            std::fs::write(folder.path().join("m.onnx"), model).unwrap();
            let args = ["optimize", "m.onnx", "-o", "o.onnx", "--group-width", "4", "--force", "-q"];
            succeed(folder.path(), &[&args[..], &["--external-data", external]].concat());
            let before = read(&folder.path().join("m.onnx")).graph.unwrap();
            let after = read(&folder.path().join("o.onnx")).graph.unwrap();
            for (old, new) in before.initializer.iter().zip(&after.initializer) {
                assert_eq!((new.data_type, &new.dims[..]), (element.to_proto(), &[8, 4, 64, 1][..]), "{element}");
                let (old, new) = (to_f32(old).unwrap(), to_f32(new).unwrap());
                let spread: Vec<f32> = new
                    .chunks(256)
                    .enumerate()
                    .flat_map(|(o, row)| {
                        let at = o / 2 % 2 * 128;
                        assert!(row.iter().enumerate().all(|(i, v)| (at..at + 128).contains(&i) || v.to_bits() == 0));
                        row[at..at + 128].to_vec()
                    })
                    .collect();
                assert_eq!(spread, old, "{element} {raw} {external}");
            }
        }
    }
}

#[test]
fn a_normalisation_is_folded_in_f64_and_left_alone_in_f16_and_bf16() {
    let folder = tempfile::tempdir().unwrap();
    for element in [ElementType::F64, ElementType::F16, ElementType::BF16] {
        let model = two_convolutions(|g| {
            let parameter = |name: &str, value: f32| TensorProto {
                name: name.into(),
                data_type: ElementType::F32.to_proto(),
                dims: vec![8],
                float_data: vec![value; 8],
                ..Default::default()
            };
            let parameters = [("scale", 3.0), ("bias", 0.5), ("mean", 0.25), ("variance", 1.0)];
            g.initializer.extend(parameters.map(|(name, value)| parameter(name, value)));
            let input = ["b.y", "scale", "bias", "mean", "variance"].map(String::from).to_vec();
            let (op_type, output) = ("BatchNormalization".into(), vec!["y".into()]);
            g.node.push(NodeProto { name: "n".into(), op_type, input, output, ..Default::default() });
            g.output[0].name = "y".into();
            g.initializer.iter_mut().for_each(|tensor| store(tensor, element, true));
        });
        std::fs::write(folder.path().join("m.onnx"), model).unwrap();
        let args = ["optimize", "m.onnx", "-o", "o.onnx", "--group-width", "4", "--force", "--json"];
        let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
        let graph = read(&folder.path().join("o.onnx")).graph.unwrap();
        assert_eq!(groups(&read(&folder.path().join("o.onnx"))), [2, 2], "{element}");
        assert!(graph.initializer.iter().all(|tensor| tensor.data_type == element.to_proto()));
        if element == ElementType::F64 {
            assert_eq!(graph.node.len(), 2);
            let weight = graph.initializer.iter().find(|t| t.name == graph.node[1].input[1]).unwrap();
            let scale = 3.0 / (1.0f64 + 1e-5).sqrt();
            assert_eq!(to_f64(weight).unwrap()[1], scale, "f64 to the last bit");
        } else {
            assert_eq!(graph.node.len(), 3);
            assert!(done["declined"][0]["reason"].as_str().unwrap().contains("a second time"), "{done}");
        }
    }
}

#[test]
fn a_weight_that_others_use_is_not_taken_from_them() {
    let folder = tempfile::tempdir().unwrap();
    let shared = two_convolutions(|g| {
        g.node[1].input[1] = "a.w".into();
        g.node[1].op_type = "Mystery".into();
        g.node[1].domain = "some.where".into();
        g.initializer.truncate(1);
    });
    std::fs::write(folder.path().join("m.onnx"), shared).unwrap();
    succeed(folder.path(), &["optimize", "m.onnx", "-o", "o.onnx", "--group-width", "4", "-q"]);
    let graph = read(&folder.path().join("o.onnx")).graph.unwrap();
    assert_eq!(graph.node[1].input, ["a.y", "a.w"]);
    assert_eq!(graph.node[0].input, ["x", "a.w.lowered"]);
    let dims: Vec<&[i64]> = graph.initializer.iter().map(|t| &t.dims[..]).collect();
    assert_eq!(dims, [&[8, 2, 1, 1][..], &[8, 4, 1, 1]]);
    let wide = to_f32(&graph.initializer[1]).unwrap();
    assert_eq!(wide[..16], [0., 1., 0., 0., 2., 3., 0., 0., 0., 0., 4., 5., 0., 0., 6., 7.]);
}

#[test]
fn tensors_of_every_type_keep_their_numbers_when_they_are_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (typed, raw) = (export("types_typed.onnx"), export("types_raw.onnx"));
    let args = ["optimize", typed.to_str().unwrap(), "-o", "o.onnx", "--external-data", "always", "-q"];
    succeed(folder.path(), &args);
    let written = onnx_file::read::read(&folder.path().join("o.onnx")).unwrap().graph.unwrap();
    let (moved, expected) = (read(&folder.path().join("o.onnx")), read(&raw));
    let (moved, expected) = (moved.graph.unwrap().initializer, expected.graph.unwrap().initializer);
    assert_eq!(moved.len(), 26, "every type of ONNX 1.22");
    for ((written, moved), expected) in written.initializer.iter().zip(&moved).zip(&expected) {
        assert_eq!(written.external_data.is_empty(), expected.name == "STRING", "{}", expected.name);
        // The same name, type, dimensions and bytes, and nothing in a typed field.
        assert!(moved == expected, "{}", expected.name);
    }
    // And from one data file to another, or back.
    for external in ["always", "never"] {
        succeed(folder.path(), &["optimize", "o.onnx", "-o", "p.onnx", "--external-data", external, "--force", "-q"]);
        assert!(read(&folder.path().join("p.onnx")).graph.unwrap().initializer == expected, "{external}");
    }
}

#[test]
fn a_tensor_that_does_not_fit_its_type_is_a_bad_input_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut TensorProto);
    let cases: [(Change, &str); 5] = [
        (|t| t.int32_data[7] = 70_000, "holds 70000 at index 7"),
        (|t| t.int32_data.truncate(5), "holds 10"),
        (|t| t.float_data = vec![0.0; 1024], "float_data and int32_data"),
        (|t| (t.int32_data, t.float_data) = (Vec::new(), vec![0.0; 1024]), "where int32_data"),
        (|t| t.dims = vec![-1], "impossible shape"),
    ];
    for (change, reason) in cases {
        let broken = two_convolutions(|graph| {
            let halves = ElementType::F16.to_proto();
            let mut tensor =
                TensorProto { name: "odd".into(), data_type: halves, dims: vec![1024], ..Default::default() };
            tensor.int32_data = vec![0x3c00; 1024];
            change(&mut tensor);
            graph.initializer.push(tensor);
        });
        std::fs::write(folder.path().join("m.onnx"), broken).unwrap();
        let args = ["optimize", "m.onnx", "-o", "o.onnx", "--external-data", "always"];
        fail(folder.path(), &args, 3, &["m.onnx", "'odd'", reason]);
        assert_eq!(names(folder.path()), ["m.onnx"]);
    }
}
