//! One network in the forms in which exporters and people leave it: read by `verify` and `optimize` alike.

use std::path::{Path, PathBuf};

use crate::common::models::read;
use crate::common::program::{run, succeed, text};
use onnx_file::element::ElementType;
use onnx_file::proto::{ModelProto, TensorProto};
use onnx_file::raw;
use prost::Message as _;
use serde_json::Value;

/// The models with what they compute, the normalisations that can be folded and the grouped convolutions in them.
const FORMS: [(&str, &str, u64); 12] = [
    ("dynamo_plain.onnx", "resnext_zip.pth", 17),
    ("dynamo_fixed.onnx", "resnext_zip.pth", 17),
    ("script_inputs.onnx", "resnext_zip.pth", 0),
    ("script_view.onnx", "resnext_zip.pth", 17),
    // A multiplication and an addition each.
    ("frozen.onnx", "resnext_zip.pth", 34),
    ("matmul.onnx", "resnext_zip.pth", 17),
    ("gemm_forms.onnx", "resnext_zip.pth", 17),
    ("auto_pad.onnx", "resnext_zip.pth", 17),
    ("half_weights.onnx", "half_weights.safetensors", 17),
    ("quantized.onnx", "quantized.safetensors", 17),
    ("transposed.onnx", "resnext_zip.pth", 17),
    ("ir3.onnx", "resnext_zip.pth", 17),
];

fn form(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports/forms").join(name)
}

/// A checkpoint of this folder, or of the one of checkpoints.
fn weights(name: &str) -> String {
    let own = form(name);
    let path = if own.exists() { own } else { form("../../checkpoints").join(name) };
    path.display().to_string()
}

#[test]
fn every_form_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    for (name, checkpoint, _) in FORMS {
        let path = form(name).display().to_string();
        let output = run(folder.path(), &["verify", &path, "--weights", &weights(checkpoint)]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

/// Turns the sign of the largest numbers of the weight in `model` that takes the most bytes.
fn damage(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let constants = graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|a| a.t.as_mut());
    let weights = graph.initializer.iter_mut().chain(constants);
    let largest = weights.max_by_key(|tensor: &&mut TensorProto| raw::len(tensor).unwrap_or(0)).unwrap();
    let mut bytes = raw::bytes(largest).unwrap().to_vec();
    let size = ElementType::from_proto(largest.data_type).unwrap().size();
    // The highest byte of an element has its sign, in floats as in two's complement.
    bytes.chunks_exact_mut(size).take(64).for_each(|element| element[size - 1] ^= 0x80);
    raw::clear(largest);
    largest.raw_data = bytes.into();
}

#[test]
fn a_damaged_weight_is_caught_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    for (name, checkpoint, _) in FORMS {
        let mut model = read(&form(name));
        damage(&mut model);
        std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
        let output = run(folder.path(), &["verify", "m.onnx", "--weights", &weights(checkpoint)]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn a_damaged_head_is_caught_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut ModelProto);
    let changes: [(&str, Change); 5] = [
        ("gemm_forms.onnx", |model| attribute(model, "Gemm", "alpha").f = 0.25),
        ("gemm_forms.onnx", |model| attribute(model, "Gemm", "beta").f = 1.0),
        ("frozen.onnx", |model| last(model, "Mul").op_type = "Div".into()),
        ("matmul.onnx", |model| last(model, "AveragePool").op_type = "MaxPool".into()),
        ("quantized.onnx", |model| attribute(model, "DequantizeLinear", "axis").i = 1),
    ];
    for (name, change) in changes {
        let mut model = read(&form(name));
        change(&mut model);
        std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
        let (_, checkpoint, _) = FORMS.iter().find(|(other, ..)| *other == name).unwrap();
        let output = run(folder.path(), &["verify", "m.onnx", "--weights", &weights(checkpoint)]);
        // A scale along another axis than it fits is none.
        let expected = if name == "quantized.onnx" { 3 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{name}: {}", text(&output.stderr));
    }
}

fn last<'a>(model: &'a mut ModelProto, op: &str) -> &'a mut onnx_file::proto::NodeProto {
    model.graph.as_mut().unwrap().node.iter_mut().rev().find(|node| node.op_type == op).unwrap()
}

fn attribute<'a>(model: &'a mut ModelProto, op: &str, name: &str) -> &'a mut onnx_file::proto::AttributeProto {
    last(model, op).attribute.iter_mut().find(|a| a.name == name).unwrap()
}

#[test]
fn every_form_is_rewritten_and_still_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (name, checkpoint, folds) in FORMS {
        let path = form(name).display().to_string();
        let args = ["optimize", &path, "-o", "o.onnx", "--force", "--json", "--group-width", "8", "--subsample"];
        let done: Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
        let rewrites = |pass: usize| done["passes"][pass]["rewrites"].as_u64().unwrap_or(0);
        // Every stage's 3x3 has 2 or more channels in each of 4 groups; 8 and 16 are wide enough.
        let widened = if folds == 0 { 0 } else { 2 };
        assert_eq!((rewrites(0), rewrites(1)), (folds, widened), "{name}: {done}");
        let output = run(folder.path(), &["verify", "o.onnx", "--weights", &weights(checkpoint)]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
        let model = read(&folder.path().join("o.onnx"));
        let graph = model.graph.as_ref().unwrap();
        let left = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
        if folds > 0 {
            // What computed the weights that were rewritten went with them.
            assert_eq!(left("BatchNormalization") + left("Transpose") + left("Expand"), 0, "{name}");
        }
        if model.ir_version < 4 {
            let inputs: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
            assert!(graph.initializer.iter().all(|tensor| inputs.contains(&tensor.name.as_str())), "{inputs:?}");
            assert_eq!(inputs.len(), graph.initializer.len() + 1, "no input is left without its initializer");
        }
    }
}

#[test]
fn initializers_that_may_be_fed_are_constants_only_where_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = form("script_inputs.onnx").display().to_string();
    let told = text(&succeed(folder.path(), &["optimize", &path, "-o", "o.onnx", "--json"]));
    assert!(told.contains("--constant-initializers where it never is"), "{told}");
    let args =
        ["optimize", &path, "-o", "o.onnx", "--json", "--force", "--constant-initializers", "--group-width", "8"];
    let done: Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
    assert_eq!(done["passes"][0]["rewrites"], 17, "{done}");
    succeed(folder.path(), &["verify", "o.onnx", "--weights", &weights("resnext_zip.pth")]);
    let graph = read(&folder.path().join("o.onnx")).graph.unwrap();
    let stored = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    assert_eq!(graph.input.iter().filter(|input| !stored(&input.name)).count(), 1, "only the image must be fed");
}

#[test]
fn convolutions_that_providers_compute_in_integers_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = read(&form("quantized.onnx"));
    let graph = model.graph.as_mut().unwrap();
    // The first convolution's image comes from integers, too.
    let image = graph.node.iter().position(|node| node.op_type == "Conv").unwrap();
    let zero = |name: &str| TensorProto {
        name: name.into(),
        data_type: ElementType::U8.to_proto(),
        raw_data: vec![128].into(),
        ..Default::default()
    };
    let scale = TensorProto {
        name: "q.scale".into(),
        data_type: ElementType::F32.to_proto(),
        float_data: vec![0.05],
        ..Default::default()
    };
    graph.initializer.extend([zero("q.zero"), scale]);
    let node = |op: &str, from: &str, to: &str| onnx_file::proto::NodeProto {
        op_type: op.into(),
        input: vec![from.into(), "q.scale".into(), "q.zero".into()],
        output: vec![to.into()],
        ..Default::default()
    };
    let from = std::mem::replace(&mut graph.node[image].input[0], "q.image".into());
    graph.node.insert(image, node("DequantizeLinear", "q.bytes", "q.image"));
    graph.node.insert(image, node("QuantizeLinear", &from, "q.bytes"));
    std::fs::write(folder.path().join("q.onnx"), model.encode_to_vec()).unwrap();
    let done: Value =
        serde_json::from_slice(&succeed(folder.path(), &["optimize", "q.onnx", "-o", "o.onnx", "--json"])).unwrap();
    let declined = done["declined"].as_array().unwrap();
    let quantized = declined.iter().filter(|d| d["because"]["obstacle"] == "quantized").count();
    assert_eq!((quantized, done["passes"][0]["rewrites"].as_u64()), (1, Some(16)), "{done}");
}
