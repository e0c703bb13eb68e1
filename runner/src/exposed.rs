//! A temporary copy of a model file whose inner values are outputs, so that they can be looked at.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use onnx_file::proto::{GraphProto, ModelProto, ValueInfoProto};
use prost::Message;
use tempfile::TempPath;

use crate::metadata::ModelFile;

/// Why the copy could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a copy of the model to {}: {source}", path.display())]
pub struct ExposeError {
    /// The folder it was to lie in.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A copy of a model file with more outputs; removed when dropped.
#[derive(Debug)]
pub struct Exposed {
    path: TempPath,
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
        // External weights are found relative to the model file, so its copy must lie beside it; otherwise the folder
        // for temporary files will do.
        let beside = file.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = if file.external_data { beside.to_owned() } else { std::env::temp_dir() };
        let output = |name: &String| ValueInfoProto { name: name.clone(), ..Default::default() };
        let graph = GraphProto { output: values.iter().map(output).collect(), ..Default::default() };
        let tail = ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec();
        let written = || {
            let mut copy = tempfile::Builder::new().prefix("resnext-layers-").suffix(".onnx").tempfile_in(&folder)?;
            io::copy(&mut File::open(&file.path)?, &mut copy)?;
            copy.write_all(&tail)?;
            Ok(copy.into_temp_path())
        };
        written().map(|path| Exposed { path }).map_err(|source| ExposeError { path: folder.clone(), source })
    }

    /// Where the copy lies.
    pub fn path(&self) -> &Path {
        &self.path
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
