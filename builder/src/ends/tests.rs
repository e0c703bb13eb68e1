use onnx_file::element::ElementType;
use onnx_file::metadata::{IMAGENET_V1, Key, Metadata};
use onnx_file::proto::{NodeProto, OperatorSetIdProto};

use super::nodes::{node, value};
use super::*;
use onnx_file::proto::tensor_shape_proto::{Dimension, dimension};

fn extents(extents: &[i64]) -> Vec<Dimension> {
    let of = |&extent: &i64| Dimension { value: Some(dimension::Value::DimValue(extent)), ..Default::default() };
    extents.iter().map(of).collect()
}

/// `x [1, 3, 4, 5]` through a convolution of one pixel and a Gemm-like end to `y [1, 7]`, with a value called `taken`.
fn model(element: ElementType) -> ModelProto {
    let nodes: Vec<NodeProto> = vec![
        node("Relu", &["x"], "taken", Vec::new()),
        node("Conv", &["taken", "w"], "map", Vec::new()),
        node("Flatten", &["map"], "flat", Vec::new()),
        node("Gemm", &["flat", "v"], "y", Vec::new()),
    ];
    let graph = GraphProto {
        node: nodes,
        input: vec![value("x", element, extents(&[1, 3, 4, 5]))],
        output: vec![value("y", element, extents(&[1, 7]))],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
    ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() }
}

fn ops(model: &ModelProto) -> Vec<&str> {
    model.graph.iter().flat_map(|graph| &graph.node).map(|node| node.op_type.as_str()).collect()
}

fn applied(ends: &Ends, element: ElementType) -> Result<ModelProto, EndsError> {
    let mut model = model(element);
    ends.apply(&mut model, Some(&IMAGENET_V1)).map(|_| model)
}

#[test]
fn a_name_that_a_value_inside_has_makes_that_value_go_by_another() {
    let ends = Ends { input_name: Some("taken".into()), output_names: vec!["x".into()], ..Ends::default() };
    let model = applied(&ends, ElementType::F32).unwrap();
    let graph = model.graph.unwrap();
    assert_eq!(graph.input[0].name, "taken");
    assert_eq!((graph.node[0].input[0].as_str(), graph.node[0].output[0].as_str()), ("taken", "taken.inner"));
    assert_eq!(graph.node[1].input[0], "taken.inner");
    assert_eq!((graph.output[0].name.as_str(), graph.node[3].output[0].as_str()), ("x", "x"));
}

#[test]
fn pixels_are_cast_moved_and_normalised_before_the_network_in_its_own_type() {
    let ends = Ends { pixels: Some(Pixels::U8), ..Ends::default() };
    for (element, expected) in [
        (ElementType::F32, &["Cast", "Transpose", "Div", "Sub", "Div", "Relu"][..]),
        (ElementType::F16, &["Cast", "Transpose", "Div", "Sub", "Div", "Cast", "Relu"]),
    ] {
        let model = applied(&ends, element).unwrap();
        assert_eq!(ops(&model)[..expected.len()], *expected);
        let graph = model.graph.as_ref().unwrap();
        assert_eq!(Port::of(&graph.input[0]).to_string(), "x u8 [1, 4, 5, 3]");
        assert_eq!(graph.value_info.len(), expected.len() - 1, "every value between has its shape");
        let last = Port::of(graph.value_info.last().unwrap());
        assert_eq!((last.element_type, last.shape), (Some(element), Some(vec![Some(1), Some(3), Some(4), Some(5)])));
        assert_eq!(graph.node[expected.len() - 1].input[0], last.name);
    }
    let kept = Ends { layout: Some(Layout::Nchw), ..ends };
    assert!(!ops(&applied(&kept, ElementType::F32).unwrap()).contains(&"Transpose"));
}

#[test]
fn what_was_put_around_a_network_comes_off_again_and_nothing_else() {
    let ends = Ends { pixels: Some(Pixels::U8), softmax: true, ..Ends::default() };
    let mut around = applied(&ends, ElementType::F32).unwrap();
    assert_eq!(ops(&around).last(), Some(&"Softmax"));
    let bare = around.clone();
    assert_eq!(strip(&mut around).entry, None, "nobody says what the normalisation should be");
    let mut metadata = Metadata::default();
    metadata.set_json(Key::Preprocess, &IMAGENET_V1);
    let mut around = bare;
    metadata.write_into(&mut around);
    let found = strip(&mut around);
    assert_eq!(found.softmax, [0]);
    let entry = found.entry.unwrap();
    assert!(entry.takes_levels());
    assert_eq!(ops(&around), ops(&model(ElementType::F32)));
    let port = Port::inputs(around.graph.as_ref().unwrap()).remove(0);
    assert_eq!(port.shape, Some(vec![Some(1), Some(3), Some(4), Some(5)]));
    let white = ndarray::Array4::from_elem((1, 4, 5, 3), 255.0);
    let prepared = entry.prepare(&white);
    assert_eq!(prepared.dim(), (1, 3, 4, 5));
    let expected = (1.0 - f64::from(0.406f32)) / f64::from(0.225f32);
    assert!((prepared[[0, 2, 3, 4]] - expected).abs() < 1e-12);
    assert_eq!(strip(&mut model(ElementType::F32)), Stripped::default());
}

#[test]
fn ends_that_a_model_cannot_have_are_refused() {
    let names = |input: &str, outputs: &[&str]| Ends {
        input_name: Some(input.into()),
        output_names: outputs.iter().map(|&name| name.to_owned()).collect(),
        ..Ends::default()
    };
    for (ends, why) in [
        (names("a", &["b", "c"]), "1 outputs: y"),
        (names("a", &["a"]), "two inputs or outputs"),
        (names("y", &[]), "two inputs or outputs"),
        (names("a b", &[]), "is no name"),
        (names("", &[]), "is no name"),
        (Ends { pixels: Some(Pixels::F32), ..Ends::default() }, ""),
    ] {
        match applied(&ends, ElementType::F32) {
            Err(error) => assert!(error.to_string().contains(why) && !why.is_empty(), "{error}"),
            Ok(_) => assert!(why.is_empty(), "{ends:?}"),
        }
    }
    let pixels = Ends { pixels: Some(Pixels::U8), ..Ends::default() };
    assert_eq!(applied(&pixels, ElementType::U8).unwrap_err(), EndsError::AlreadyPixels);
    assert_eq!(pixels.apply(&mut model(ElementType::F32), None).unwrap_err(), EndsError::NoPreprocess);
    let twice = Ends { softmax: true, ..Ends::default() };
    let mut once = applied(&twice, ElementType::F32).unwrap();
    assert!(matches!(twice.apply(&mut once, None), Err(EndsError::NoLogits(_))));
}
