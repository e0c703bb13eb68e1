//! `resnext-build` as a program: what it writes, what it says, how it refuses.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::program::{fail, names, program, run, succeed, text};
use crate::common::snapshot::assert_as_kept;
use onnx_file::element::ElementType;
use onnx_file::proto::{
    GraphProto, ModelProto, OperatorSetIdProto, TensorProto, tensor_shape_proto::dimension, type_proto,
};
use prost::Message as _;

/// A network of a few hundred kilobytes.
const SMALL: [&str; 8] = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--planes", "16", "--num-classes", "7"];

fn build(folder: &Path, extra: &[&str]) -> ModelProto {
    succeed(folder, &[&SMALL[..], extra, &["-o", "m.onnx", "--force"]].concat());
    onnx_file::read::read(&folder.join("m.onnx")).unwrap()
}

fn dims(value: &onnx_file::proto::ValueInfoProto) -> String {
    let Some(type_proto::Value::TensorType(tensor)) = &value.r#type.as_ref().unwrap().value else { panic!("a tensor") };
    let dims = tensor.shape.as_ref().unwrap().dim.iter().map(|dim| match &dim.value {
        Some(dimension::Value::DimValue(n)) => n.to_string(),
        Some(dimension::Value::DimParam(name)) => name.clone(),
        None => "?".into(),
    });
    format!("{} {}", value.name, dims.collect::<Vec<_>>().join("x"))
}

#[test]
fn an_independent_decoder_reads_the_same_graph() {
    use onnx_protobuf::Message as _;
    let folder = tempfile::tempdir().unwrap();
    let ours = build(folder.path(), &[]);
    let bytes = std::fs::read(folder.path().join("m.onnx")).unwrap();
    let theirs = onnx_protobuf::ModelProto::parse_from_bytes(&bytes).unwrap();
    let (graph, other) = (ours.graph.unwrap(), theirs.graph.unwrap());
    assert_eq!((theirs.ir_version, theirs.opset_import[0].version), (8, 17));
    let nodes =
        |n: &onnx_file::proto::NodeProto| (n.name.clone(), n.op_type.clone(), n.input.clone(), n.output.clone());
    let other_nodes =
        |n: &onnx_protobuf::NodeProto| (n.name.clone(), n.op_type.clone(), n.input.clone(), n.output.clone());
    assert_eq!(
        graph.node.iter().map(nodes).collect::<Vec<_>>(),
        other.node.iter().map(other_nodes).collect::<Vec<_>>()
    );
    for (node, other) in graph.node.iter().zip(&other.node) {
        let ours: Vec<_> = node.attribute.iter().map(|a| (a.name.clone(), a.i, a.ints.clone())).collect();
        let theirs: Vec<_> = other.attribute.iter().map(|a| (a.name.clone(), a.i, a.ints.clone())).collect();
        assert_eq!(ours, theirs, "{}", node.name);
    }
    assert_eq!(graph.initializer.len(), other.initializer.len());
    for (tensor, other) in graph.initializer.iter().zip(&other.initializer) {
        assert_eq!((&tensor.name, &tensor.dims), (&other.name, &other.dims));
        assert!(tensor.raw_data == other.raw_data, "{}", tensor.name);
    }
    assert_eq!(graph.value_info.len(), other.value_info.len());
    assert_eq!(ours.metadata_props.len(), theirs.metadata_props.len());
}

#[test]
fn shapes_follow_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, input, outputs) in [
        (&[][..], "input batchx3x224x224", &["logits batchx7"][..]),
        (&["--batch", "4", "--image-size", "64x96"], "input 4x3x64x96", &["logits 4x7"]),
        (&["--dynamic-hw"], "input batchx3xheightxwidth", &["logits batchx7"]),
        (
            &["--outputs", "logits,c2,c5", "--batch", "1", "--image-size", "64"],
            "input 1x3x64x64",
            &["logits 1x7", "c2 1x64x16x16", "c5 1x512x2x2"],
        ),
    ] {
        let graph = build(folder.path(), flags).graph.unwrap();
        assert_eq!(dims(&graph.input[0]), input);
        assert_eq!(graph.output.iter().map(dims).collect::<Vec<_>>(), outputs);
        assert_eq!(graph.value_info.len() + graph.output.len(), graph.node.len(), "every value is described");
    }
    succeed(folder.path(), &["--variant", "26_32x4d", "--no-top", "-o", "t.onnx"]);
    let graph = onnx_file::read::read(&folder.path().join("t.onnx")).unwrap().graph.unwrap();
    assert_eq!(graph.output.iter().map(dims).collect::<Vec<_>>(), ["c5 batchx2048x7x7"]);
    assert!(graph.initializer.iter().all(|t| !t.name.starts_with("fc")));
}

#[test]
fn every_opset_declares_its_format_version() {
    let folder = tempfile::tempdir().unwrap();
    for (opset, ir) in [(13, 7), (17, 8), (18, 8), (19, 9), (21, 10), (23, 11), (24, 12), (25, 13)] {
        let model = build(folder.path(), &["--opset", &opset.to_string()]);
        assert_eq!((model.opset_import[0].version, model.ir_version), (opset, ir));
    }
    assert_eq!(build(folder.path(), &["--opset", "21", "--ir-version", "8"]).ir_version, 8);
}

#[test]
fn block_forms_have_the_papers_operators() {
    let folder = tempfile::tempdir().unwrap();
    let counts = |form: &str| {
        let graph = build(folder.path(), &["--block-form", form]).graph.unwrap();
        let mut counts = BTreeMap::new();
        for node in &graph.node {
            *counts.entry(node.op_type.clone()).or_insert(0) += 1;
        }
        let grouped = graph.node.iter().flat_map(|n| &n.attribute).filter(|a| a.name == "group" && a.i > 1).count();
        (counts["Conv"], counts.get("Concat").copied(), counts.get("Sum").copied(), grouped)
    };
    // One stem, four shortcuts; in each of four blocks 3, 32 + 32 + 1 or 32 * 3 convolutions.
    assert_eq!(counts("grouped"), (5 + 4 * 3, None, None, 4));
    assert_eq!(counts("concat"), (5 + 4 * 65, Some(4), None, 0));
    assert_eq!(counts("branches"), (5 + 4 * 96, None, Some(4), 0));
}

#[test]
fn external_data_holds_the_same_numbers_under_a_name_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let inside = build(folder.path(), &[]).graph.unwrap();
    let mut outside = build(folder.path(), &["--external-data", "always"]).graph.unwrap();
    let files = names(folder.path());
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files[0].starts_with("m-") && files[0].ends_with(".data"), "{files:?}");
    for (tensor, expected) in outside.initializer.iter_mut().zip(&inside.initializer) {
        onnx_file::read::load_external(&folder.path().join("m.onnx"), tensor).unwrap();
        assert!(tensor.raw_data == expected.raw_data, "{}", tensor.name);
    }
    build(folder.path(), &["--external-data", "always", "--seed", "1"]);
    assert_eq!(names(folder.path()).len(), 3, "other numbers, another file");
}

#[test]
fn metadata_tells_where_weights_come_from_and_how_to_prepare_images() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("labels.txt"), "a\nb\nc\nd\ne\nf\ng\n").unwrap();
    let model = build(folder.path(), &["--labels", "labels.txt", "--preprocess", "v2", "--seed", "5"]);
    let metadata: BTreeMap<_, _> = model.metadata_props.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
    assert_eq!(metadata["resnext.weights"], "random");
    assert_eq!(metadata["resnext.seed"], "5");
    assert_eq!(metadata["resnext.labels"], r#"["a","b","c","d","e","f","g"]"#);
    assert!(metadata["resnext.preprocess"].starts_with(r#"{"resize":232,"crop":224,"interpolation":"bilinear""#));
    let output = run(folder.path(), &[&SMALL[..], &["-o", "n.onnx"]].concat());
    assert!(text(&output.stderr).contains("weights: random"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn that_weights_are_random_is_said_even_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &[&SMALL[..], &["-o", "m.onnx", "-q", "--seed", "3"]].concat());
    let note = "note: weights: random (seed 3); pass --weights FILE for trained ones\n";
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), note));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/resnext.safetensors");
    let output = run(folder.path(), &["--weights", fixture.to_str().unwrap(), "-o", "trained.onnx", "-q"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn flags_that_would_change_nothing_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("labels.txt"), "a\nb\n").unwrap();
    for (network, flags, parts) in [
        ("resnet18", &["--group-width", "8"][..], &["no grouped convolutions", "--group-width"][..]),
        ("resnet50", &["--block-form", "concat"], &["no grouped blocks", "--block-form"]),
        ("50_32x4d", &["--block-form", "branches", "--group-width", "8"], &["--block-form", "--group-width"]),
        ("50_32x4d", &["--group-width", "8,8,8,8,8"], &["names 5 stages", "has 4"]),
        ("resnet18", &["--stride-in", "1x1"], &["no 1x1 convolution", "--stride-in"]),
        ("50_32x4d", &["--no-top", "--labels", "labels.txt"], &["--labels", "logits"]),
        ("50_32x4d", &["--outputs", "c3", "--num-classes", "5"], &["--num-classes", "logits"]),
    ] {
        fail(folder.path(), &[&["--variant", network, "-o", "m.onnx"], flags].concat(), 2, parts);
    }
    // A target may leave a network as it is.
    succeed(folder.path(), &["--variant", "resnet18", "--target", "cpu-avx2", "-o", "m.onnx", "-q"]);
    assert_eq!(names(folder.path()), ["labels.txt", "m.onnx"]);
}

#[test]
#[cfg(unix)]
fn a_pipe_or_a_device_is_not_replaced_by_a_file() {
    use std::os::unix::fs::FileTypeExt as _;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    succeed(folder.path(), &[&SMALL[..], &["-o", "m.onnx", "-q"]].concat());
    for output in ["pipe", "/dev/null", "/dev/full"] {
        for force in [&[][..], &["--force"]] {
            let parts = &[output, "pipe or a device", "-o"];
            let instead = format!("-o - > {output}");
            fail(folder.path(), &[&SMALL[..], &["-o", output], force].concat(), 2, &[output, instead.as_str()]);
            fail(folder.path(), &[&["optimize", "m.onnx", "-o", output], force].concat(), 2, parts);
        }
    }
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(names(folder.path()), ["m.onnx", "pipe"]);
}

#[test]
fn usage_errors_exit_2_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let small = |extra: &[&'static str]| [&SMALL[..], extra].concat();
    for (args, parts) in [
        (vec!["--variant", "50_32x4d"], &["-o FILE"][..]),
        (vec!["--variant", "18_32x4d", "-o", "x"], &["dense block of width 128", "Figure 4"]),
        (vec!["--variant", "seresnext50_32x4d", "-o", "x"], &["squeeze-and-excitation"]),
        (vec!["--variant", "resnext50d_32x4d", "-o", "x"], &["another architecture"]),
        (vec!["--variant", "vgg16", "-o", "x"], &["DEPTH_CxWd"]),
        (vec!["--variant", "77_32x4d", "-o", "x"], &["--blocks"]),
        (vec!["-o", "x"], &["--variant"]),
        (small(&["--outputs", "c9", "-o", "x"]), &["c5"]),
        (small(&["--outputs", "c6", "-o", "x"]), &["c2 to c5"]),
        (small(&["--outputs", "c2,c2", "-o", "x"]), &["twice"]),
        (small(&["--labels", "imagenet", "-o", "x"]), &["1000 labels", "7 classes"]),
        (small(&["--opset", "12", "-o", "x"]), &["13..=25"]),
        (small(&["--batch", "0", "-o", "x"]), &["extent of 0"]),
        (vec!["--variant", "resnet50", "--planes", "4096", "-o", "x"], &["parameters", "828 million"]),
        (vec!["--variant", "101_32x48d", "--external-data", "never", "-o", "x"], &["--external-data auto"]),
    ] {
        fail(folder.path(), &args, 2, parts);
    }
    assert_eq!(names(folder.path()), [""; 0], "nothing is left behind");
}

#[test]
fn classes_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    // 32 features a class; the largest number passes, and is then too large for one file.
    let with = ["--variant", "resnet50", "--planes", "1", "--external-data", "never", "-o", "x", "--num-classes"];
    fail(folder.path(), &[&with[..], &["16777217"]].concat(), 2, &["16777217 is out of range (1 to 16777216)"]);
    fail(folder.path(), &[&with[..], &["16777216"]].concat(), 2, &["--external-data auto"]);
    fail(folder.path(), &[&with[..], &["0"]].concat(), 2, &["0 is out of range"]);
}

#[test]
fn a_model_that_metadata_could_take_over_the_limit_is_too_large_for_one_file() {
    use onnx_file::write::MESSAGE_LIMIT;
    use resnext_builder::build::{BuildError, Destination, External, Plan, Weights, build};
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".m.onnx.partial")).unwrap();
    let build = |classes: u64| {
        // What is not refused for its size fails here, before anything is written.
        let destination = Destination::File(folder.path().join("m.onnx"));
        let variant = resnext_builder::variant::Variant::parse("resnet50").unwrap();
        let mut plan = Plan::new(Some(variant), Weights::Random { seed: 0 }, destination);
        plan.external = External::Never;
        plan.classes = Some(classes as usize);
        build(&plan, &mut |_| {}).map(drop).unwrap_err()
    };
    let of_size = |classes: u64| match build(classes) {
        BuildError::TooLarge { bytes, .. } => bytes,
        other => panic!("{classes} classes: {other}"),
    };
    // A weight for each of 2048 features, and a bias.
    let a_class = 4 * 2049;
    let beyond = 1 << 18;
    let down_to = |limit: u64| beyond - (of_size(beyond) - limit).div_ceil(a_class);
    let within = of_size(down_to(MESSAGE_LIMIT - (1 << 19)));
    assert!(within < MESSAGE_LIMIT && within + (1 << 20) > MESSAGE_LIMIT, "{within}");
    let error = build(down_to(MESSAGE_LIMIT - (1 << 20)));
    assert!(matches!(error, BuildError::Output { .. }), "{error}");
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), "precious").unwrap();
    fail(folder.path(), &[&SMALL[..], &["-o", "m.onnx"]].concat(), 2, &["exists", "--force"]);
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).unwrap(), b"precious");
    succeed(folder.path(), &[&SMALL[..], &["-o", "m.onnx", "--force"]].concat());
    assert_eq!(names(folder.path()), ["m.onnx"]);
}

#[test]
fn an_output_that_cannot_be_written_exits_6_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fail(folder.path(), &[&SMALL[..], &["-o", "missing/m.onnx"]].concat(), 6, &["missing/m.onnx"]);
    std::fs::create_dir(folder.path().join("d")).unwrap();
    fail(folder.path(), &[&SMALL[..], &["-o", "d", "--force"]].concat(), 6, &["folder"]);
    assert_eq!(names(folder.path()), ["d"]);
}

#[test]
fn the_list_is_as_kept() {
    let folder = tempfile::tempdir().unwrap();
    let found = text(&succeed(folder.path(), &["list"]));
    assert_as_kept("list", &found);
    let json: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &["list", "--json"])).unwrap();
    assert_eq!(json["networks"][1]["parameters"], 25_028_904);
    assert_eq!(json["schema_version"], 2);
    let known = &json["networks"][1]["checkpoints"][0];
    assert_eq!((known["top1_percent"].as_f64(), known["bytes"].as_u64()), (Some(77.618), Some(100_442_046)));
}

#[test]
fn a_built_file_can_be_inspected() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &[]);
    let report = text(&succeed(folder.path(), &["inspect", "m.onnx"]));
    for part in
        ["ONNX, IR 8, opset ai.onnx 17", "dtype         f32", "group 32 x4", "input f32 [batch, 3, 224, 224]", "layer4"]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&succeed(folder.path(), &["inspect", "m.onnx", "--json"])).unwrap();
    assert_eq!(json["kind"], "onnx");
    assert_eq!(json["architecture"]["inferred"]["classes"], 7);
    fail(folder.path(), &["inspect", "absent.onnx"], 3, &["absent.onnx"]);
    #[cfg(unix)]
    fail(folder.path(), &["inspect", "/dev/zero"], 3, &["not a regular file"]);
}

#[test]
fn completions_are_written_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(text(&succeed(folder.path(), &["completions", shell])).contains("block-form"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::Stdio;
    for args in [&["list"][..], &[&SMALL[..], &["-o", "-", "-q"]].concat()] {
        let mut child = program().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn blocks_of_ones_own_make_any_depth() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--variant", "38_32x4d", "--blocks", "1,1,1", "--planes", "16", "--no-top", "-o", "m.onnx"];
    succeed(folder.path(), &args);
    let graph = onnx_file::read::read(&folder.path().join("m.onnx")).unwrap().graph.unwrap();
    assert_eq!(graph.output.iter().map(dims).collect::<Vec<_>>(), ["c4 batchx256x14x14"]);
}

#[test]
fn multiply_adds_of_a_network_of_open_size_are_those_at_its_usual_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--variant", "26_32x4d", "--dynamic-hw", "-o", "m.onnx"]);
    assert!(text(&output.stderr).contains("2.47 G multiply-adds"), "{}", text(&output.stderr));
}

#[test]
fn tensors_said_to_be_larger_than_any_machine_are_counted_without_overflow() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |index: usize| TensorProto {
        name: format!("t{index}"),
        data_type: ElementType::F16.to_proto(),
        dims: vec![(1 << 60) - 1],
        ..TensorProto::default()
    };
    let graph = GraphProto { initializer: (0..40).map(tensor).collect(), ..GraphProto::default() };
    let opset_import = vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }];
    let model = ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() };
    std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&succeed(folder.path(), &["inspect", "m.onnx", "--json"])).unwrap();
    assert_eq!((&json["tensors"], &json["elements"]), (&40.into(), &u64::MAX.into()));
    assert!(text(&succeed(folder.path(), &["inspect", "m.onnx"])).contains("dtype         f16"));
    // And a network with more classes than there are numbers for.
    let mut model = build(folder.path(), &[]);
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    tensors.iter_mut().find(|tensor| tensor.name == "fc.weight").unwrap().dims = vec![1 << 58, 1];
    std::fs::write(folder.path().join("m.onnx"), model.encode_to_vec()).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&succeed(folder.path(), &["inspect", "m.onnx", "--json"])).unwrap();
    assert_eq!(json["architecture"]["inferred"]["parameters"], u64::MAX);
}
