//! Nodes that a provider cannot run: refused by default, counted where the caller allows it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common::runner::{floats, launcher, library, model, node, spec, value_info, write};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::model::opened::{Model, ModelError};
use resnext_runner::model::tensor::{Data, Tensor};

/// A ReLU, which every provider has, and a determinant, which only the CPU provider has.
fn with_a_determinant() -> Vec<u8> {
    let nodes = vec![node("Relu", &["input"], "positive", vec![]), node("Det", &["positive"], "output", vec![])];
    model(nodes, vec![], value_info("input", &[1, 2, 2]), value_info("output", &[1]))
}

#[test]
fn nodes_that_fall_back_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = write(folder.path(), "model.onnx", &with_a_determinant());
    let asked = spec(library(Package::OpenVino), Kind::OpenVino, &path);
    let error = launcher().load(&asked).map(|worker| worker.loaded().clone()).expect_err("no determinant in OpenVINO");
    let ModelError::Fallback(reason) = &error else { panic!("{error:?}") };
    assert!(reason.contains("Det \"node_output\" on CPUExecutionProvider"), "{reason}");
    assert!(reason.contains("of 2 nodes were not placed on openvino"), "{reason}");
    assert!(reason.contains("--allow-fallback"), "{reason}");
}

#[test]
fn nodes_that_may_fall_back_are_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = write(folder.path(), "model.onnx", &with_a_determinant());
    let mut asked = spec(library(Package::OpenVino), Kind::OpenVino, &path);
    asked.allow_fallback = true;
    let mut worker = launcher().load(&asked).expect("allowed");
    assert!(worker.loaded().placement["CPUExecutionProvider"] >= 1, "{:?}", worker.loaded().placement);
    assert_eq!(worker.loaded().placement.values().sum::<usize>(), 2);
    let input = Tensor { name: "input".into(), shape: vec![1, 2, 2], data: Data::F32(vec![3.0, 1.0, -2.0, 5.0]) };
    assert_eq!(floats(&worker.run(&[input]).expect("ran")[0]), [15.0]);
}
