//! Fuzzing what reads ONNX files: the importer and the rewriter of the builder, the metadata reader of the runner. No
//! input may panic, or take a minute or a gigabyte; and what the rewriter writes must be a model again.

mod fuzzing;

use std::path::Path;

use resnext_builder::build::{Destination, External, Plan, Weights, build};
use resnext_builder::graph::Dim;
use resnext_builder::import::import;
use resnext_builder::metadata::Labels;
use resnext_builder::optimize::Model;
use resnext_builder::passes::{Lowering, Width};
use resnext_builder::target::Chosen;
use resnext_builder::validate::validate;
use resnext_builder::variant::Variant;
use resnext_runner::input::preprocess::Preprocess;
use resnext_runner::metadata::ModelFile;

/// Numbers at the edges, field heads of onnx.proto, operators and attributes.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\x01",
    b"\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x07",
    b"\x80\x80\x80\x80\x10",
    b"\x08\x00",
    b"\x08\x01",
    b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x10\x01",
    b"\x10\x07",
    b"\x10\x0a",
    b"\x0a\x01x",
    b"\x12\x00",
    b"\x22\x04Conv",
    b"\x22\x04Relu",
    b"\x22\x12BatchNormalization",
    b"\x22\x08Identity",
    b"\x22\x08Constant",
    b"\x22\x02If",
    b"\x2a\x00",
    b"\x3a\x00",
    b"\x4a\x00",
    b"\x6a\x00",
    b"group",
    b"pads",
    b"strides",
    b"kernel_shape",
    b"auto_pad",
    b"resnext.labels",
    b"resnext.preprocess",
    b"resnext.label_ids",
    b"[\"a\"]",
    b"{\"resize\":256,\"crop\":224}",
    b"1e308",
    b"-1",
    b"location",
    b"../../etc/passwd",
    b"\x70\x01",
];

/// A grouped network with labels as the builder writes it, and one without groups as torch does.
fn corpus() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let mut corpus = Vec::new();
    for fold_bn in [true, false] {
        let mut variant = Variant::parse_with("29_2x1d", &[1, 1]).unwrap();
        (variant.planes, variant.group_width) = (2, 1);
        let weights = Weights::Random { seed: 0 };
        let mut plan = Plan::new(Some(variant), weights, Destination::File(path.clone()));
        plan.lowering = Lowering { fold_bn, ..Lowering::default() };
        plan.classes = Some(2);
        plan.image = Some([Dim::Fixed(8), Dim::Fixed(8)]);
        plan.labels = resnext_builder::build::LabelsChoice::Given(Labels::parse("cat\ndog"));
        plan.force = true;
        build(&plan, &mut |_| {}).unwrap();
        corpus.push(std::fs::read(&path).unwrap());
    }
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports");
    corpus.push(std::fs::read(exports.join("resnet_torchscript.onnx")).unwrap());
    corpus
}

#[test]
fn the_importer() {
    fuzzing::run("import", corpus(), PIECES, <[u8]>::to_vec, |file| {
        let model = onnx_file::read::decode(Path::new("fuzzed.onnx"), file.to_vec().into()).ok()?;
        let imported = import(model, Some([1, 3, 8, 8])).ok()?;
        validate(&imported.graph).ok()?;
        Some(())
    });
}

#[test]
fn the_rewriter() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.onnx"), folder.path().join("out.onnx"));
    let lowering = Lowering { group_widths: vec![Width::at_least(4)], ..Lowering::default() };
    fuzzing::run("optimize", corpus(), PIECES, <[u8]>::to_vec, |file| {
        std::fs::write(&input, file).unwrap();
        let done = Model::read(&input).ok()?.lower(&lowering, &Chosen::default(), &output, External::Never).ok()?;
        let again = onnx_file::read::read(&output).expect("what was written is a model");
        let nodes = again.graph.map_or(0, |graph| graph.node.len());
        assert!(nodes <= done.nodes);
        (!done.rewritten.is_empty()).then_some(())
    });
}

#[test]
fn the_metadata_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fuzzing::run("metadata", corpus(), PIECES, <[u8]>::to_vec, |file| {
        std::fs::write(&path, file).unwrap();
        let model = ModelFile::read(&path).ok()?;
        let _ = (model.label_ids(), model.random_weights(), model.name());
        let labels = model.labels();
        let image = model.image_input().ok()?;
        let (preprocess, _) = Preprocess::of(&model, &image).ok()?;
        assert!(preprocess.height_width().0 > 0);
        labels.ok()?;
        Some(())
    });
}
