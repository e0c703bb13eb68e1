//! Files that are no models, or models that are no image classifiers: an error each, never a crash, never a result.

use std::path::Path;

use crate::common::runner::{
    launcher, library, model, node, small_network, spec, value_info, value_info_of, weight, write,
};
use onnx_file::proto::tensor_proto::DataType;
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::backend::onnxruntime::worker::Worker;
use resnext_runner::model::opened::{Model, ModelError};

fn load(bytes: &[u8]) -> Result<Worker, ModelError> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = write(folder.path(), "model.onnx", bytes);
    launcher().load(&spec(library(Package::Cpu), Kind::Cpu, &path))
}

fn assert_bad(result: Result<Worker, ModelError>, what: &str) {
    match result {
        Err(ModelError::BadModel(reason)) => assert!(reason.contains("model.onnx"), "{what}: {reason}"),
        Err(other) => panic!("{what}: {other:?}"),
        Ok(worker) => panic!("{what}: loaded {:?}", worker.loaded()),
    }
}

#[test]
fn a_model_cut_anywhere_is_refused() {
    let whole = small_network();
    load(&whole).expect("the whole model loads");
    let head = 0..128.min(whole.len());
    let beyond = (1..=100).map(|part| whole.len() * part / 101).filter(|&length| length >= 128);
    for length in head.chain(beyond) {
        assert_bad(load(&whole[..length]), &format!("cut to {length} of {} bytes", whole.len()));
    }
}

#[test]
fn what_is_no_protobuf_is_refused() {
    assert_bad(load(b"%PDF-1.7 this is no model at all, however long it goes on"), "a PDF");
    assert_bad(load(&[0xff; 4096]), "ones");
    assert_bad(load(&[0; 4096]), "zeros");
    assert_bad(load(b""), "nothing");
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let error = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, Path::new("/nowhere/model.onnx")));
    assert_bad(error, "no file");
}

#[test]
fn a_graph_that_contradicts_itself_is_refused() {
    let nodes = vec![node("Relu", &["nothing"], "output", vec![])];
    assert_bad(
        load(&model(nodes, vec![], value_info("input", &[1, 8]), value_info("output", &[1, 8]))),
        "no such value",
    );
    let nodes = vec![node("Conv", &["input", "weight"], "output", vec![])];
    let five = vec![weight("weight", &[4, 5, 3, 3])];
    let wrong = model(nodes, five, value_info("input", &[1, 3, 8, 8]), value_info("output", &[1, 4, 6, 6]));
    let error = load(&wrong).map(|worker| worker.process_id()).expect_err("five channels of three");
    assert!(matches!(error, ModelError::BadModel(_) | ModelError::Failed(_)), "{error:?}");
}

#[test]
fn an_input_that_the_harness_cannot_give_is_named() {
    let nodes = || vec![node("Identity", &["words"], "output", vec![])];
    let strings = model(
        vec![node("Shape", &["words"], "output", vec![])],
        vec![],
        value_info_of("words", &[1, 8], DataType::String),
        value_info_of("output", &[2], DataType::Int64),
    );
    let error = load(&strings).map(|worker| worker.process_id()).expect_err("strings");
    assert!(matches!(&error, ModelError::BadModel(reason) if reason.contains("`words` holds")), "{error:?}");
    let huge = model(nodes(), vec![], value_info("words", &[1 << 40, 8]), value_info("output", &[1 << 40, 8]));
    let error = load(&huge).map(|worker| worker.process_id()).expect_err("8 TiB");
    assert!(matches!(&error, ModelError::BadModel(reason) if reason.contains("impossible")), "{error:?}");
}

#[test]
fn a_model_of_something_else_than_images_still_runs() {
    let nodes = vec![node("Relu", &["input"], "output", vec![])];
    let table = model(nodes, vec![], value_info("input", &[-1, 8]), value_info("output", &[-1, 8]));
    let worker = load(&table).expect("any tensor will do");
    assert_eq!(worker.loaded().placement.values().sum::<usize>(), 1);
}
