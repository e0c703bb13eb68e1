//! What the harness adds to a run: a bare loop around onnxruntime's `Run` on a model of one node, the same through
//! [`LocalModel`] and through a worker process. The difference between two rows is the harness; at most 20 µs a run.
//!
//! `cargo bench -p resnext-runner --bench harness_overhead`

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/common/runner.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{launcher, library, model, node, spec, value_info, write};
use criterion::{Criterion, criterion_group, criterion_main};
use ort::session::{Session, SessionInputValue};
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::backend::onnxruntime::session::LocalModel;
use resnext_runner::model::opened::{Block, Model, Scope};
use resnext_runner::model::tensor::{Data, Tensor};

/// A model of one node, to measure what the harness adds.
fn one_node() -> Vec<u8> {
    let nodes = vec![node("Relu", &["input"], "output", vec![])];
    model(nodes, vec![], value_info("input", &[1, 8]), value_info("output", &[1, 8]))
}

/// Wall time of a block of this many runs, everything that happens between two runs included.
fn block(model: &mut dyn Model, input: &Tensor, scope: Scope, runs: u64) -> Duration {
    let block = Block { scope, max_runs: runs as usize, max_seconds: f64::MAX };
    let start = Instant::now();
    let seconds = model.time(std::slice::from_ref(input), block).expect("timed");
    let elapsed = start.elapsed();
    assert_eq!(seconds.len() as u64, runs);
    elapsed
}

fn overhead(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = write(folder.path(), "one_node.onnx", &one_node());
    let library = library(Package::Cpu);
    let spec = spec(library, Kind::Cpu, &path);
    let input = Tensor { name: "input".into(), shape: vec![1, 8], data: Data::F32(vec![0.5; 8]) };
    let runtime = runtime::load(&spec.library.path, false).expect("library");

    let mut group = criterion.benchmark_group("one node");
    let mut session = Session::builder(&runtime.environment)
        .and_then(|builder| builder.with_intra_threads(1)?.commit_from_file(&path))
        .expect("session");
    let value = ort::value::Tensor::from_array((vec![1, 8], vec![0.5_f32; 8])).expect("value");
    let values = [SessionInputValue::from(value)];
    group.bench_function("bare Session::run", |bencher| {
        bencher.iter(|| drop(session.run(values.as_slice()).expect("ran")));
    });
    let mut local = LocalModel::load_with(&runtime, &spec).expect("loaded");
    group.bench_function("LocalModel, end to end", |bencher| {
        bencher.iter_custom(|runs| block(&mut local, &input, Scope::EndToEnd, runs));
    });
    group.bench_function("LocalModel, device", |bencher| {
        bencher.iter_custom(|runs| block(&mut local, &input, Scope::Device, runs));
    });
    let mut worker = launcher().load(&spec).expect("loaded");
    group.bench_function("worker, end to end", |bencher| {
        bencher.iter_custom(|runs| block(&mut worker, &input, Scope::EndToEnd, runs));
    });
    group.finish();
}

criterion_group!(benches, overhead);
criterion_main!(benches);
