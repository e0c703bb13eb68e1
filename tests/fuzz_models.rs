//! Fuzzing what reads ONNX files: the importer, the rewriter and the inspection of the builder, the metadata reader of the
//! runner, and what tells the meaning of outputs. No input may panic, or take a minute or a gigabyte; what the rewriter writes
//! must be a model again, and what is printed must be plain text.

mod common {
    pub(crate) mod fuzzing;
    #[allow(dead_code, reason = "the tests of the checkpoint reader use the rest")]
    pub(crate) mod memory;
}

use std::collections::HashSet;
use std::path::Path;

use common::fuzzing;
use onnx_file::meaning::Meanings;
use onnx_file::metadata::Labels;
use onnx_file::proto::GraphProto;
use prost::Message as _;
use resnext_builder::build::{Destination, External, Plan, Weights, build};
use resnext_builder::checkpoint::Choice;
use resnext_builder::graph::Dim;
use resnext_builder::import::import;
use resnext_builder::inspect::{Architecture, Content, inspect};
use resnext_builder::optimize::Model;
use resnext_builder::passes::{Lowering, Pass, Width};
use resnext_builder::report;
use resnext_builder::target::Rationale;
use resnext_builder::validate::validate;
use resnext_builder::variant::Variant;
use resnext_runner::input::preprocess;
use resnext_runner::model::file::ModelFile;

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

/// A grouped network with labels as the builder writes it, and one with and one without groups as torch does.
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
    corpus.push(without_relu(&corpus[1]));
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exports");
    for name in ["grouped_torchscript.onnx", "resnet_torchscript.onnx"] {
        corpus.push(std::fs::read(exports.join(name)).unwrap());
    }
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

/// A model whose normalisations are followed by convolutions.
fn without_relu(file: &[u8]) -> Vec<u8> {
    let mut model = onnx_file::read::decode(Path::new("m.onnx"), file.to_vec().into()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    while let Some(at) = graph.node.iter().position(|node| node.op_type == "Relu") {
        let relu = graph.node.remove(at);
        let inputs = graph.node.iter_mut().flat_map(|node| &mut node.input);
        inputs.filter(|input| **input == relu.output[0]).for_each(|input| input.clone_from(&relu.input[0]));
    }
    model.encode_to_vec()
}

/// Whether every value of `graph` is made once, before it is used; `outer` are those of the graphs around it.
fn is_sound(graph: &GraphProto, outer: &HashSet<String>) -> bool {
    let inputs = graph.input.iter().map(|value| &value.name).filter(|name| !name.is_empty());
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let mut made: HashSet<String> = inputs.chain(constants).chain(outer).cloned().collect();
    for node in &graph.node {
        let inner = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        let used = node.input.iter().all(|name| name.is_empty() || made.contains(name));
        if !used || !inner.into_iter().all(|graph| is_sound(graph, &made)) {
            return false;
        }
        if !node.output.iter().filter(|name| !name.is_empty()).all(|name| made.insert(name.clone())) {
            return false;
        }
    }
    graph.output.iter().all(|output| made.contains(&output.name))
}

#[test]
fn the_rewriter() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.onnx"), folder.path().join("out.onnx"));
    let lowering = Lowering { group_widths: vec![Width::at_least(4)], subsample: true, ..Lowering::default() };
    fuzzing::run("optimize", corpus(), PIECES, <[u8]>::to_vec, |file| {
        std::fs::write(&input, file).unwrap();
        // Every other length, so that a saved input goes the same way again.
        let external = if file.len().is_multiple_of(2) { External::Always } else { External::Never };
        let sound = |path: &Path| {
            let graph = onnx_file::read::read(path).expect("a model").graph.unwrap_or_default();
            is_sound(&graph, &HashSet::new())
        };
        let done = Model::read(&input).ok()?.lower(&lowering, &Rationale::default(), &output, external).ok()?;
        assert!(sound(&output) || !sound(&input), "every value is still made once, before it is used");
        let graph = onnx_file::read::read(&output).expect("what was written is a model").graph.unwrap_or_default();
        let added = done.passes.iter().find(|pass| pass.pass == Pass::Subsample).map_or(0, |pass| pass.rewrites);
        assert!(graph.node.len() <= done.nodes + added);
        for mut tensor in graph.initializer {
            onnx_file::read::load_external(&output, &mut tensor).expect("its data is there");
        }
        done.files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "the input alone");
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
        let _ = (model.origin(), model.metadata.has_random_weights(), model.name());
        let labels = model.labels();
        let image = model.image_input().ok()?;
        let (preprocess, _) = preprocess::asked_by(&model, &image).ok()?;
        assert!(preprocess.height_width().0 > 0);
        labels.ok()?;
        Some(())
    });
}

/// As [`corpus`], with what torch's other exporter and other people's classifiers hold.
fn corpus_of_others() -> Vec<Vec<u8>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut corpus = corpus();
    for folder in ["exports", "exports/forms", "classifiers"] {
        let entries = std::fs::read_dir(fixtures.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut models: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
        models.sort();
        corpus.extend(models.iter().map(|path| std::fs::read(path).unwrap()));
    }
    corpus
}

#[test]
fn the_inspection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fuzzing::run("inspect", corpus_of_others(), PIECES, <[u8]>::to_vec, |file| {
        std::fs::write(&path, file).unwrap();
        let found = inspect(&path, &Choice::default()).ok()?;
        assert_eq!((found.bytes, found.tensor_list.as_ref().map(Vec::len)), (file.len() as u64, Some(found.tensors)));
        assert_eq!(found.element_types.values().sum::<usize>(), found.tensors);
        let said = report::inspection(&found);
        assert!(said.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{said:?}");
        serde_json::to_string(&found).unwrap();
        if let Architecture::Inferred(found) = &found.architecture {
            let [parameters, multiply_adds] = [
                found.stages.iter().map(|stage| stage.parameters).sum::<u64>(),
                found.stages.iter().map(|stage| stage.multiply_adds).sum(),
            ];
            assert_eq!((parameters, multiply_adds), (found.parameters, found.multiply_adds));
        }
        // Anything else is no model any more, and then a refusal is right.
        matches!(found.content, Content::Onnx(_)).then_some(())
    });
}

#[test]
fn the_meaning_of_outputs() {
    fuzzing::run("meaning", corpus_of_others(), PIECES, <[u8]>::to_vec, |file| {
        let model = onnx_file::read::decode(Path::new("fuzzed.onnx"), file.to_vec().into()).ok()?;
        let graph = model.graph?;
        let meanings = Meanings::of(&graph, model.opset_import.first().map_or(0, |opset| opset.version));
        for output in &graph.output {
            let (meaning, again) = (meanings.meaning(&output.name), meanings.meaning(&output.name));
            assert_eq!(meaning, again);
            let lineage = meanings.lineage(&output.name);
            assert!(lineage.len() <= graph.node.len() + 1, "no value comes of itself");
            let _ = (meanings.is_picked(&output.name), meanings.top_values(&output.name));
        }
        (!graph.output.is_empty()).then_some(())
    });
}
