use onnx_file::metadata::Weights;

use super::*;
use crate::architecture::{Options, build};
use crate::passes::{fold_bn, subsample, to_f16};
use crate::precision::Half;
use crate::reference::testing::small_variant;

/// The small network in f16.
fn origin(variant: &str, sha256: Option<&str>, seed: u64) -> Provenance {
    let weights = match sha256 {
        Some(sha256) => Weights::Checkpoint { sha256: sha256.into() },
        None => Weights::Random { seed },
    };
    Provenance { variant: Some(variant.into()), weights: Some(weights) }
}

fn graph(half: &Half) -> Graph {
    let variant = small_variant();
    let mut graph = build(&variant, &Options { classes: 5, ..Options::classifier(&variant) }).unwrap();
    fold_bn(&mut graph);
    to_f16(&mut graph, half).unwrap();
    graph
}

/// What measuring it might have found: 10 everywhere, but for `values`.
fn calibration(values: &[(&str, f64)]) -> Calibration {
    let range = |name: &str, node: Option<&str>, op: Option<&str>| Range {
        name: name.into(),
        node: node.map(String::from),
        op: op.map(String::from),
        min: None,
        max: None,
        max_abs: Some(values.iter().find(|(other, _)| *other == node.unwrap_or(name)).map_or(10.0, |(_, max)| *max)),
        non_finite: 0,
        histogram: None,
    };
    let graph = graph(&Half::default());
    let mut all: Vec<Range> =
        graph.nodes.iter().map(|node| range(&node.name, Some(&node.name), Some(node.op.name()))).collect();
    all.push(range("input", None, None));
    let model = Measured { file: "m.onnx".into(), sha256: "00".into(), origin: origin("v", Some("ab"), 0) };
    let inputs = Inputs { source: InputSource::Images, count: 300, seed: None };
    Calibration { schema_version: 1, kind: "calibration".into(), model, inputs, values: all }
}

fn keep(nodes: &str) -> Half {
    Half { keep_f32: nodes.split(',').map(String::from).collect(), ..Half::default() }
}

#[test]
fn ranges_within_f16_give_the_headroom() {
    let found =
        calibration(&[("layer2.0.conv3", -0.0), ("layer1.0.conv3", 32.0)]).check(&graph(&Half::default())).unwrap();
    assert_eq!((found.largest, found.largest_in.as_str(), found.headroom), (32.0, "layer1.0.conv3", Some(2047.0)));
    assert!(found.to_string().contains("(layer1.0.conv3) on 300 images, headroom 2047.0"), "{found}");
    assert!(calibration(&[("fc", 65504.0)]).check(&graph(&Half::default())).is_ok());
}

#[test]
fn a_value_beyond_f16_is_refused_with_flags_that_fix_it() {
    for (node, takers) in [
        ("layer1.0.conv3", "layer1.0.conv3,layer1.0.add"),
        ("layer1.0", "layer1.0,layer1.1.conv1,layer1.1.add"),
        ("conv1", "conv1,relu"),
    ] {
        let calibration = calibration(&[(node, 7e4), ("maxpool", 6e4)]);
        let error = calibration.check(&graph(&Half::default())).unwrap_err().to_string();
        assert!(error.contains(&format!("'{node}' outputs up to 70000 on 300 images")), "{error}");
        let fix = error.rsplit("--keep-f32 ").next().unwrap();
        let asked: HashSet<&str> = fix.split(',').collect();
        assert_eq!(asked, takers.split(',').collect::<HashSet<_>>());
        // The node alone would be cast back to f16 by the next one, and is not enough.
        let error = calibration.check(&graph(&keep(node))).unwrap_err().to_string();
        assert!(!error.rsplit("--keep-f32 ").next().unwrap().split(',').any(|kept| kept == node), "{error}");
        let kept = calibration.check(&graph(&keep(fix))).unwrap();
        assert_eq!(kept.largest, 6e4);
    }
}

#[test]
fn the_ends_are_kept_by_their_own_flag() {
    let logits = calibration(&[("fc", 7e4)]);
    let error = logits.check(&graph(&Half::default())).unwrap_err().to_string();
    assert!(error.ends_with("--keep-io-types --keep-f32 fc"), "{error}");
    assert!(logits.check(&graph(&Half { keep_io_types: true, ..keep("fc") })).is_ok());
    let input = calibration(&[("input", 7e4)]);
    let error = input.check(&graph(&Half::default())).unwrap_err().to_string();
    assert!(error.ends_with("--keep-io-types --keep-f32 conv1"), "{error}");
    assert!(input.check(&graph(&Half { keep_io_types: true, ..keep("conv1") })).is_ok());
}

#[test]
fn a_network_that_is_not_finite_in_f32_is_refused_without_flags_that_would_not_fix_it() {
    let (mut some, mut all) = (calibration(&[]), calibration(&[]));
    some.values[5].non_finite = 1;
    (all.values[5].non_finite, all.values[5].max_abs) = (9, None);
    let node = some.values[5].node.clone().unwrap();
    for broken in [some, all] {
        // Whether the node is in f16 or not.
        for half in [Half::default(), keep(&node)] {
            let error = broken.check(&graph(&half)).unwrap_err().to_string();
            assert!(error.contains(&format!("'{node}' outputs infinity")) && !error.contains("--keep"), "{error}");
        }
    }
}

#[test]
fn where_nothing_is_in_f16_or_all_is_zero_there_is_no_headroom() {
    let all: Vec<String> = graph(&Half::default()).nodes.iter().map(|node| node.name.clone()).collect();
    let found = calibration(&[]).check(&graph(&Half { keep_io_types: true, keep_f32: all.clone() })).unwrap();
    assert_eq!((found.headroom, found.to_string().as_str()), (None, "no value is in f16"));
    let zeros: Vec<(&str, f64)> = all.iter().map(|node| (node.as_str(), 0.0)).chain([("input", 0.0)]).collect();
    let found = calibration(&zeros).check(&graph(&Half::default())).unwrap();
    assert_eq!((found.headroom, found.to_string().as_str()), (None, "all values in f16 are zero on 300 images"));
}

#[test]
fn pixels_have_the_range_of_the_value_that_they_are_taken_from() {
    let lowered = |half: &Half| {
        let variant = small_variant();
        let mut graph = build(&variant, &Options { classes: 5, ..Options::classifier(&variant) }).unwrap();
        fold_bn(&mut graph);
        subsample(&mut graph);
        to_f16(&mut graph, half).unwrap();
        graph
    };
    // Measured with the pixels taken before the convolution, and without.
    let plain = calibration(&[("layer1.1", 7e4)]);
    let mut pixels = plain.clone();
    let (name, op) = ("layer2.0.downsample.0.subsample", Some("MaxPool".into()));
    pixels.values.push(Range { name: name.into(), node: Some(name.into()), op, ..pixels.values[0].clone() });
    for calibration in [plain, pixels] {
        let mut flags = String::new();
        let mut kept: Vec<Half> = vec![Half::default()];
        // The pixels in f32 alone are cast for the convolution that takes them.
        kept.push(keep("layer1.1,layer2.0.conv1,layer2.0.downsample.0.subsample"));
        for half in kept {
            let error = calibration.check(&lowered(&half)).unwrap_err().to_string();
            assert!(error.contains("'layer1.1' outputs up to 70000 on 300 images, and f16 ends at 65504;"), "{error}");
            flags = error.rsplit("--keep-f32 ").next().unwrap().to_string();
            assert!(flags.split(',').any(|node| node == "layer2.0.downsample.0"), "{error}");
            let all = half.keep_f32.into_iter().chain(flags.split(',').map(String::from)).collect();
            let fixed = Half { keep_f32: all, ..Half::default() };
            assert_eq!(calibration.check(&lowered(&fixed)).unwrap().largest, 10.0);
        }
        assert_eq!(flags, "layer2.0.downsample.0");
    }
}

#[test]
fn other_nodes_other_weights_and_other_networks_are_refused() {
    let mut missing = calibration(&[]);
    missing.values.remove(3);
    let mut extra = calibration(&[]);
    extra.values.push(Range { node: Some("bn1".into()), ..extra.values[0].clone() });
    let mut other = calibration(&[]);
    other.values[0].op = Some("Gemm".into());
    for (calibration, part) in [(missing, "without its"), (extra, "a node 'bn1'"), (other, "without its Conv 'conv1'")]
    {
        let error = calibration.check(&graph(&Half::default())).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("resnext-run calibrate"), "{error}");
    }
    let mut calibration = calibration(&[]);
    assert!(calibration.check_origin(&origin("v", Some("ab"), 0)).is_ok());
    for (variant, sha256) in [("w", Some("ab")), ("v", Some("cd")), ("v", None)] {
        let error = calibration.check_origin(&origin(variant, sha256, 0)).unwrap_err().to_string();
        assert!(error.contains("m.onnx, v with the weights of SHA-256 ab"), "{error}");
    }
    calibration.model.origin = origin("v", None, 7);
    assert!(calibration.check_origin(&origin("v", None, 7)).is_ok());
    assert!(calibration.check_origin(&origin("v", None, 8)).is_err());
    assert!(calibration.check_origin(&origin("v", Some("ab"), 7)).is_err());
    calibration.model.origin.variant = None;
    assert!(
        calibration.check_origin(&calibration.model.origin.clone()).is_err(),
        "a model that does not say what it is"
    );
}

#[test]
fn what_is_no_calibration_file_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    let good = serde_json::to_string(&calibration(&[])).unwrap();
    std::fs::write(&path, &good).unwrap();
    assert_eq!(Calibration::read(&path).unwrap(), calibration(&[]));
    for (content, reason) in [
        (good.replace(r#""calibration""#, r#""tuning""#), "'tuning'"),
        (good.replace(r#""count":300"#, r#""count":0"#), "no input"),
        (good.replacen(r#""max_abs":10.0"#, r#""max_abs":-1"#, 1), "negative"),
        ("{}".into(), "missing field"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = Calibration::read(&path).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(matches!(Calibration::read(&folder.path().join("none")), Err(CalibrationError::Read { .. })));
}

#[test]
fn a_value_that_is_named_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    let mut twice = calibration(&[]);
    std::fs::write(&path, serde_json::to_string(&twice).unwrap()).unwrap();
    Calibration::read(&path).unwrap();
    let first = Range { max_abs: Some(1e9), ..twice.values[3].clone() };
    twice.values.insert(0, first);
    std::fs::write(&path, serde_json::to_string(&twice).unwrap()).unwrap();
    let error = Calibration::read(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("'{}' twice", twice.values[0].name)), "{error}");
}
