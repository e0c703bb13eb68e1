//! Temporary copies of a model file that have more outputs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use onnx_file::proto::{GraphProto, ModelProto, ValueInfoProto};
use prost::Message;
use tempfile::TempPath;

use super::LayersError;
use crate::metadata::ModelFile;

/// A temporary copy of a model file with more outputs; removed when dropped.
pub(super) struct Copy {
    pub(super) path: TempPath,
}

impl Copy {
    /// Protobuf messages merge when written one after the other, and repeated fields append: a model that holds
    /// nothing but the outputs, at the end of the file, adds them without reading the weights.
    pub(super) fn with_outputs(file: &ModelFile, values: &[String]) -> Result<Copy, LayersError> {
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
        written().map(|path| Copy { path }).map_err(|source| LayersError::Write { path: folder.clone(), source })
    }
}
