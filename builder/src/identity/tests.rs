use std::collections::BTreeMap;

use super::*;

type Owned = BTreeMap<String, Vec<usize>>;

/// The tensors of a network, its classifier and one counter included.
fn tensors(name: &str) -> Owned {
    let variant = Variant::parse(name).unwrap();
    let graph = architecture::build(&variant, &Options::classifier(&variant)).unwrap();
    let mut shapes = Owned::new();
    for id in graph.weights() {
        graph.value(id).weight.as_ref().unwrap().for_each_stored(&mut |name, shape| {
            shapes.insert(name.to_owned(), shape.to_vec());
        });
    }
    shapes.insert("bn1.num_batches_tracked".into(), vec![]);
    shapes
}

fn identified(owned: &Owned) -> Result<Inferred, Box<Other>> {
    identify(&owned.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect())
}

fn said(owned: &Owned) -> String {
    identified(owned).unwrap_err().to_string()
}

fn named(names: &[&str]) -> Owned {
    names.iter().map(|name| ((*name).to_owned(), vec![8, 8])).collect()
}

#[test]
fn networks_of_the_family_are_themselves_with_and_without_a_classifier() {
    for name in ["50_32x4d", "101_64x4d", "resnet18", "wide_resnet50_2", "29_8x64d"] {
        let mut shapes = tensors(name);
        assert_eq!(identified(&shapes).unwrap().variant.to_string(), name);
        shapes.retain(|tensor, _| !tensor.starts_with("fc."));
        let found = identified(&shapes).unwrap();
        assert_eq!((found.variant.to_string().as_str(), found.classes), (name, None));
    }
}

#[test]
fn relatives_are_named_as_what_they_are() {
    for (more, shape, expected) in [
        ("layer1.0.se.fc1.weight", vec![16, 256, 1, 1], "SE-ResNet or SE-ResNeXt"),
        ("layer1.0.se_module.fc1.weight", vec![16, 256, 1, 1], "SE-ResNet or SE-ResNeXt"),
        ("layer1.0.se.conv.weight", vec![1, 1, 5], "ECA-ResNet"),
        ("layer1.0.conv2.paths.0.conv.weight", vec![64, 2, 3, 3], "SKNet"),
        ("layer1.0.conv2.fc1.weight", vec![32, 64, 1, 1], "ResNeSt"),
        ("layer1.0.convs.0.weight", vec![26, 26, 3, 3], "Res2Net"),
        ("layer1.0.bn1.IN.weight", vec![32], "IBN-Net"),
        ("layer2.0.aa.filt", vec![1, 1, 3, 3], "anti-aliased"),
        ("conv1.0.weight", vec![32, 3, 3, 3], "deep stem"),
        ("layer2.0.downsample.1.weight", vec![512, 256, 1, 1], "average pooling in its shortcuts"),
        ("fc._packed_params._packed_params", vec![1], "quantized"),
    ] {
        let mut shapes = tensors("50_32x4d");
        shapes.insert(more.into(), shape);
        let said = said(&shapes);
        assert!(said.starts_with("is another architecture: ") && said.contains(expected), "{said}");
        assert!(said.contains(expected) && said.contains(more), "{said}");
        assert!(said.contains("nearest of the family is 50_32x4d"), "{said}");
    }
}

#[test]
fn several_parts_are_all_named() {
    let mut shapes = tensors("50_32x4d");
    shapes.remove("conv1.weight");
    shapes.insert("conv1.0.weight".into(), vec![32, 3, 3, 3]);
    shapes.insert("layer1.0.se.fc1.weight".into(), vec![16, 256, 1, 1]);
    let said = said(&shapes);
    assert!(said.contains("squeeze-and-excitation") && said.contains("deep stem"), "{said}");
}

#[test]
fn missing_statistics_are_another_normalisation_only_where_all_are_missing() {
    let mut shapes = tensors("resnet50");
    shapes.retain(|name, _| !name.contains("running_"));
    assert!(said(&shapes).contains("keep no running statistics"), "{}", said(&shapes));
    let mut shapes = tensors("resnet50");
    shapes.remove("layer1.0.bn1.running_mean");
    let said = said(&shapes);
    assert_eq!(said, "is no network known here; nearest is resnet50: it lacks 'layer1.0.bn1.running_mean'");
}

#[test]
fn other_networks_are_named() {
    for (names, expected) in [
        (&["cls_token", "blocks.0.attn.qkv.weight"][..], "vision transformer"),
        (&["features.denseblock1.denselayer1.conv1.weight"], "DenseNet"),
        (&["features.0.weight", "classifier.6.weight"], "AlexNet, VGG"),
        (&["trunk_output.block1.block1-0.f.a.0.weight"], "RegNet"),
        (&["s1.b1.conv1.conv.weight", "stem.conv.weight"], "RegNet"),
        (&["conv_stem.weight", "blocks.0.0.conv_dw.weight"], "EfficientNet"),
        (&["backbone.body.layer1.0.conv1.weight", "rpn.head.conv.weight"], "detector"),
        (&["stages.0.0.conv1_1x1.conv.weight"], "ByobNet"),
        (&["root.conv.weight", "body.block1.unit01.conv1.weight"], "pre-activation"),
        (&["model.layers.0.self_attn.q_proj.weight"], "language model"),
    ] {
        let said = said(&named(names));
        assert!(said.starts_with("is another architecture: ") && said.contains(expected), "{said}");
    }
}

#[test]
fn what_is_not_known_is_called_that() {
    let said_nothing = said(&named(&["blob.a", "blob.b", "other.c"]));
    assert!(said_nothing.starts_with("is no network known here"), "{said_nothing}");
    assert!(said_nothing.ends_with("names begin with 'blob' (2), 'other' (1)"), "{said_nothing}");
    let mut shapes = tensors("resnet18");
    shapes.insert("layer1.0.trick.weight".into(), vec![1]);
    shapes.insert("layer1.0.bn1.weight".into(), vec![3]);
    shapes.remove("layer4.1.bn2.bias");
    let said = said(&shapes);
    for part in
        ["nearest is resnet18", "also holds 'layer1.0.trick.weight'", "lacks 'layer4.1.bn2.bias'", "[3]", "[64]"]
    {
        assert!(said.contains(part), "{said} {part}");
    }
    for never in ["tampered", "incomplete", "feature extractor", "damaged"] {
        assert!(!said.contains(never), "{said}");
    }
}
