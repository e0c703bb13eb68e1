//! A temporary copy of a model file with values from inside its graph among its outputs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::open;
use crate::outline::external;
use crate::proto::{GraphProto, ModelProto, ValueInfoProto};
use crate::temporary::Temporary;
use prost::Message as _;

/// Why the copy could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a copy of the model to {}: {source}", path.display())]
pub struct ExposeError {
    /// The folder it was to lie in.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Copies the model at `path`, whose graph is `graph`, and adds these values to its outputs, after its own. The copy is
/// removed when it is dropped.
///
/// Protobuf messages merge when written one after the other, and repeated fields append: a model that holds nothing but
/// the outputs, at the end of the file, adds them without decoding the weights.
///
/// # Errors
/// [`ExposeError`].
pub fn with_intermediate_outputs(path: &Path, graph: &GraphProto, values: &[String]) -> Result<Temporary, ExposeError> {
    // External weights are found relative to the model file, so its copy must lie beside it; otherwise the folder for
    // temporary files will do.
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = if external(graph).next().is_some() { beside.to_owned() } else { std::env::temp_dir() };
    let output = |name: &String| ValueInfoProto { name: name.clone(), ..Default::default() };
    let more = GraphProto { output: values.iter().map(output).collect(), ..Default::default() };
    let tail = ModelProto { graph: Some(more), ..Default::default() }.encode_to_vec();
    let written = Temporary::file(&folder, ("resnext-layers-", ".onnx"), |copy| {
        io::copy(&mut open::file(path)?, copy)?;
        copy.write_all(&tail)
    });
    written.map_err(|source| ExposeError { path: folder.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outline::Outline;
    use crate::proto::TensorProto;

    #[test]
    fn a_copy_has_the_added_outputs_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let output = vec![ValueInfoProto { name: "logits".into(), ..Default::default() }];
        let graph = GraphProto { output, ..Default::default() };
        let model = ModelProto { graph: Some(graph.clone()), ..Default::default() };
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let copy = with_intermediate_outputs(&path, &graph, &["v3".into(), "v9".into()]).unwrap();
        let place = copy.path().to_owned();
        let outputs: Vec<String> = Outline::read(&place).unwrap().graph.output.into_iter().map(|o| o.name).collect();
        assert_eq!(outputs, ["logits", "v3", "v9"]);
        assert_ne!(place.parent(), Some(folder.path()));
        drop(copy);
        assert!(!place.exists());
        let apart = TensorProto { data_location: 1, ..Default::default() };
        let graph = GraphProto { initializer: vec![apart], ..graph };
        assert_eq!(with_intermediate_outputs(&path, &graph, &[]).unwrap().path().parent(), Some(folder.path()));
    }
}
