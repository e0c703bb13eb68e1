//! Folders for other stacks: whole, the same bytes each time, and honest about what is not known.

use std::path::Path;

use crate::common::models::{build, export, read};
use crate::common::program::{fail, names, run, succeed, text};
use onnx_file::bundle::{Manifest, tensor};
use onnx_file::port::Port;
use onnx_file::proto::{AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
use onnx_file::tensor::to_f32;
use prost::Message as _;
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn a_bundle_has_a_folder_for_each_stack_and_the_same_bytes_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("labels.txt"), "a\nb \"c\"\nd\ne\nf\n").unwrap();
    build(folder.path(), "m.onnx", &["--labels", "labels.txt", "--batch", "dynamic"]);
    build(folder.path(), "h.onnx", &["--labels", "labels.txt", "--dtype", "f16"]);
    for output in ["one", "two"] {
        succeed(folder.path(), &["bundle", "m.onnx", "--f16", "h.onnx", "-o", output, "--name", "shapes", "-q"]);
    }
    let manifest = Manifest::checked(&at("one")).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.models.len()), ("shapes", 2));
    let sums = |bundle: &str| std::fs::read_to_string(at(bundle).join("SHA256SUMS")).unwrap();
    assert_eq!(sums("one"), sums("two"));
    assert_eq!(
        names(&at("one")),
        ["LICENSE", "README.md", "SHA256SUMS", "bundle.json", "huggingface", "kserve", "labels.txt", "onnx", "triton"]
    );
    assert!(!names(folder.path()).iter().any(|name| name.starts_with(".resnext-bundle")));
    // Golden cases are the model's own input and output, by name, and differ from each other.
    let model = &manifest.models[0];
    let tensors = |case: usize| {
        let [input, output] = [&model.cases[case].inputs[0], &model.cases[case].outputs[0]];
        [tensor(&at("one").join(input)).unwrap(), tensor(&at("one").join(output)).unwrap()]
    };
    let [first, second] = [tensors(0), tensors(1)];
    assert_eq!((first[0].name.as_str(), &first[0].dims[..]), ("input", &[1, 3, 64, 64][..]));
    assert_eq!((first[1].name.as_str(), &first[1].dims[..]), ("logits", &[1, 5][..]));
    assert!(to_f32(&first[1]).unwrap() != to_f32(&second[1]).unwrap());
    assert_eq!(tensors(2)[0].dims, [2, 3, 64, 64]);
    // What other stacks are told.
    let config = std::fs::read_to_string(at("one/triton/shapes/config.pbtxt")).unwrap();
    assert!(!config.lines().any(|line| line.starts_with("name:")), "{config}");
    for part in ["max_batch_size: 64", "dims: [ 3, 64, 64 ]", "label_filename: \"labels.txt\"", "dynamic_batching { }"]
    {
        assert!(config.contains(part), "{config}");
    }
    for file in ["model", "model_fp16"] {
        let model = read(&at("one/huggingface/onnx").join(format!("{file}.onnx")));
        let graph = model.graph.as_ref().unwrap();
        let ports: Vec<String> =
            Port::inputs(graph).iter().chain(&[Port::of(&graph.output[0])]).map(Port::to_string).collect();
        assert_eq!(ports, ["pixel_values f32 [?, 3, 64, 64]", "logits f32 [?, 5]"], "{file}");
    }
    assert_eq!(json(&at("one/huggingface/config.json"))["id2label"]["1"], "b \"c\"");
    let processor = json(&at("one/huggingface/preprocessor_config.json"));
    assert_eq!(
        (processor["size"]["shortest_edge"].as_u64(), processor["crop_size"]["width"].as_u64()),
        (Some(73), Some(64))
    );
    let service = std::fs::read_to_string(at("one/kserve/inference-service.yaml")).unwrap();
    assert!(service.contains("protocolVersion: v2") && service.contains("apiVersion: serving.kserve.io/v1beta1"));
}

#[test]
fn what_is_there_stays_unless_it_is_a_bundle_and_force_is_given() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "m.onnx", &[]);
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    std::fs::write(folder.path().join("mine/thesis.tex"), "").unwrap();
    fail(folder.path(), &["bundle", "m.onnx", "-o", "mine", "--force"], 2, &["something else than a bundle"]);
    fail(folder.path(), &["bundle", "m.onnx", "-o", "m.onnx", "--force"], 2, &["no folder"]);
    fail(folder.path(), &["bundle", "m.onnx", "-o", "no/such/place"], 6, &["no/such/place"]);
    fail(folder.path(), &["bundle", "absent.onnx", "-o", "b"], 3, &["absent.onnx"]);
    fail(folder.path(), &["bundle", "m.onnx", "-o", "b", "--f16", "m.onnx"], 2, &["computes in f32"]);
    fail(folder.path(), &["bundle", "m.onnx", "-o", "b", "--results", "m.onnx"], 3, &["m.onnx"]);
    assert!(!folder.path().join("b").exists());
    succeed(folder.path(), &["bundle", "m.onnx", "-o", "b", "-q", "--for", "onnx"]);
    assert!(!folder.path().join("b/triton").exists());
    fail(folder.path(), &["bundle", "m.onnx", "-o", "b"], 2, &["b exists", "--force"]);
    succeed(folder.path(), &["bundle", "m.onnx", "-o", "b", "-q", "--force", "--for", "kserve"]);
    assert!(folder.path().join("b/triton").exists() && folder.path().join("b/kserve").exists());
}

#[test]
fn what_a_stack_cannot_take_is_left_out_with_the_reason_or_refused_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "m.onnx", &["--input-type", "u8", "--softmax"]);
    let output = run(folder.path(), &["bundle", "m.onnx", "-o", "b"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("left out: huggingface"), "{said}");
    assert!(!folder.path().join("b/huggingface").exists());
    let card = std::fs::read_to_string(folder.path().join("b/README.md")).unwrap();
    assert!(card.contains("## Left out") && card.contains("the graph does the rest"), "{card}");
    assert_eq!(Manifest::checked(&folder.path().join("b")).unwrap().models[0].cases.len(), 3);
    fail(
        folder.path(),
        &["bundle", "m.onnx", "-o", "c", "--for", "huggingface"],
        2,
        &["huggingface cannot take m.onnx"],
    );
}

#[test]
fn what_lies_in_a_bundle_is_not_deleted_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    build(folder.path(), "m.onnx", &[]);
    succeed(folder.path(), &["bundle", "m.onnx", "-o", "b", "-q", "--for", "onnx"]);
    let replace = |more: &[&str], said: &[&str]| {
        fail(folder.path(), &[&["bundle", "m.onnx", "-o", "b", "--force"], more].concat(), 2, said);
    };
    fail(
        folder.path(),
        &["bundle", "b/onnx/model.onnx", "-o", "b", "--force"],
        2,
        &["b/onnx/model.onnx", "another -o"],
    );
    replace(&["--results", "b/bundle.json"], &["b/bundle.json", "another -o"]);
    replace(&["--labels", "b/LICENSE"], &["b/LICENSE", "another -o"]);
    for name in ["notes.txt", ".gitignore", "onnx/mine.onnx"] {
        std::fs::write(at("b").join(name), "mine").unwrap();
        replace(&[], &[name]);
        std::fs::remove_file(at("b").join(name)).unwrap();
    }
    succeed(folder.path(), &["bundle", "m.onnx", "-o", "b", "-q", "--force"]);
    assert_eq!(names(folder.path()), ["b", "m.onnx"]);
}

#[test]
fn preprocessing_that_contradicts_the_graph_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "m.onnx", &["--input-type", "u8"]);
    let other = r#"{"resize":73,"crop":64,"interpolation":"bilinear","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}"#;
    std::fs::write(folder.path().join("p.json"), other).unwrap();
    for verb in ["bundle", "optimize"] {
        let said = ["normalises images itself", "0.5"];
        fail(folder.path(), &[verb, "m.onnx", "-o", "out", "--preprocess", "p.json"], 2, &said);
        succeed(folder.path(), &[verb, "m.onnx", "-o", verb, "--preprocess", "v1", "-q"]);
    }
}

#[test]
fn a_folder_for_a_stack_is_whole_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "m.onnx", &[]);
    build(folder.path(), "h.onnx", &["--dtype", "f16", "--softmax"]);
    succeed(folder.path(), &["bundle", "m.onnx", "--f16", "h.onnx", "-o", "b", "-q"]);
    let card = std::fs::read_to_string(folder.path().join("b/README.md")).unwrap();
    assert!(card.contains("- huggingface: its output is no logits"), "{card}");
    assert!(!folder.path().join("b/huggingface").exists());
}

/// `model` with its weights in nodes.
fn with_constants(mut model: ModelProto) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    let constant = |tensor: TensorProto| NodeProto {
        op_type: "Constant".into(),
        output: vec![tensor.name.clone()],
        attribute: vec![AttributeProto { name: "value".into(), r#type: 4, t: Some(tensor), ..Default::default() }],
        ..Default::default()
    };
    let constants: Vec<NodeProto> = std::mem::take(&mut graph.initializer).into_iter().map(constant).collect();
    graph.node.splice(..0, constants);
    model
}

#[test]
fn weights_in_nodes_count_and_operator_sets_that_no_node_uses_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut half = with_constants(build(folder.path(), "h.onnx", &["--dtype", "f16"]));
    half.opset_import.push(OperatorSetIdProto { domain: "com.microsoft.nchwc".into(), version: 1 });
    std::fs::write(folder.path().join("h.onnx"), half.encode_to_vec()).unwrap();
    let check = run(folder.path(), &["check", "h.onnx", "--for", "onnxruntime,tract"]);
    let said = text(&check.stdout);
    assert!(said.contains("yes  onnxruntime") && said.contains("'fc' is a Gemm in f16"), "{said}");
    assert!(!said.contains("nchwc"), "{said}");
    succeed(folder.path(), &["bundle", "h.onnx", "-o", "b", "-q", "--for", "onnx"]);
    assert_eq!(Manifest::checked(&folder.path().join("b")).unwrap().models[0].dtype, "f16");
}

#[test]
fn of_a_model_of_others_what_is_not_known_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = export("resnext_torchscript.onnx").display().to_string();
    succeed(folder.path(), &["bundle", &path, "-o", "b", "-q"]);
    let card = std::fs::read_to_string(folder.path().join("b/README.md")).unwrap();
    for part in [
        "How images are prepared is not known",
        "their names are not in the file",
        "Where its weights come from is not in the file",
    ] {
        assert!(card.contains(part), "{card}");
    }
    assert!(!folder.path().join("b/huggingface/preprocessor_config.json").exists());
    assert!(Manifest::checked(&folder.path().join("b")).unwrap().models[0].cases.len() >= 2);
}
