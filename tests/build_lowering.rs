//! Targets, tuning files and `optimize`, as the program runs them.

#[path = "common/program.rs"]
mod program;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType,
};
use onnx_file::tensor::{ElementType, to_f32, to_f64};
use program::{fail, names, run, succeed, text};
use prost::Message as _;

const SMALL: [&str; 8] = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--image-size", "64", "--num-classes", "5"];

fn build(folder: &Path, output: &str, more: &[&str]) -> ModelProto {
    succeed(folder, &[&SMALL[..], &["-q", "-o", output], more].concat());
    read(&folder.join(output))
}

fn read(path: &Path) -> ModelProto {
    let mut model = onnx_file::read::read(path).expect("a model");
    for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        onnx_file::read::load_external(path, tensor).expect("its data");
    }
    model
}

fn export(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports").join(name)
}

/// Nodes with their attributes, and the numbers of every weight where it is used: all but the names of weights.
fn meaning(model: &ModelProto) -> Vec<(NodeProto, Vec<Vec<f32>>)> {
    let graph = model.graph.as_ref().expect("a graph");
    let weights: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let node = |node: &NodeProto| {
        let numbers = node.input.iter().filter_map(|i| weights.get(i.as_str())).map(|t| to_f32(t).expect("floats"));
        let input = node.input.iter().filter(|i| !weights.contains_key(i.as_str())).cloned().collect();
        (NodeProto { input, ..node.clone() }, numbers.collect())
    };
    graph.node.iter().map(node).collect()
}

fn groups(model: &ModelProto) -> Vec<i64> {
    let group = |node: &NodeProto| node.attribute.iter().find(|a| a.name == "group").map(|a| a.i);
    model.graph.iter().flat_map(|g| &g.node).filter_map(group).filter(|&group| group > 1).collect()
}

/// The convolutions whose pixels are taken before them.
fn subsampled(model: &ModelProto) -> Vec<&str> {
    let nodes = &model.graph.as_ref().expect("a graph").node;
    let one = |node: &NodeProto| node.attribute.iter().any(|a| a.name == "kernel_shape" && a.ints == [1, 1]);
    let pixels = nodes.iter().filter(|node| node.op_type == "MaxPool" && one(node));
    let taken_by = |pixels: &NodeProto| nodes.iter().position(|node| node.input.contains(&pixels.output[0]));
    let convolution = |pixels: &NodeProto| {
        let conv = &nodes[taken_by(pixels).expect("a use")];
        let strides = conv.attribute.iter().find(|a| a.name == "strides").expect("strides");
        assert_eq!((conv.op_type.as_str(), &strides.ints[..]), ("Conv", &[1, 1][..]));
        conv.name.as_str()
    };
    pixels.map(convolution).collect()
}

fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

#[test]
fn targets_that_change_nothing_write_the_portable_graph_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let portable = build(folder.path(), "portable.onnx", &[]);
    assert_eq!(metadata(&portable, "resnext.target"), Some("portable"));
    assert_eq!(metadata(&portable, "resnext.lowering"), None);
    for target in ["openvino", "cuda", "tensorrt"] {
        let model = build(folder.path(), &format!("{target}.onnx"), &["--target", target]);
        assert_eq!(model.graph, portable.graph, "{target}");
        assert_eq!(metadata(&model, "resnext.target"), Some(target));
        let reason = metadata(&model, "resnext.lowering").unwrap();
        assert!(reason.contains("measured"), "{reason}");
        assert_eq!(reason.contains("(unmeasured"), target != "openvino", "{reason}");
    }
}

#[test]
fn the_cpu_targets_widen_to_the_kernels_blocks_and_cpu_is_one_of_them_or_portable() {
    let folder = tempfile::tempdir().unwrap();
    for (target, expected) in [("cpu-avx512", &[8, 16, 32, 32][..]), ("cpu-avx2", &[16, 32, 32, 32])] {
        let model = build(folder.path(), &format!("{target}.onnx"), &["--target", target]);
        assert_eq!(groups(&model), expected, "{target}");
        let dense = if target == "cpu-avx512" { 3 } else { 0 };
        assert_eq!(subsampled(&model).len(), dense, "{target}");
    }
    let cpu = build(folder.path(), "cpu.onnx", &["--target", "cpu"]);
    let resolved = metadata(&cpu, "resnext.target").unwrap();
    assert!(["cpu-avx512", "cpu-avx2", "portable"].contains(&resolved), "{resolved}");
    let same = build(folder.path(), "same.onnx", &["--target", resolved]);
    assert_eq!(cpu, same);
    let summary = run(folder.path(), &[&SMALL[..], &["-o", "again.onnx", "--target", "cpu-avx2"]].concat());
    assert!(text(&summary.stderr).contains("target cpu-avx2\n  groups in multiples of 8"), "{}", text(&summary.stderr));
}

#[test]
fn optimizing_the_portable_file_gives_what_building_for_the_target_gives() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "portable.onnx", &[]);
    build(folder.path(), "unfolded.onnx", &["--no-fold-bn"]);
    build(folder.path(), "apart.onnx", &["--external-data", "always"]);
    for target in ["cpu-avx512", "cpu-avx2"] {
        let built = build(folder.path(), &format!("{target}.onnx"), &["--target", target]);
        for source in ["portable.onnx", "unfolded.onnx", "apart.onnx"] {
            succeed(folder.path(), &["optimize", source, "-o", "o.onnx", "--target", target, "--force", "-q"]);
            let optimized = read(&folder.path().join("o.onnx"));
            let (optimized_meaning, built_meaning) = (meaning(&optimized), meaning(&built));
            assert_eq!(optimized_meaning.len(), built_meaning.len(), "{source} {target}");
            for ((node, weights), (expected, numbers)) in optimized_meaning.iter().zip(&built_meaning) {
                assert_eq!(node.attribute, expected.attribute, "{}", node.name);
                assert_eq!(weights, numbers, "{source} {target} {}", node.name);
            }
            assert_eq!(metadata(&optimized, "resnext.target"), Some(target));
            assert_eq!(metadata(&optimized, "resnext.variant"), metadata(&built, "resnext.variant"));
        }
    }
}

#[test]
fn the_pixels_of_strided_pointwise_convolutions_are_taken_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let built = build(folder.path(), "b.onnx", &["--subsample"]);
    let shortcuts = ["layer2.0.downsample.0", "layer3.0.downsample.0", "layer4.0.downsample.0"];
    assert_eq!(subsampled(&built), shortcuts);
    let path = export("resnext_torchscript.onnx").display().to_string();
    let args = ["optimize", &path, "-o", "o.onnx", "--subsample", "--json"];
    let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
    let after = read(&folder.path().join("o.onnx"));
    let told: Vec<&str> = done["rewritten"].as_array().unwrap().iter().map(|r| r["node"].as_str().unwrap()).collect();
    assert_eq!(subsampled(&after), told);
    assert_eq!(done["rewritten"][0]["from"], "one group, stride 2");
    assert_eq!(done["rewritten"][0]["to"], "one group, stride 1");
    let again = ["optimize", "o.onnx", "-o", "again.onnx", "--subsample", "--json"];
    let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &again)).unwrap();
    assert_eq!(done["rewritten"].as_array().unwrap().len(), 0, "{done}");
    assert_eq!(read(&folder.path().join("again.onnx")).graph, after.graph);
}

#[test]
fn optimizing_an_f16_file_gives_what_building_it_for_the_target_gives() {
    let folder = tempfile::tempdir().unwrap();
    let half = ["--dtype", "f16", "--keep-f32", "layer2.0.conv2,fc"];
    for more in [&[][..], &["--no-fold-bn"], &["--keep-io-types"], &["--external-data", "always"]] {
        let flags = [&half[..], more, &["--force"]].concat();
        build(folder.path(), "m.onnx", &flags);
        let built = build(folder.path(), "built.onnx", &[&flags[..], &["--target", "cpu-avx512"]].concat());
        succeed(folder.path(), &["optimize", "m.onnx", "-o", "o.onnx", "--target", "cpu-avx512", "--force", "-q"]);
        let optimized = read(&folder.path().join("o.onnx"));
        assert_eq!(groups(&optimized), [8, 16, 32, 32], "{more:?}");
        assert_eq!(meaning(&optimized), meaning(&built), "{more:?}");
        let types = |model: &ModelProto| -> Vec<i32> {
            let mut all: Vec<i32> = model.graph.iter().flat_map(|g| &g.initializer).map(|t| t.data_type).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(types(&optimized), types(&built), "{more:?}");
    }
}

#[test]
fn torchs_exports_are_rewritten_and_every_other_node_passes_through() {
    let folder = tempfile::tempdir().unwrap();
    for (name, rewritten, folded) in [
        ("resnext_torchscript.onnx", 3, 0),
        ("resnext_dynamo.onnx", 3, 0),
        ("resnext_unfolded.onnx", 3, 20),
        ("resnet_torchscript.onnx", 0, 0),
        ("regnet_torchscript.onnx", 3, 0),
    ] {
        let before = read(&export(name));
        let path = export(name).display().to_string();
        let width = if name.starts_with("regnet") { "16" } else { "8" };
        let args = ["optimize", &path, "-o", "o.onnx", "--group-width", width, "--force", "--json"];
        let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
        let passes: Vec<i64> =
            done["passes"].as_array().unwrap().iter().map(|p| p["rewrites"].as_i64().unwrap()).collect();
        assert_eq!(passes, [folded, rewritten], "{name}: {done}");
        let after = read(&folder.path().join("o.onnx"));
        let touched: Vec<&str> =
            done["rewritten"].as_array().unwrap().iter().map(|r| r["node"].as_str().unwrap()).collect();
        let kept = |node: &&NodeProto| !touched.contains(&node.name.as_str());
        let nodes = |model: &'_ ModelProto| model.graph.clone().unwrap().node;
        let (old, new) = (nodes(&before), nodes(&after));
        let old: Vec<&NodeProto> = old.iter().filter(kept).collect();
        let new: Vec<&NodeProto> = new.iter().filter(kept).collect();
        // A Constant or an alias that only a replaced weight was made of is gone with it.
        let old: Vec<&NodeProto> = old.into_iter().filter(|n| new.contains(n) || n.op_type != "Identity").collect();
        assert_eq!(old, new, "{name}");
        assert_eq!(before.graph.as_ref().unwrap().input, after.graph.as_ref().unwrap().input);
        assert_eq!(before.graph.as_ref().unwrap().output, after.graph.as_ref().unwrap().output);
        if rewritten == 0 {
            assert_eq!(before.graph, after.graph, "{name}");
        }
    }
}

/// A model of two grouped convolutions, 4 groups of 2 channels, with the weight of the second as `change` leaves it.
fn two_convolutions(change: impl Fn(&mut GraphProto)) -> Vec<u8> {
    let ints = |name: &str, values: &[i64]| AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type: AttributeType::Ints as i32,
        ..Default::default()
    };
    let conv = |name: &str, input: &str| NodeProto {
        name: name.into(),
        op_type: "Conv".into(),
        input: vec![input.into(), format!("{name}.w")],
        output: vec![format!("{name}.y")],
        attribute: vec![
            AttributeProto { name: "group".into(), i: 4, r#type: AttributeType::Int as i32, ..Default::default() },
            ints("kernel_shape", &[1, 1]),
        ],
        ..Default::default()
    };
    let weight = |name: &str| TensorProto {
        name: format!("{name}.w"),
        data_type: ElementType::F32.to_proto(),
        dims: vec![8, 2, 1, 1],
        float_data: (0..16).map(|v| v as f32).collect(),
        ..Default::default()
    };
    let value = |name: &str| ValueInfoProto { name: name.into(), ..Default::default() };
    let mut graph = GraphProto {
        node: vec![conv("a", "x"), conv("b", "a.y")],
        initializer: vec![weight("a"), weight("b")],
        input: vec![value("x")],
        output: vec![value("b.y")],
        ..Default::default()
    };
    change(&mut graph);
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..Default::default()
    }
    .encode_to_vec()
}

#[test]
fn what_cannot_be_proven_is_left_alone_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut GraphProto);
    let cases: [(Change, &str); 7] = [
        (|g| g.input.push(ValueInfoProto { name: "b.w".into(), ..Default::default() }), "which may be fed"),
        (|g| g.node[1].input[1] = "a.y".into(), "computed, not a constant"),
        (|g| g.initializer[1].data_type = ElementType::F64.to_proto(), "input is f32 and its parameters are f64"),
        (|g| g.initializer[1].data_type = ElementType::I32.to_proto(), "no floating-point numbers"),
        (|g| g.initializer[1].dims = vec![8, 2, 1], "4 fixed dimensions"),
        (
            |g| {
                g.node[1].attribute.push(AttributeProto {
                    name: "auto_pad".into(),
                    s: b"SAME_UPPER".to_vec().into(),
                    r#type: AttributeType::String as i32,
                    ..Default::default()
                });
            },
            "automatic padding",
        ),
        (|g| g.initializer[1].dims = vec![8, 4, 1, 1], "do not go with"),
    ];
    for (change, reason) in cases {
        std::fs::write(folder.path().join("m.onnx"), two_convolutions(change)).unwrap();
        let args = ["optimize", "m.onnx", "-o", "o.onnx", "--group-width", "4", "--force", "--json"];
        let done: serde_json::Value = serde_json::from_slice(&succeed(folder.path(), &args)).unwrap();
        assert_eq!(done["rewritten"][0]["node"], "a", "{done}");
        assert_eq!(done["rewritten"].as_array().unwrap().len(), 1, "{done}");
        assert_eq!(done["declined"][0]["node"], "b", "{done}");
        assert!(done["declined"][0]["reason"].as_str().unwrap().contains(reason), "{reason}: {done}");
        let before = ModelProto::decode(&two_convolutions(change)[..]).unwrap();
        let after = read(&folder.path().join("o.onnx"));
        assert_eq!(before.graph.unwrap().node[1], after.graph.unwrap().node[1]);
    }
}

/// The graph of `two_convolutions` with a normalisation between them, whose values have the names given: the first
/// convolution's, the normalisation's, the second convolution's.
fn normalised(names: [&str; 3], stride: i64, change: impl Fn(&mut GraphProto)) -> Vec<u8> {
    two_convolutions(|graph| {
        let parameter = |(name, value): (&str, f32)| TensorProto {
            name: name.into(),
            data_type: ElementType::F32.to_proto(),
            dims: vec![8],
            float_data: vec![value; 8],
            ..Default::default()
        };
        let parameters = [("scale", 3.0), ("bias", 0.5), ("mean", 0.25), ("variance", 1.0)];
        graph.initializer.extend(parameters.map(parameter));
        let input = [names[0], "scale", "bias", "mean", "variance"].map(String::from).to_vec();
        let output = vec![names[1].into()];
        let op_type = "BatchNormalization".into();
        graph.node.insert(1, NodeProto { name: "n".into(), op_type, input, output, ..Default::default() });
        graph.node[0].output = vec![names[0].into()];
        graph.node[2].input[0] = names[1].into();
        graph.node[2].output = vec![names[2].into()];
        graph.output[0].name = names[2].into();
        let attribute = graph.node[2].attribute[1].clone();
        let strides = AttributeProto { name: "strides".into(), ints: vec![stride; 2], ..attribute };
        graph.node[2].attribute.push(strides);
        change(graph);
    })
}

/// The names of values, from the input to the output, through nodes that each take what the one before makes.
fn chain(graph: &GraphProto) -> Vec<&str> {
    let mut names = vec![graph.input[0].name.as_str()];
    for node in &graph.node {
        assert_eq!(node.input[0], *names.last().unwrap(), "{} takes what the node before it makes", node.name);
        names.push(&node.output[0]);
    }
    assert_eq!(graph.output[0].name, *names.last().unwrap());
    names
}

#[test]
fn a_folded_value_keeps_the_name_that_its_users_know() {
    let folder = tempfile::tempdir().unwrap();
    let optimize = |model: Vec<u8>, flags: &[&str]| {
        std::fs::write(folder.path().join("m.onnx"), model).unwrap();
        succeed(folder.path(), &[&["optimize", "m.onnx", "-o", "o.onnx", "--force", "-q"], flags].concat());
        read(&folder.path().join("o.onnx")).graph.unwrap()
    };
    // Numbers are what torch calls values, and this program the nodes that it works on.
    for names in [["a.y", "n.y", "b.y"], ["2", "1", "0"], ["0", "2", "1"], ["1", "0", "0.weight"]] {
        let expected = ["x", names[1], names[2]];
        let plain = optimize(normalised(names, 1, |_| {}), &[]);
        assert_eq!(chain(&plain), expected);
        let wide = optimize(normalised(names, 1, |_| {}), &["--group-width", "4"]);
        assert_eq!(chain(&wide), expected);
        let pixels = optimize(normalised(names, 2, |_| {}), &["--subsample"]);
        assert_eq!(chain(&pixels), ["x", names[1], "b.subsample", names[2]]);
        assert_eq!(pixels.node[1].op_type, "MaxPool");
        let alone = optimize(normalised(names, 2, |_| {}), &["--subsample", "--no-fold-bn"]);
        assert_eq!(chain(&alone), ["x", names[0], names[1], "b.subsample", names[2]]);
    }
}

#[test]
fn the_report_says_what_became_of_each_node_and_why_one_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let optimize = |model: Vec<u8>, flags: &[&str]| -> serde_json::Value {
        std::fs::write(folder.path().join("m.onnx"), model).unwrap();
        let args = ["optimize", "m.onnx", "-o", "o.onnx", "--force", "--json"];
        serde_json::from_slice(&succeed(folder.path(), &[&args[..], flags].concat())).unwrap()
    };
    let names = ["a.y", "n.y", "b.y"];
    let done = optimize(normalised(names, 2, |_| {}), &[]);
    assert_eq!(done["rewritten"][0]["from"], "4 groups of 2 channels, stride 1");
    assert_eq!(done["rewritten"][0]["to"], "4 groups of 2 channels, stride 1, with its normalisation folded in");
    assert_eq!(done["rewritten"][1]["to"], "folded into the node before");
    assert_eq!(done["declined"].as_array().unwrap().len(), 0, "{done}");
    // A padded one keeps its stride; one that was folded into is no node that was left as it is, whatever was declined.
    let padded = |graph: &mut GraphProto| {
        let strides = graph.node[2].attribute[2].clone();
        graph.node[2].attribute.push(AttributeProto { name: "pads".into(), ints: vec![1, 0, 0, 0], ..strides });
    };
    let done = optimize(normalised(names, 2, padded), &["--subsample", "--group-width", "2"]);
    let declined = done["declined"].as_array().unwrap();
    assert_eq!((declined.len(), &declined[0]["node"]), (1, &"b".into()), "{done}");
    assert!(declined[0]["reason"].as_str().unwrap().contains("as wide as asked for"), "{done}");
    let done = optimize(normalised(names, 2, padded), &["--subsample"]);
    let declined = done["declined"].as_array().unwrap();
    assert_eq!((declined.len(), &declined[0]["node"]), (1, &"b".into()), "{done}");
    assert!(declined[0]["reason"].as_str().unwrap().contains("padding"), "{done}");
    // And without asking there is nothing to explain.
    assert_eq!(optimize(normalised(names, 2, padded), &[])["declined"].as_array().unwrap().len(), 0);
}

#[test]
fn two_convolutions_of_one_weight_are_both_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let shared = |graph: &mut GraphProto| graph.node[2].input[1] = "a.w".into();
    std::fs::write(folder.path().join("m.onnx"), normalised(["a.y", "n.y", "b.y"], 1, shared)).unwrap();
    for flags in [&["--no-fold-bn"][..], &[]] {
        let args = ["optimize", "m.onnx", "-o", "o.onnx", "--force", "-q", "--group-width", "4"];
        succeed(folder.path(), &[&args[..], flags].concat());
        assert_eq!(groups(&read(&folder.path().join("o.onnx"))), [2, 2]);
    }
}

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
fn a_tuning_file_is_replayed_and_refused_for_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let stage = |channels: usize, width: usize| {
        format!(r#"{{"channels":{channels},"groups":32,"inputs":{},"convolutions":1,"width":{width}}}"#, channels / 32)
    };
    let stages = [stage(128, 16), stage(256, 1), stage(512, 32), stage(1024, 1)].join(",");
    let tuning = format!(
        r#"{{"schema_version":1,"kind":"tuning","provider":"cpu","library_version":"1.32.0","processor":"X","threads":2,"batches":[1],"stages":[{stages}]}}"#
    );
    std::fs::write(folder.path().join("t.json"), tuning).unwrap();
    let tuned = build(folder.path(), "tuned.onnx", &["--tuning", "t.json"]);
    assert_eq!(groups(&tuned), [8, 32, 16, 32]);
    assert_eq!(metadata(&tuned, "resnext.target"), Some("tuned for cpu"));
    let listed = build(folder.path(), "listed.onnx", &["--group-width", "16,1,32,1"]);
    assert_eq!(meaning(&tuned), meaning(&listed));
    build(folder.path(), "portable.onnx", &[]);
    succeed(folder.path(), &["optimize", "portable.onnx", "-o", "o.onnx", "--tuning", "t.json", "-q"]);
    assert_eq!(groups(&read(&folder.path().join("o.onnx"))), [8, 32, 16, 32]);
    let other = ["--variant", "50_32x4d", "--tuning", "t.json", "-o", "other.onnx"];
    fail(folder.path(), &other, 2, &["1 x 32 groups of 4", "3 x 32 groups of 4", "tune this one"]);
    let list = ["--variant", "50_32x4d", "--tuning", "none.json", "-o", "other.onnx"];
    fail(folder.path(), &list, 3, &["none.json"]);
    let both = ["--variant", "50_32x4d", "--tuning", "t.json", "--target", "cpu", "-o", "other.onnx"];
    fail(folder.path(), &both, 2, &["--tuning", "--target"]);
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

#[test]
fn optimize_writes_whole_files_or_none_and_never_its_own_input() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), "m.onnx", &[]);
    succeed(
        folder.path(),
        &["optimize", "m.onnx", "-o", "apart.onnx", "--target", "cpu-avx2", "--external-data", "always", "-q"],
    );
    let apart = read(&folder.path().join("apart.onnx"));
    succeed(folder.path(), &["optimize", "m.onnx", "-o", "inside.onnx", "--target", "cpu-avx2", "-q"]);
    assert_eq!(meaning(&apart), meaning(&read(&folder.path().join("inside.onnx"))));
    assert_eq!(names(folder.path()).len(), 4, "{:?}", names(folder.path()));
    fail(folder.path(), &["optimize", "m.onnx", "-o", "m.onnx", "--force"], 2, &["the input itself"]);
    fail(folder.path(), &["optimize", "m.onnx", "-o", "inside.onnx"], 2, &["--force"]);
    fail(folder.path(), &["optimize", "m.onnx", "-o", "no/such.onnx"], 6, &["no/such.onnx"]);
    fail(folder.path(), &["optimize", "none.onnx", "-o", "o.onnx"], 3, &["none.onnx"]);
    std::fs::write(folder.path().join("bad.onnx"), b"not a model").unwrap();
    fail(folder.path(), &["optimize", "bad.onnx", "-o", "o.onnx"], 3, &["bad.onnx"]);
    assert_eq!(names(folder.path()).len(), 5, "{:?}", names(folder.path()));
}
