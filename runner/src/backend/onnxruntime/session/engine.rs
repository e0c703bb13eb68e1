//! Where TensorRT's engines of one model are kept, found out in the process that will load them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onnx_file::outline::data_files;
use onnx_file::{beside, digest, open};
use sha2::{Digest, Sha256};

use crate::backend::onnxruntime::provider::tensorrt::EngineKey;
use crate::host::machine as host;
use crate::model::file::ModelFile;
use crate::model::opened::ModelError;

use crate::backend::onnxruntime::spec::Source;

/// The folder of this model's engines below `root`, made if it is not there.
///
/// # Errors
/// [`ModelError::BadModel`] for a model that cannot be read, [`ModelError::Failed`] for a folder that cannot be made.
pub(crate) fn folder(
    root: &Path,
    model: &Source,
    onnxruntime: &str,
    options: &BTreeMap<String, String>,
) -> Result<PathBuf, ModelError> {
    let digest = match model {
        Source::File(path) => model_digest(path).map_err(ModelError::BadModel)?,
        Source::Probe => "probe".to_owned(),
        Source::Known => "known".to_owned(),
    };
    let gpus = host::gpus();
    let number = options.get("device_id").and_then(|value| value.parse().ok()).unwrap_or(0usize);
    let gpu = gpus.get(number);
    let key = EngineKey {
        model_sha256: &digest,
        onnxruntime,
        tensorrt: &tensorrt_version(),
        driver: gpu.map_or("unknown", |gpu| gpu.driver.as_str()),
        gpu: &gpu.map_or("unknown".to_owned(), |gpu| format!("{} {}", gpu.name, gpu.compute_capability)),
        options,
    };
    let folder = key.folder(root);
    fs::create_dir_all(&folder)
        .map_err(|error| ModelError::Failed(format!("the engine cache {}: {error}", folder.display())))?;
    Ok(folder)
}

/// SHA-256 of the model with its external data: of the file alone where there is none.
fn model_digest(path: &Path) -> Result<String, String> {
    let named = |path: &Path| {
        let path = path.to_path_buf();
        move |error: std::io::Error| format!("{}: {error}", path.display())
    };
    let own = digest::file(path).map_err(named(path))?;
    let file = ModelFile::read(path).map_err(|error| error.to_string())?;
    let locations = data_files(&file.graph);
    if locations.is_empty() {
        return Ok(own);
    }
    let mut hasher = Sha256::new();
    hasher.update(&own);
    for location in locations {
        let data = beside::resolve(path, location).map_err(|error| error.to_string())?;
        hasher.update(digest::file(&data).map_err(named(&data))?);
    }
    Ok(format!("{:x}", hasher.finalize()))
}

/// The file that the dynamic loader takes for TensorRT, links followed: its name ends in the full version.
fn tensorrt_version() -> String {
    // Loading it by the name the provider library asks for makes the loader's choice visible; if there is none, the
    // provider's own error says so.
    let name = if cfg!(windows) { "nvinfer_10.dll" } else { "libnvinfer.so.10" };
    let _ = ort::util::preload_dylib(name);
    let maps = open::read_text(Path::new("/proc/self/maps"), open::SMALL).unwrap_or_default();
    let mapped =
        maps.lines().filter_map(|line| line.split_whitespace().last()).find(|path| path.contains("libnvinfer.so"));
    let file = mapped.and_then(|path| fs::canonicalize(path).ok());
    file.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(location: Option<&str>, bytes: &[u8]) -> Vec<u8> {
        use onnx_file::proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
        use prost::Message;
        let entry = |location: &str| StringStringEntryProto { key: "location".into(), value: location.into() };
        let weight = TensorProto {
            name: "weight".into(),
            dims: vec![1],
            data_type: 1,
            data_location: i32::from(location.is_some()),
            external_data: location.map(entry).into_iter().collect(),
            raw_data: if location.is_some() { vec![].into() } else { bytes.to_vec().into() },
            ..TensorProto::default()
        };
        let graph = GraphProto { initializer: vec![weight], ..GraphProto::default() };
        let opset = OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() };
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
            .encode_to_vec()
    }

    #[test]
    fn other_weights_are_another_engine_wherever_they_lie() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("model.onnx");
        let digest = |model: &[u8], weights: &[u8]| {
            fs::write(&path, model).expect("written");
            fs::write(folder.path().join("weights.bin"), weights).expect("written");
            model_digest(&path).expect("readable")
        };
        let inside = digest(&model(None, &[1, 2, 3, 4]), &[]);
        assert_ne!(inside, digest(&model(None, &[1, 2, 3, 5]), &[]));
        assert_eq!(inside, digest(&model(None, &[1, 2, 3, 4]), &[]));
        let outside = model(Some("weights.bin"), &[]);
        assert_ne!(digest(&outside, &[1, 2, 3, 4]), digest(&outside, &[1, 2, 3, 5]));
    }

    #[test]
    fn the_folder_is_made_and_depends_on_the_options() {
        let root = tempfile::tempdir().expect("temporary folder");
        let mut options = BTreeMap::from([("trt_fp16_enable".to_owned(), "0".to_owned())]);
        let first = folder(root.path(), &Source::Probe, "1.31.1", &options).expect("made");
        assert!(first.is_dir());
        options.insert("trt_fp16_enable".to_owned(), "1".to_owned());
        assert_ne!(folder(root.path(), &Source::Probe, "1.31.1", &options).expect("made"), first);
    }
}
