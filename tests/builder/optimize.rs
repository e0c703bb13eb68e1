//! `optimize` on files of others and on graphs made to be hard.

use crate::common::models::{build, export, groups, meaning, read};

use crate::common::program::{fail, names, succeed};
use onnx_file::element::ElementType;
use onnx_file::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType,
};
use prost::Message as _;

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
pub(crate) fn two_convolutions(change: impl Fn(&mut GraphProto)) -> Vec<u8> {
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
    let cases: [(Change, &str); 8] = [
        (|g| g.input.push(ValueInfoProto { name: "b.w".into(), ..Default::default() }), "which may be fed"),
        (|g| g.node[1].input[1] = "a.y".into(), "computed, not a constant"),
        (|g| g.initializer[1].data_type = ElementType::F64.to_proto(), "input is f32 and its parameters are f64"),
        (|g| g.initializer[1].data_type = ElementType::I32.to_proto(), "no floating-point numbers"),
        (|g| g.initializer[1].dims = vec![8, 2, 1], "4 fixed dimensions"),
        (
            |g| {
                g.node[1].attribute.push(AttributeProto {
                    name: "auto_pad".into(),
                    s: b"SAME".to_vec().into(),
                    r#type: AttributeType::String as i32,
                    ..Default::default()
                });
            },
            "its auto_pad is 'SAME'",
        ),
        (|g| g.initializer[1].dims = vec![8, 4, 1, 1], "do not go with"),
        (
            |g| {
                let bias = TensorProto { name: "b.bias".into(), dims: vec![8], ..Default::default() };
                let bias = TensorProto { data_type: ElementType::F64.to_proto(), double_data: vec![0.5; 8], ..bias };
                g.initializer.push(bias);
                g.node[1].input.push("b.bias".into());
            },
            "its parameters are of different types",
        ),
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

#[test]
fn a_new_weight_takes_no_name_that_the_model_has() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut GraphProto);
    let cases: [(Change, &str); 5] = [
        (|_| {}, "a.w.lowered"),
        (|g| g.input.push(named("a.w.lowered")), "a.w.lowered2"),
        (|g| g.output.push(named("a.w.lowered")), "a.w.lowered2"),
        (|g| g.value_info.push(named("a.w.lowered")), "a.w.lowered2"),
        (|g| g.input.extend(["a.w.lowered", "a.w.lowered2"].map(named)), "a.w.lowered3"),
    ];
    for (change, expected) in cases {
        std::fs::write(folder.path().join("m.onnx"), two_convolutions(change)).unwrap();
        succeed(folder.path(), &["optimize", "m.onnx", "-o", "o.onnx", "--group-width", "4", "--force", "-q"]);
        let graph = read(&folder.path().join("o.onnx")).graph.unwrap();
        assert_eq!(graph.node[0].input[1], expected);
        assert!(graph.initializer.iter().any(|tensor| tensor.name == expected));
    }
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), ..Default::default() }
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
