//! The rewritten model to its file, whole or not at all.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use onnx_file::atomic::AtomicFile;
use onnx_file::proto::{ModelProto, TensorProto};
use onnx_file::tensor::ElementType;
use onnx_file::write::{MESSAGE_LIMIT, place_externally, write_external};
use prost::Message as _;
use prost::bytes::Bytes;

use super::OptimizeError;
use crate::build::External;
use crate::digest::{self, Hashing};

/// Writes `model` to `path`; returns the files, the model last, and their bytes.
pub(super) fn write(
    mut model: ModelProto,
    path: &Path,
    external: External,
) -> Result<(Vec<PathBuf>, u64), OptimizeError> {
    let output = |source| OptimizeError::Output { path: path.display().to_string(), source };
    let bytes = model.encoded_len() as u64;
    let apart = match external {
        External::Never if bytes > MESSAGE_LIMIT => return Err(OptimizeError::TooLarge { bytes }),
        External::Never => false,
        External::Auto => bytes > MESSAGE_LIMIT,
        External::Always => true,
    };
    let data = if apart { Some(write_data(&mut model, path)?) } else { None };
    let mut file = AtomicFile::create(path).map_err(output)?;
    let content = model.encode_to_vec();
    file.write_all(&content).map_err(output)?;
    let (mut files, mut bytes) = (Vec::new(), content.len() as u64);
    if let Some((data, data_path, length)) = data {
        data.commit_as(&data_path).map_err(output)?;
        files.push(data_path);
        bytes += length;
    }
    file.commit().map_err(output)?;
    files.push(path.to_owned());
    Ok((files, bytes))
}

/// Moves the weights to a data file beside `path`, named after its content's hash so that an old model never meets new
/// data.
fn write_data(model: &mut ModelProto, path: &Path) -> Result<(AtomicFile, PathBuf, u64), OptimizeError> {
    let output = |source| OptimizeError::Output { path: path.display().to_string(), source };
    let tensor = |source| OptimizeError::Tensor { path: path.display().to_string(), source };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut weights = Vec::new();
    for initializer in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        weights.push(take_data(initializer));
    }
    place_externally(model, "data").map_err(tensor)?;
    let file = AtomicFile::create(&path.with_file_name(format!("{stem}.data"))).map_err(output)?;
    let mut hashing = io::BufWriter::with_capacity(1 << 16, Hashing::new(file));
    let supply = |index: usize, _: &TensorProto| Ok::<_, std::convert::Infallible>(&weights[index]);
    let length =
        write_external(model, &mut hashing, supply).map_err(|error| output(io::Error::other(error.to_string())))?;
    let (file, hash) = hashing.into_inner().map_err(|error| output(error.into_error()))?.finish();
    let name = format!("{stem}-{}.data", &digest::hex(&hash)[..16]);
    place_externally(model, &name).map_err(tensor)?;
    // Small tensors stay in the model.
    for (initializer, data) in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer).zip(weights) {
        if initializer.external_data.is_empty() {
            initializer.raw_data = data;
        }
    }
    Ok((file, path.with_file_name(name), length))
}

/// A tensor's data as raw bytes, taken out of it, whichever way it is stored (`onnx.proto`: narrow types lie in
/// `int32_data`, a number each).
fn take_data(tensor: &mut TensorProto) -> Bytes {
    let raw = std::mem::take(&mut tensor.raw_data);
    if !raw.is_empty() {
        return raw;
    }
    let narrow = std::mem::take(&mut tensor.int32_data);
    match ElementType::from_proto(tensor.data_type) {
        Some(ElementType::F32) => std::mem::take(&mut tensor.float_data).iter().flat_map(|v| v.to_le_bytes()).collect(),
        Some(ElementType::F64) => {
            std::mem::take(&mut tensor.double_data).iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        Some(ElementType::I64) => std::mem::take(&mut tensor.int64_data).iter().flat_map(|v| v.to_le_bytes()).collect(),
        Some(ElementType::I32) => narrow.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Some(ElementType::F16 | ElementType::BF16) => narrow.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect(),
        Some(ElementType::I8 | ElementType::U8) => narrow.iter().map(|&v| v as u8).collect(),
        None => Bytes::new(),
    }
}
