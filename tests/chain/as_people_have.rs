//! Checkpoints as training scripts, other libraries and hubs write them, to onnxruntime: the logits are torch's.
#![cfg(unix)]

use std::path::Path;

use clap::Parser as _;
use ndarray::{Array4, Axis};
use prost::Message as _;
use resnext_builder::build::{Plan, build};
use resnext_builder::checkpoint::{ChannelOrder, Checkpoint};
use resnext_builder::cli::Cli;
use resnext_runner::backend::onnxruntime::provider::Kind;
use resnext_runner::backend::onnxruntime::runtime::package::Package;
use resnext_runner::model::opened::Model as _;
use resnext_runner::model::tensor::{Data, Tensor};
use safetensors::SafeTensors;

use crate::common::as_people_have::{Entry, entries, folder};
use crate::common::runner::{floats, launcher, library, spec};

/// The relative distance that f32 explains.
const TOLERANCE: f64 = 1e-6;

/// The plan of the command line that builds `entry` for the images that torch was given.
fn plan(entry: &Entry, output: &Path, size: usize) -> Plan {
    let (weights, size) = (folder().join(&entry.file).display().to_string(), size.to_string());
    let output = output.display().to_string();
    let start = ["resnext-build", "--force", "--weights", &weights, "-o", &output, "--image-size", &size];
    let arguments = start.into_iter().chain(entry.flags.iter().map(String::as_str));
    Cli::try_parse_from(arguments).unwrap().build.plan().unwrap()
}

/// torch's images, as the model takes them, and its logits.
fn expected(network: &str, order: ChannelOrder) -> (Array4<f32>, Vec<f64>) {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let input = file.tensor(&format!("{network}.input")).unwrap();
    let values = input.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let shape = [0, 1, 2, 3].map(|axis| input.shape()[axis]);
    let mut images = Array4::from_shape_vec(shape, values).unwrap();
    if order == ChannelOrder::Bgr {
        images.invert_axis(Axis(1));
    }
    let logits = file.tensor(&format!("{network}.logits")).unwrap();
    (images, logits.data().as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
}

/// How far the logits that onnxruntime computes from `images` with the model at `path` are from `exact`.
fn distance(path: &Path, images: &Array4<f32>, exact: &[f64]) -> f64 {
    let data = Data::F32(images.iter().copied().collect());
    let input = Tensor { name: "input".into(), shape: images.shape().to_vec(), data };
    let mut worker = launcher().load(&spec(library(Package::Cpu), Kind::Cpu, path)).unwrap();
    let outputs = worker.run(&[input]).unwrap();
    let found = floats(&outputs[0]);
    assert_eq!(found.len(), exact.len());
    let difference: f64 = found.iter().zip(exact).map(|(found, exact)| (f64::from(*found) - exact).powi(2)).sum();
    (difference / exact.iter().map(|value| value * value).sum::<f64>()).sqrt()
}

/// Builds `entry` to `path`; returns torch's images and logits.
fn built(entry: &Entry, path: &Path) -> (Array4<f32>, Vec<f64>) {
    let size = expected(&entry.network, ChannelOrder::Rgb).0.shape()[2];
    let plan = plan(entry, path, size);
    let checkpoint = Checkpoint::open_with(&folder().join(&entry.file), &plan.choice).unwrap();
    build(&plan, &mut |_| {}).unwrap_or_else(|error| panic!("{}: {error}", entry.file));
    expected(&entry.network, checkpoint.channel_order())
}

#[test]
fn each_of_them_has_torchs_logits_under_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let (mut tried, mut reversed) = (0, 0);
    for entry in entries() {
        let (images, exact) = built(&entry, &path);
        let far = distance(&path, &images, &exact);
        assert!(far <= TOLERANCE, "{} {:?}: {far}", entry.file, entry.flags);
        let plain = expected(&entry.network, ChannelOrder::Rgb).0;
        if images != plain {
            // The colours matter: the same images in the other order are far.
            let other = distance(&path, &plain, &exact);
            assert!(other > 1e-2, "{}: {other}", entry.file);
            reversed += 1;
        }
        tried += 1;
    }
    assert!(tried > 65 && reversed > 4, "{tried} {reversed}");
}

#[test]
fn one_wrong_weight_is_beyond_the_tolerance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let entry = entries().into_iter().find(|entry| entry.network == "plain").unwrap();
    let (images, exact) = built(&entry, &path);
    let sound = std::fs::read(&path).unwrap();
    let count = onnx_file::read::read(&path).unwrap().graph.unwrap().initializer.len();
    for index in 0..count {
        std::fs::write(&path, &sound).unwrap();
        let mut model = onnx_file::read::read(&path).unwrap();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[index];
        let (name, mut bytes) = (tensor.name.clone(), tensor.raw_data.to_vec());
        // All of a bias or kernel by a thousandth of a unit: none is of no effect on every image.
        for value in bytes.as_chunks_mut::<4>().0 {
            *value = (f32::from_le_bytes(*value) + 1e-3).to_le_bytes();
        }
        tensor.raw_data = bytes.into();
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let far = distance(&path, &images, &exact);
        assert!(far > 10.0 * TOLERANCE, "{name}: {far}");
    }
}
