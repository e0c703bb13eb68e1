use std::path::Path;

use onnx_file::proto::tensor_proto::DataType;
use onnx_file::proto::{GraphProto, ModelProto};
use prost::Message;

use super::*;
use crate::model::fake::Fake;
use crate::model::file::tests::value;
use crate::model::tensor::Data;
use crate::verb::compare::boundary::tests::node;

const BLOCKS: usize = 16;

/// Writes a chain of blocks, each a pooling so that every one ends in a boundary.
fn chain(folder: &Path) -> ModelFile {
    chain_of(folder, 'v', BLOCKS)
}

/// The same with values of another name, in another number.
fn chain_of(folder: &Path, letter: char, blocks: usize) -> ModelFile {
    let name = |i: usize| if i == 0 { "x".into() } else { format!("{letter}{i}") };
    let mut nodes: Vec<_> =
        (0..blocks).map(|i| node("MaxPool", &format!("block{i}"), &[&name(i)], &name(i + 1))).collect();
    nodes.push(node("Gemm", "fc", &[&name(blocks), "w"], "logits"));
    let graph = GraphProto {
        node: nodes,
        input: vec![value("x", DataType::Float, &[-1, 3, 2, 2])],
        output: vec![value("logits", DataType::Float, &[-1, 4])],
        ..Default::default()
    };
    let path = folder.join(format!("{letter}{blocks}.onnx"));
    std::fs::write(&path, ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()).unwrap();
    ModelFile::read(&path).unwrap()
}

/// A provider whose values are wrong from `v<from>` on, and that counts the outputs asked of it.
fn provider<'a>(file: &'a ModelFile, from: Option<usize>, asked: &'a std::cell::RefCell<Vec<usize>>) -> Candidate<'a> {
    let open = move |path: &Path| -> Result<Box<dyn crate::model::opened::Model + 'a>, ModelError> {
        let names: Vec<String> = ModelFile::read(path).unwrap().outputs.into_iter().map(|port| port.name).collect();
        asked.borrow_mut().push(names.len());
        Ok(Box::new(Fake::new(move |inputs| {
            let output = |name: &String| {
                let depth = name[1..].parse().unwrap_or(BLOCKS + 1);
                let error = if from.is_some_and(|from| depth >= from) { 0.5 } else { 0.0 };
                let rows = inputs[0].shape[0];
                let data = (0..rows * 4).map(|i| i as f32 + error).collect();
                Tensor { name: name.clone(), shape: vec![rows, 4], data: Data::F32(data) }
            };
            Ok(names.iter().map(output).collect())
        })))
    };
    Candidate::of_file(file, "cpu", Box::new(open))
}

fn search(from: Option<usize>) -> (Layers, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let file = chain(folder.path());
    let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
    let counts = std::cell::RefCell::new(Vec::new());
    let (mut good, mut bad) = (provider(&file, None, &counts), provider(&file, from, &counts));
    let layers = find(&mut good, &mut bad, &[input], ToleranceOverride::default(), 4, &mut |_| {}).unwrap();
    drop((good, bad));
    (layers, counts.into_inner())
}

#[test]
fn the_first_diverging_block_is_found_wherever_it_is() {
    for from in 1..=BLOCKS {
        let (layers, _) = search(Some(from));
        assert_eq!(layers.first_diverging, Some(format!("block{}", from - 1)));
        let before = (from > 1).then(|| format!("block{}", from - 2));
        assert_eq!(layers.last_agreeing, before, "diverging from block {from}");
    }
}

#[test]
fn a_divergence_after_the_last_boundary_is_named_so_and_none_is_none() {
    let (layers, _) = search(Some(BLOCKS + 1));
    assert_eq!(layers.first_diverging.as_deref(), Some("outputs"));
    assert_eq!(layers.last_agreeing, Some(format!("block{}", BLOCKS - 1)));
    let (layers, counts) = search(None);
    assert_eq!((layers.first_diverging, layers.last_agreeing), (None, None));
    assert_eq!(counts.len(), 2, "one look at each side is enough");
}

#[test]
fn only_a_few_outputs_are_added_at_a_time_and_few_runs_are_needed() {
    let (_, counts) = search(Some(7));
    assert!(counts.iter().all(|&count| count <= 1 + 4), "{counts:?}");
    assert!(counts.len() <= 6, "{counts:?}");
}

#[test]
fn boundaries_without_a_name_in_common_are_matched_one_to_one_where_there_are_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let counts = std::cell::RefCell::new(Vec::new());
    let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
    let file = chain(folder.path());
    let search = |other: &ModelFile| {
        let (mut good, mut bad) = (provider(&file, None, &counts), provider(other, Some(5), &counts));
        find(&mut good, &mut bad, std::slice::from_ref(&input), ToleranceOverride::default(), 4, &mut |_| {})
    };
    let layers = search(&chain_of(folder.path(), 'u', BLOCKS)).unwrap();
    assert_eq!((layers.boundaries, layers.first_diverging.as_deref()), (BLOCKS, Some("block4")));
    let fewer = search(&chain_of(folder.path(), 'u', BLOCKS - 1)).unwrap_err();
    let LayersError::Unmatched { first_count, second_count, .. } = fewer else { panic!("{fewer}") };
    assert_eq!((first_count, second_count), (BLOCKS, BLOCKS - 1));
}

#[test]
fn a_block_that_differs_from_itself_agrees_with_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = chain(folder.path());
    let counts = std::cell::RefCell::new(Vec::new());
    let mut steady = provider(&file, None, &counts);
    let mut again = provider(&file, None, &counts);
    let open = move |path: &Path| -> Result<Box<dyn crate::model::opened::Model + '_>, ModelError> {
        let mut right = (again.open)(path)?;
        let mut runs = 0;
        Ok(Box::new(Fake::new(move |inputs| {
            runs += 1;
            let mut outputs = right.run(inputs)?;
            for output in outputs.iter_mut().filter(|output| output.name == "v9") {
                let Data::F32(values) = &mut output.data else { panic!("f32") };
                values.iter_mut().for_each(|value| *value += runs as f32);
            }
            Ok(outputs)
        })))
    };
    let mut noisy = Candidate::of_file(&file, "cuda", Box::new(open));
    let input = Tensor { name: "x".into(), shape: vec![2, 3, 2, 2], data: Data::F32(vec![0.0; 24]) };
    let layers = find(&mut steady, &mut noisy, &[input], ToleranceOverride::default(), 16, &mut |_| {}).unwrap();
    assert_eq!(layers.first_diverging.as_deref(), Some("block8"));
}
