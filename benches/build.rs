//! Where a build's time goes: the graph, seeded weights, a recipe, the digest.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onnx_file::digest;
use resnext_builder::architecture::{self, Options};
use resnext_builder::export::{Versions, export};
use resnext_builder::passes::{self, Lowering, Width};
use resnext_builder::random::Random;
use resnext_builder::validate::validate;
use resnext_builder::variant::Variant;
use resnext_builder::weight::Read as _;

fn graph_to_protobuf(criterion: &mut Criterion) {
    let variant = Variant::parse("101_64x4d").expect("a known name");
    let lowering = Lowering { group_widths: vec![Width::at_least(16)], ..Lowering::default() };
    criterion.bench_function("101_64x4d from name to protobuf, without weights", |bencher| {
        bencher.iter(|| {
            let mut graph = architecture::build(&variant, &Options::classifier(&variant)).expect("it fits");
            passes::run(&mut graph, &lowering).expect("no node to keep");
            export(validate(&graph).expect("valid"), "101_64x4d", Versions::default())
        });
    });
}

fn seeded_weights(criterion: &mut Criterion) {
    let mut random = Random { seed: 0, features: 2048 };
    let shape = [1024, 1024, 1, 1];
    let mut group = criterion.benchmark_group("seeded weights");
    group.throughput(Throughput::Bytes(4 * shape.iter().product::<usize>() as u64));
    group.bench_function("kaiming normal, 1 Mi values", |bencher| {
        bencher.iter(|| random.read_f32("layer3.1.conv1.weight", black_box(&shape)));
    });
    group.finish();
}

fn folded_and_widened_weight(criterion: &mut Criterion) {
    let variant = Variant::parse("50_32x4d").expect("a known name");
    let mut graph = architecture::build(&variant, &Options::classifier(&variant)).expect("it fits");
    let lowering = Lowering { group_widths: vec![Width::at_least(64)], ..Lowering::default() };
    passes::run(&mut graph, &lowering).expect("no node to keep");
    let weights = graph.weights();
    let value = weights.iter().map(|&id| graph.value(id)).find(|v| v.name == "layer4.1.conv2.weight").expect("there");
    let recipe = value.weight.as_ref().expect("a constant");
    let mut random = Random { seed: 0, features: 2048 };
    criterion.bench_function("layer4.1.conv2.weight, made up, folded and widened", |bencher| {
        bencher.iter(|| recipe.eval_f32(&mut random));
    });
}

fn sha256(criterion: &mut Criterion) {
    let bytes = vec![7u8; 8 << 20];
    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("sha256", |bencher| bencher.iter(|| digest::sha256(black_box(&bytes[..]))));
    group.finish();
}

criterion_group!(benches, graph_to_protobuf, seeded_weights, folded_and_widened_weight, sha256);
criterion_main!(benches);
