//! The rewritten model to its file, whole or not at all.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use onnx_file::proto::{ModelProto, TensorProto, tensor_proto::DataLocation};
use onnx_file::raw;
use onnx_file::write::{MESSAGE_LIMIT, WriteError};
use prost::Message as _;

use super::result::OptimizeError;
use crate::output::{DataName, External, Output};

/// Writes `model`, which was read from `input`, to `path`; returns the files, the model last, and their bytes.
pub(super) fn write(
    mut model: ModelProto,
    input: &str,
    path: &Path,
    (external, data_name): (External, Option<&DataName>),
) -> Result<(Vec<PathBuf>, u64), OptimizeError> {
    let failed = |source| OptimizeError::Output { path: path.display().to_string(), source };
    let bytes = model.encoded_len() as u64;
    let apart = match external {
        External::Never if bytes > MESSAGE_LIMIT => return Err(OptimizeError::TooLarge { bytes }),
        External::Never => false,
        External::Auto => bytes > MESSAGE_LIMIT,
        External::Always => true,
    };
    let mut output = Output::create(path).map_err(failed)?;
    if apart {
        let supply = |_: usize, tensor: &TensorProto| raw::bytes(tensor);
        output.write_data(&mut model, data_name, supply).map_err(|error| match error {
            WriteError::Io(source) => failed(source),
            WriteError::Weights(source) | WriteError::Tensor(source) => {
                OptimizeError::Tensor { path: input.into(), source }
            }
            other => failed(io::Error::other(other.to_string())),
        })?;
        let moved = |tensor: &&mut TensorProto| tensor.data_location == DataLocation::External as i32;
        let initializers = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
        initializers.filter(moved).for_each(raw::clear);
    }
    let content = model.encode_to_vec();
    output.model().write_all(&content).map_err(failed)?;
    let (files, apart) = output.commit().map_err(failed)?;
    Ok((files, content.len() as u64 + apart))
}
