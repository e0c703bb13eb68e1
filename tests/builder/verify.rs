//! `resnext-build verify`: equal models pass, and every way of being subtly wrong is caught.

use std::path::Path;

use crate::common::program::{fail, run, succeed, text};
use half::f16;
use onnx_file::element::ElementType;
use onnx_file::proto::{ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use onnx_file::tensor::to_f32;
use prost::Message as _;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints").join(name).display().to_string()
}

/// Builds the small network's model, lets `change` edit it and verifies it against its checkpoint.
fn exit_code_after(flags: &[&str], change: impl Fn(&mut ModelProto)) -> Option<i32> {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    let path = folder.path().join("m.onnx");
    succeed(folder.path(), &[&["--weights", &weights, "--image-size", "64", "-o", "m.onnx"], flags].concat());
    let mut model = onnx_file::read::read(&path).unwrap();
    change(&mut model);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    run(folder.path(), &["verify", "m.onnx", "--weights", &weights]).status.code()
}

fn node<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut NodeProto {
    model.graph.as_mut().unwrap().node.iter_mut().find(|n| n.name == name).unwrap()
}

/// Both arithmetics; what is wrong in one is wrong in the other.
const DTYPES: [&[&str]; 2] = [&[], &["--dtype", "f16"]];

/// Lets `change` edit a weight's values.
fn edit(model: &mut ModelProto, name: &str, change: impl Fn(&mut [f32])) {
    let tensor = model.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name == name).unwrap();
    let mut values = onnx_file::tensor::to_f32(tensor).unwrap();
    change(&mut values);
    tensor.raw_data = match ElementType::from_proto(tensor.data_type) {
        Some(ElementType::F16) => {
            values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect::<Vec<u8>>().into()
        }
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
    };
}

#[test]
fn what_the_builder_writes_is_what_the_checkpoint_means() {
    for flags in [
        &[][..],
        &["--no-fold-bn"],
        &["--group-width", "8"],
        &["--block-form", "concat"],
        &["--block-form", "branches"],
        &["--no-fold-bn", "--block-form", "branches"],
        &["--outputs", "c2,logits,c5"],
        &["--no-top"],
        &["--batch", "3"],
    ] {
        for dtype in DTYPES {
            assert_eq!(exit_code_after(&[flags, dtype].concat(), |_| ()), Some(0), "{flags:?} {dtype:?}");
        }
    }
}

#[test]
fn what_is_kept_in_f32_is_verified_as_such() {
    for flags in [
        &["--keep-io-types"][..],
        &["--keep-f32", "conv1,layer2.0.conv2,fc"],
        &["--keep-f32", "layer1.0.bn2", "--no-fold-bn", "--keep-io-types"],
        &["--keep-f32", "layer3.0.branch1.conv2", "--keep-f32", "layer4.0.branch0.conv1", "--block-form", "branches"],
        &["--keep-f32", "layer1.0.conv2", "--group-width", "8"],
    ] {
        assert_eq!(exit_code_after(&[flags, &["--dtype", "f16"]].concat(), |_| ()), Some(0), "{flags:?}");
    }
}

#[test]
fn what_optimize_folds_in_f32_beside_f16_is_verified_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixture("resnext_zip.pth");
    let build = ["--weights", &weights, "--image-size", "64", "-o", "m.onnx", "--dtype", "f16", "--no-fold-bn"];
    succeed(folder.path(), &[&build[..], &["--keep-f32", "layer1.0.conv2,layer1.0.bn2,layer2.0.conv3"]].concat());
    for more in [&[][..], &["--group-width", "8"]] {
        let args = ["optimize", "m.onnx", "-o", "o.onnx", "--force", "--json"];
        let done = succeed(folder.path(), &[&args[..], more].concat());
        let done: serde_json::Value = serde_json::from_slice(&done).unwrap();
        assert_eq!(done["passes"][0]["rewrites"], 1, "the one pair in f32: {done}");
        for model in ["m.onnx", "o.onnx"] {
            let report = text(&succeed(folder.path(), &["verify", model, "--weights", &weights]));
            assert!(report.contains("weights rounded to f16, as this program rounds"), "{report}");
        }
    }
}

#[test]
fn outputs_that_are_zero_on_both_sides_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("resnext.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let zeros = vec![0; 4 * 5 * 64];
    let views = tensors.tensors().into_iter().map(|(name, view)| {
        let data = if name.starts_with("fc.") { &zeros[..view.data().len()] } else { view.data() };
        (name, TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap())
    });
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, &folder.path().join("w.safetensors")).unwrap();
    for dtype in DTYPES {
        succeed(folder.path(), &[&["--weights", "w.safetensors", "-o", "m.onnx", "--force"], dtype].concat());
        succeed(folder.path(), &["verify", "m.onnx", "--weights", "w.safetensors"]);
        // And what is not zero where it should be is still different.
        let mut model = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap();
        edit(&mut model, "fc.bias", |values| values[0] = 1.0);
        std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
        let output = run(folder.path(), &["verify", "m.onnx", "--weights", "w.safetensors"]);
        assert_eq!(output.status.code(), Some(1), "{dtype:?}");
    }
}

/// Turns a model to f16 as another program would: what stands in the file is rounded, and the file is not marked.
fn convert(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let half = ElementType::F16.to_proto();
    for tensor in &mut graph.initializer {
        let values = to_f32(tensor).unwrap();
        let raw: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        *tensor = TensorProto { data_type: half, raw_data: raw.into(), ..tensor.clone() };
    }
    let retype = |value: &mut ValueInfoProto| {
        let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
            return;
        };
        tensor.elem_type = half;
    };
    graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info).for_each(retype);
}

#[test]
fn another_programs_f16_passes_within_its_rounding_and_damage_does_not() {
    assert_eq!(exit_code_after(&[], convert), Some(0));
    assert_eq!(exit_code_after(&["--no-fold-bn"], convert), Some(0));
    for name in ["conv1.weight", "layer1.0.conv2.weight", "fc.weight"] {
        let code = exit_code_after(&[], |model| {
            convert(model);
            edit(model, name, negate_largest);
        });
        assert_eq!(code, Some(1), "{name}");
    }
}

#[test]
fn every_container_verifies_and_external_data_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["resnext_f16.pth", "resnext_bf16.pth", "resnext_f64.pth", "resnext_mixed.pth", "basic.pth", "cifar.pth"]
    {
        let weights = fixture(name);
        for dtype in DTYPES {
            let flags = ["-o", "m.onnx", "--force", "--external-data", "always", "--image-size", "32"];
            succeed(folder.path(), &[&["--weights", weights.as_str()], &flags[..], dtype].concat());
            let report = text(&succeed(folder.path(), &["verify", "m.onnx", "--weights", &weights]));
            assert!(report.contains("computes what"), "{report}");
            assert_eq!(report.contains("weights rounded to f16"), !dtype.is_empty(), "{report}");
        }
    }
}

#[test]
fn a_wrong_group_is_caught() {
    // Shapes stay legal: twice the input channels a group, half the groups, weights repeated.
    for dtype in DTYPES {
        let code = exit_code_after(dtype, |model| {
            let conv = node(model, "layer1.0.conv2");
            conv.attribute.iter_mut().find(|a| a.name == "group").unwrap().i = 2;
            let graph = model.graph.as_mut().unwrap();
            let tensor = graph.initializer.iter_mut().find(|t| t.name == "layer1.0.conv2.weight").unwrap();
            tensor.dims[1] *= 2;
            tensor.raw_data = [&tensor.raw_data[..], &tensor.raw_data[..]].concat().into();
        });
        assert_eq!(code, Some(1), "{dtype:?}");
    }
    // And where they do not fit, the file is bad.
    let code = exit_code_after(&[], |model| {
        let conv = node(model, "layer1.0.conv2");
        conv.attribute.iter_mut().find(|a| a.name == "group").unwrap().i = 2;
    });
    assert_eq!(code, Some(3));
}

#[test]
fn swapped_channels_are_caught() {
    for dtype in DTYPES {
        let code = exit_code_after(dtype, |model| {
            edit(model, "layer2.0.conv3.weight", |values| {
                let (first, second) = values.split_at_mut(16);
                first.swap_with_slice(&mut second[..16]);
            });
        });
        assert_eq!(code, Some(1), "{dtype:?}");
    }
}

#[test]
fn one_flipped_weight_is_caught() {
    for name in ["conv1.weight", "layer1.0.conv2.weight", "layer3.0.downsample.0.weight", "fc.weight"] {
        for dtype in DTYPES {
            let code = exit_code_after(dtype, |model| edit(model, name, negate_largest));
            assert_eq!(code, Some(1), "{name} {dtype:?}");
        }
    }
    // In f16 the least change of one large weight, the last bit of its significand, is as much as rounding may be off.
    let code = exit_code_after(&["--dtype", "f16"], |model| {
        edit(model, "layer2.0.conv1.weight", |values| {
            let largest = largest(values);
            values[largest] = f16::from_bits(f16::from_f32(values[largest]).to_bits() ^ 1).to_f32();
        });
    });
    assert_eq!(code, Some(1));
}

fn largest(values: &[f32]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs())).unwrap()
}

fn negate_largest(values: &mut [f32]) {
    let largest = largest(values);
    values[largest] = -values[largest];
}

#[test]
fn a_wrong_epsilon_is_caught() {
    for dtype in DTYPES {
        for epsilon in [1e-3, 2e-5] {
            let code = exit_code_after(&[dtype, &["--no-fold-bn"]].concat(), |model| {
                node(model, "layer1.0.bn2").attribute.iter_mut().find(|a| a.name == "epsilon").unwrap().f = epsilon;
            });
            assert_eq!(code, Some(1), "{epsilon} {dtype:?}");
        }
    }
}

#[test]
fn a_missing_relu_is_caught() {
    for dtype in DTYPES {
        let code = exit_code_after(dtype, |model| {
            let relu = node(model, "layer2.0.relu1").clone();
            let graph = model.graph.as_mut().unwrap();
            graph.node.retain(|n| n.name != relu.name);
            for input in graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|i| **i == relu.output[0]) {
                input.clone_from(&relu.input[0]);
            }
        });
        assert_eq!(code, Some(1), "{dtype:?}");
    }
}

/// What other exporters write in place of the pooling and the flattening.
fn with_reduce_mean(model: &mut ModelProto, axes: [i64; 2], second: i64) {
    let pooled = node(model, "avgpool").clone();
    let flat = node(model, "flatten").clone();
    let ints =
        |name: &str, ints: Vec<i64>| onnx_file::proto::AttributeProto { name: name.into(), ints, ..Default::default() };
    *node(model, "avgpool") =
        NodeProto { op_type: "ReduceMean".into(), attribute: vec![ints("axes", axes.into())], ..pooled };
    let shape = onnx_file::proto::TensorProto {
        name: "shape".into(),
        data_type: ElementType::I64.to_proto(),
        dims: vec![2],
        int64_data: vec![0, second],
        ..Default::default()
    };
    let value = onnx_file::proto::AttributeProto { name: "value".into(), t: Some(shape), ..Default::default() };
    let constant = NodeProto {
        op_type: "Constant".into(),
        output: vec!["shape".into()],
        attribute: vec![value],
        ..Default::default()
    };
    let input = vec![flat.input[0].clone(), "shape".into()];
    *node(model, "flatten") = NodeProto { op_type: "Reshape".into(), input, attribute: Vec::new(), ..flat };
    model.graph.as_mut().unwrap().node.insert(0, constant);
}

#[test]
fn a_mean_and_a_reshape_at_the_end_are_read_as_the_pooling_they_are() {
    assert_eq!(exit_code_after(&[], |model| with_reduce_mean(model, [-1, -2], -1)), Some(0));
    assert_eq!(exit_code_after(&[], |model| with_reduce_mean(model, [2, 3], 64)), Some(0));
    assert_eq!(exit_code_after(&[], |model| with_reduce_mean(model, [1, 2], -1)), Some(3), "a mean over channels");
    assert_eq!(exit_code_after(&[], |model| with_reduce_mean(model, [2, 3], 32)), Some(3), "another shape");
}

#[test]
fn a_convolution_without_kernel_shape_has_its_weights_window() {
    let code = exit_code_after(&[], |model| {
        for node in &mut model.graph.as_mut().unwrap().node {
            if node.op_type == "Conv" {
                node.attribute.retain(|attribute| attribute.name != "kernel_shape");
            }
        }
    });
    assert_eq!(code, Some(0));
}

#[test]
fn operators_on_constants_and_computed_parameters_are_refused_by_name() {
    // A cast of a constant is one; what nobody uses need not be understood.
    for (op, is_used, expected) in [("Relu", true, 3), ("Relu", false, 0), ("Cast", true, 0)] {
        let code = exit_code_after(&[], |model| {
            let attribute = node(model, "fc").attribute[0].clone();
            let to = onnx_file::proto::AttributeProto { name: "to".into(), i: 1, ..attribute };
            let attribute = if op == "Cast" { vec![to] } else { Vec::new() };
            let (input, output) = (vec!["fc.weight".to_string()], vec!["new".to_string()]);
            if is_used {
                node(model, "fc").input[1] = "new".into();
            }
            let made = NodeProto { op_type: op.into(), input, output, attribute, ..Default::default() };
            model.graph.as_mut().unwrap().node.insert(0, made);
        });
        assert_eq!(code, Some(expected), "{op} {is_used}");
    }
    let code = exit_code_after(&[], |model| {
        let produced = node(model, "layer1.0.conv1").output[0].clone();
        node(model, "layer1.0.conv3").input[2] = produced;
    });
    assert_eq!(code, Some(3));
}

#[test]
fn another_checkpoint_is_not_this_model() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &["--weights", &fixture("resnext_zip.pth"), "--image-size", "64", "-o", "m.onnx"]);
    let other = run(folder.path(), &["verify", "m.onnx", "--weights", &fixture("resnext_bf16.pth"), "--json"]);
    assert_eq!(other.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(json["equal"], false);
    assert!(json["outputs"][0]["relative_l2"].as_f64().unwrap() > 1e-6);
    let other = run(folder.path(), &["verify", "m.onnx", "--weights", &fixture("basic.pth")]);
    assert_eq!((other.status.code(), text(&other.stdout).contains("does not compute")), (Some(1), true));
    fail(
        folder.path(),
        &["verify", "m.onnx", "--weights", &fixture("cifar.pth")],
        3,
        &["neither logits nor a feature map"],
    );
    fail(folder.path(), &["verify", "absent.onnx", "--weights", &fixture("basic.pth")], 3, &["absent.onnx"]);
}
