//! A temporary copy of a model file whose inner values are outputs, so that they can be looked at.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use onnx_file::proto::{GraphProto, ModelProto, ValueInfoProto};
use prost::Message;

use crate::metadata::ModelFile;

/// Why the copy could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct ExposeError {
    /// The copy.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// A copy of a model file with more outputs; removed when dropped.
#[derive(Debug)]
pub struct Exposed {
    path: PathBuf,
}

impl Exposed {
    /// Copies `file` and adds these values of its graph to the outputs, after its own.
    ///
    /// Protobuf messages merge when written one after the other, and repeated fields append: a model that holds nothing
    /// but the outputs, at the end of the file, adds them without reading the weights.
    ///
    /// # Errors
    /// [`ExposeError`].
    pub fn with_outputs(file: &ModelFile, values: &[String]) -> Result<Exposed, ExposeError> {
        let copy = Exposed { path: place(file) };
        let output = |name: &String| ValueInfoProto { name: name.clone(), ..Default::default() };
        let graph = GraphProto { output: values.iter().map(output).collect(), ..Default::default() };
        let tail = ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec();
        std::fs::copy(&file.path, &copy.path)
            .and_then(|_| OpenOptions::new().append(true).open(&copy.path)?.write_all(&tail))
            .map_err(|source| ExposeError { path: copy.path.clone(), source })?;
        Ok(copy)
    }

    /// Where the copy lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// External weights are found relative to the model file, so its copy must lie beside it; otherwise the folder for
/// temporary files will do.
fn place(file: &ModelFile) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = match file.path.parent() {
        Some(parent) if file.external_data => parent.to_owned(),
        _ => std::env::temp_dir(),
    };
    let name = format!("resnext-layers-{}-{}.onnx", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    if folder.as_os_str().is_empty() { Path::new(".").join(name) } else { folder.join(name) }
}

impl Drop for Exposed {
    fn drop(&mut self) {
        // It may never have been made; and there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::metadata::tests::value;

    #[test]
    fn a_copy_has_the_added_outputs_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let output = vec![value("logits", DataType::Float, &[-1, 4])];
        let graph = GraphProto { output, ..Default::default() };
        std::fs::write(&path, ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()).unwrap();
        let file = ModelFile::read(&path).unwrap();
        let copy = Exposed::with_outputs(&file, &["v3".into(), "v9".into()]).unwrap();
        let path = copy.path().to_owned();
        let outputs: Vec<String> = ModelFile::read(&path).unwrap().outputs.into_iter().map(|port| port.name).collect();
        assert_eq!(outputs, ["logits", "v3", "v9"]);
        drop(copy);
        assert!(!path.exists());
        let external = ModelFile { external_data: true, ..file };
        assert_eq!(Exposed::with_outputs(&external, &[]).unwrap().path().parent(), Some(folder.path()));
    }
}
