//! Names mean what they say, sizes agree, and what was mistyped is answered with what was meant.

use crate::common::models::{metadata, read};
use crate::common::program::{fail, names, run, succeed, text};

const TINY: [&str; 6] = ["--variant", "50_32x4d", "--blocks", "1,1,1,1", "--num-classes", "5"];

fn preprocess(crop: usize, resize: usize) -> String {
    format!(r#"{{"resize":{resize},"crop":{crop},"interpolation":"bicubic","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}}"#)
}

/// Height and width that the input declares.
fn input(model: &onnx_file::proto::ModelProto) -> Vec<i64> {
    use onnx_file::proto::{tensor_shape_proto::dimension::Value, type_proto};
    let value = &model.graph.as_ref().expect("a graph").input[0];
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        panic!("a tensor")
    };
    let dims = &tensor.shape.as_ref().expect("a shape").dim;
    dims[2..].iter().map(|dim| if let Some(Value::DimValue(n)) = dim.value { n } else { -1 }).collect()
}

#[test]
fn the_input_follows_the_crop_of_given_preprocessing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.json"), preprocess(64, 72)).expect("a file");
    let built = run(folder.path(), &[&TINY[..], &["--preprocess", "p.json", "-o", "m.onnx"]].concat());
    assert!(text(&built.stderr).contains("images are 64x64, as the preprocessing crops them"), "{built:?}");
    assert_eq!(input(&read(&folder.path().join("m.onnx"))), [64, 64]);
    for size in ["64", "64x96"] {
        let args = ["--preprocess", "p.json", "--image-size", size, "-o", "same.onnx", "--force", "-q"];
        succeed(folder.path(), &[&TINY[..], &args].concat());
    }
    let open = ["--preprocess", "p.json", "--dynamic-hw", "-o", "open.onnx", "-q"];
    succeed(folder.path(), &[&TINY[..], &open].concat());
    assert_eq!(input(&read(&folder.path().join("open.onnx"))), [-1, -1]);
    let other = ["--preprocess", "p.json", "--image-size", "224", "-o", "other.onnx"];
    fail(folder.path(), &[&TINY[..], &other].concat(), 2, &["--image-size 224x224 contradicts", "crops 64x64"]);
    assert_eq!(names(folder.path()), ["m.onnx", "open.onnx", "p.json", "same.onnx"]);
}

#[test]
fn preprocessing_that_is_not_given_follows_the_image_size_and_that_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for (recipe, resize, ratio) in [(None, 73, "256 to 224"), (Some("v2"), 66, "232 to 224")] {
        let mut args = [&TINY[..], &["--image-size", "64", "-o", "m.onnx", "--force"]].concat();
        args.extend(recipe.iter().flat_map(|recipe| ["--preprocess", recipe]));
        let said = text(&run(folder.path(), &args).stderr);
        assert!(said.contains(&format!("resize {resize}, crop 64, in the ratio of {ratio}")), "{said}");
        let model = read(&folder.path().join("m.onnx"));
        let stored = metadata(&model, "resnext.preprocess").expect("preprocessing");
        assert!(stored.contains(&format!(r#""resize":{resize},"crop":64"#)), "{stored}");
    }
}

#[test]
fn names_of_other_weights_do_not_get_torchvisions() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, whose) in [
        ("resnext101_32x8d_wsl", "Facebook's fb_wsl_ig1b_ft_in1k (ig_resnext101_32x8-c38310e5.pth)"),
        ("ig_resnext101_32x8d", "Facebook's fb_wsl"),
        ("swsl_resnext50_32x4d", "Facebook's fb_swsl"),
        ("resnext50_32x4d_ssl", "Facebook's fb_ssl"),
        ("ssl_resnet18", "Facebook's fb_ssl"),
        ("resnext50_32x4d.a1h_in1k", "timm's a1h_in1k (resnext50_32x4d_a1h-0146ab0a.pth)"),
        ("resnet50.a1_in1k", "timm's a1_in1k"),
        ("resnext101_32x8d.fb_wsl_ig1b_ft_in1k", "Facebook's"),
        ("gluon_resnext50_32x4d", "GluonCV's gluon_in1k"),
        ("timm/resnext50_32x4d.ra_in1k", "timm's ra_in1k"),
    ] {
        for weights in ["DEFAULT", "IMAGENET1K_V1", "IMAGENET1K_V2"] {
            let args = ["--variant", name, "--weights", weights, "-o", "m.onnx"];
            fail(folder.path(), &args, 2, &[&format!("'{name}' means {whose}"), "torchvision's", "--weights FILE"]);
        }
    }
    // Without weights a name is that of a network, whoever trained it.
    let args = ["--blocks", "1,1,1,1", "-q", "-o", "m.onnx"];
    for name in ["resnext50_32x4d", "resnext101_32x4d"] {
        succeed(folder.path(), &[&["--variant", name, "--force"][..], &args].concat());
    }
}

#[test]
fn an_unknown_tag_is_answered_with_those_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, parts) in [
        ("resnext50_32x4d.nonsense", &["'nonsense'", "a1h_in1k", "tv2_in1k", "gluon_in1k"][..]),
        ("resnext50_32x4d.a1_in1", &["did you mean 'a1_in1k'"]),
        ("resnet18.a1h_in1k", &["timm's tags of resnet18 are a1_in1k, a2_in1k"]),
        ("152_32x4d.a1_in1k", &["no weights of 152_32x4d"]),
        ("resnext50", &["did you mean 'resnext50_32x4d'?"]),
        ("resnext50_32x4", &["did you mean 'resnext50_32x4d'"]),
        ("ResNeXt50_32X4D_Weights.IMAGENET1K_V2", &["did you mean 'resnext50_32x4d'"]),
    ] {
        fail(folder.path(), &["--variant", name, "-o", "m.onnx"], 2, parts);
    }
}

#[test]
fn flags_and_words_of_other_tools_are_answered_with_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("w.pth"), b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").expect("a file");
    succeed(folder.path(), &[&TINY[..], &["--image-size", "64", "-q", "-o", "m.onnx"]].concat());
    for (args, part) in [
        (&["--variant", "50_32x4d", "--fp16"][..], "--fp16 is --dtype f16"),
        (&["--checkpoint", "w.pth"], "--checkpoint is --weights FILE"),
        (&["--variant", "50_32x4d", "--target", "gpu"], "for 'gpu' write 'cuda' or 'tensorrt'"),
        (&["--variant", "50_32x4d", "--dtype", "fp16"], "for 'fp16' write 'f16'"),
        (&["50_32x4d"], "resnext-build --variant 50_32x4d -o model.onnx"),
        (&["w.pth"], "resnext-build --weights w.pth -o model.onnx"),
        (&["m.onnx"], "resnext-build inspect m.onnx"),
        (&["build"], "building needs no verb"),
    ] {
        fail(folder.path(), args, 2, &[part]);
    }
    let said = text(&run(folder.path(), &["--variant", "50_32x4d", "--target", "gpu"]).stderr);
    assert!(!said.contains("similar value exists: 'cpu'"), "{said}");
}
