//! Pixels as they are into a graph that normalises them: the same numbers as from the runner's own preprocessing.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::common::runner::{launcher, library, spec};
use onnx_file::metadata::Labels;
use onnx_file::port::Layout;
use resnext_builder::build::{Destination, LabelsChoice, Plan, PreprocessChoice, Weights, build};
use resnext_builder::ends::{Ends, Pixels};
use resnext_builder::graph::Dim;
use resnext_builder::precision::{Half, Precision};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::input::decode::Exif;
use resnext_runner::model::candidate::Candidate;
use resnext_runner::model::file::ModelFile;
use resnext_runner::model::opened::Model;
use resnext_runner::verb::infer::inference::{Request, infer};

fn trained(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/trained").join(name)
}

/// Index, score and probability of every class of 24 images, best first, by the trained network with these ends.
fn classes(folder: &Path, name: &str, ends: Ends, precision: Precision) -> Vec<Vec<(usize, f64, f64)>> {
    let path = folder.join(name);
    let mut plan = Plan::new(None, Weights::File(trained("shapes.safetensors")), Destination::File(path.clone()));
    let text = |name: &str| std::fs::read_to_string(trained(name)).expect(name);
    plan.image = Some([Dim::Fixed(64), Dim::Fixed(64)]);
    plan.labels = LabelsChoice::Given(Labels::parse(&text("labels.txt")));
    plan.preprocess = PreprocessChoice::Given(serde_json::from_str(&text("preprocess.json")).expect("preprocessing"));
    plan.lowering.precision = precision;
    plan.ends = ends;
    build(&plan, &mut |_| {}).expect("built");
    let file = ModelFile::read(&path).expect("a model");
    let open = |path: &Path| {
        let worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path))?;
        Ok(Box::new(worker) as Box<dyn Model>)
    };
    let mut candidate = Candidate::of_file(&file, "cpu", Box::new(open));
    let mut images: Vec<PathBuf> = std::fs::read_dir(trained("heldout"))
        .expect("classes")
        .flat_map(|class| std::fs::read_dir(class.expect("a class").path()).expect("images").take(2))
        .map(|image| image.expect("an image").path())
        .collect();
    images.sort();
    let request = Request { images: &images, batch: 5, top_k: 12, exif: Exif::Ignore, left_out: &[] };
    let found = infer(&mut candidate, &request, &mut |_| {}).expect("classified");
    assert_eq!(found.images.len(), 24);
    let all = |image: &resnext_runner::verb::infer::inference::Image| {
        image.top.iter().map(|class| (class.index, class.score.unwrap(), class.probability.unwrap())).collect()
    };
    found.images.iter().map(all).collect()
}

#[test]
fn a_graph_that_normalises_gives_the_same_logits_bit_for_bit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let outside = classes(folder.path(), "outside.onnx", Ends::default(), Precision::F32);
    for (name, layout) in [("nhwc.onnx", None), ("nchw.onnx", Some(Layout::Nchw))] {
        let ends = Ends { pixels: Some(Pixels::U8), layout, input_name: Some("image".into()), ..Ends::default() };
        assert_eq!(classes(folder.path(), name, ends, Precision::F32), outside, "{name}");
    }
    let last = Ends { layout: Some(Layout::Nhwc), ..Ends::default() };
    assert_eq!(classes(folder.path(), "last.onnx", last, Precision::F32), outside, "normalised outside, channels last");
}

#[test]
fn probabilities_from_the_graph_are_those_of_a_softmax_outside_and_f16_takes_pixels_too() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let outside = classes(folder.path(), "outside.onnx", Ends::default(), Precision::F32);
    let softmax = || Ends { softmax: true, pixels: Some(Pixels::U8), ..Ends::default() };
    let near = |found: &[Vec<(usize, f64, f64)>], tolerance: f64| {
        for (found, expected) in found.iter().zip(&outside) {
            for (index, _, probability) in found {
                let expected = expected.iter().find(|(of, ..)| of == index).expect("the class").2;
                assert!((probability - expected).abs() <= tolerance, "{probability} and {expected}");
            }
        }
    };
    let inside = classes(folder.path(), "inside.onnx", softmax(), Precision::F32);
    assert!(inside.iter().flatten().all(|(_, score, probability)| score == probability), "no second softmax");
    near(&inside, 1e-6);
    let half = Half { keep_io_types: true, ..Half::default() };
    near(&classes(folder.path(), "f16.onnx", softmax(), Precision::F16(half)), 0.02);
    near(&classes(folder.path(), "all16.onnx", softmax(), Precision::F16(Half::default())), 0.02);
}
