//! Checkpoint files: the container is recognised by content, names map to tensors.

use std::fmt;
use std::path::{Path, PathBuf};

mod error;

pub use error::CheckpointError;

/// The container a checkpoint is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Zip archive, `torch.save` since torch 1.6.
    Zip,
    /// Concatenated pickles and storages, `torch.save` before torch 1.6.
    Legacy,
    /// safetensors.
    Safetensors,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::Legacy => "legacy",
            Self::Safetensors => "safetensors",
        })
    }
}

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum DType {
    F16,
    BF16,
    F32,
    F64,
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
}

impl DType {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::F16 | Self::BF16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    /// Whether the type holds real numbers, as weights do.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
        })
    }
}

/// What a checkpoint says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, without the key that nested the weights and without a stripped prefix.
    pub name: String,
    /// Element type as stored.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// An open checkpoint: its names, types and shapes. Values are read when asked for.
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    file_len: u64,
    tensors: Vec<TensorInfo>,
    nested_under: Option<String>,
    stripped_prefix: Option<String>,
    read: Vec<Reader>,
}

type Reader = Box<dyn Fn() -> std::io::Result<Vec<u8>> + Send + Sync>;

impl Checkpoint {
    /// Opens `path`.
    ///
    /// # Errors
    ///
    /// If the file is not a checkpoint that can be read safely.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let bad = |what: String| CheckpointError { path: path.to_owned(), what };
        let bytes = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
        let mut found: Vec<(TensorInfo, Reader)> = Vec::new();
        let format;
        if bytes.get(8) == Some(&b'{') {
            format = Format::Safetensors;
            let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
            for (name, view) in file.iter() {
                let dtype = match view.dtype() {
                    safetensors::Dtype::F16 => DType::F16,
                    safetensors::Dtype::BF16 => DType::BF16,
                    safetensors::Dtype::F32 => DType::F32,
                    safetensors::Dtype::F64 => DType::F64,
                    safetensors::Dtype::I64 => DType::I64,
                    other => return Err(bad(format!("{name}: {other:?}"))),
                };
                let data = view.data().to_vec();
                let info = TensorInfo { name: name.to_owned(), dtype, shape: view.shape().to_vec() };
                found.push((info, Box::new(move || Ok(data.clone()))));
            }
        } else {
            format = if bytes.starts_with(b"PK") { Format::Zip } else { Format::Legacy };
            let file = pytorch_reader::PytorchReader::new(path).map_err(|e| bad(e.to_string()))?;
            for (name, tensor) in file.into_tensors() {
                let dtype = match tensor.dtype() {
                    pytorch_reader::DType::F16 => DType::F16,
                    pytorch_reader::DType::BF16 => DType::BF16,
                    pytorch_reader::DType::F32 => DType::F32,
                    pytorch_reader::DType::F64 => DType::F64,
                    pytorch_reader::DType::I64 => DType::I64,
                    other => return Err(bad(format!("{name}: {other:?}"))),
                };
                let info = TensorInfo { name, dtype, shape: tensor.shape().to_vec() };
                found.push((info, Box::new(move || tensor.read())));
            }
        }
        let mut nested_under = None;
        for key in ["state_dict", "model", "model_ema", "ema"] {
            let prefix = format!("{key}.");
            if format != Format::Safetensors && found.iter().any(|(info, _)| info.name.starts_with(&prefix)) {
                found.retain(|(info, _)| info.name.starts_with(&prefix));
                found.iter_mut().for_each(|(info, _)| info.name = info.name.split_off(prefix.len()));
                nested_under = Some(key.to_owned());
                break;
            }
        }
        let mut stripped_prefix = None;
        if found.iter().all(|(info, _)| info.name.starts_with("module.")) {
            found.iter_mut().for_each(|(info, _)| info.name = info.name.split_off("module.".len()));
            stripped_prefix = Some("module.".to_owned());
        }
        found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        let (tensors, read) = found.into_iter().unzip();
        let file_len = bytes.len() as u64;
        Ok(Self { path: path.to_owned(), format, file_len, tensors, nested_under, stripped_prefix, read })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its container.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its length in bytes.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// All tensors of the state_dict, in file order, counters such as `num_batches_tracked` included.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|info| info.name == name)
    }

    /// The key under which the weights were nested: `state_dict`, `model`, `model_ema` or `ema`.
    pub fn nested_under(&self) -> Option<&str> {
        self.nested_under.as_deref()
    }

    /// The prefix taken off every name: `module.`, as DataParallel writes it.
    pub fn stripped_prefix(&self) -> Option<&str> {
        self.stripped_prefix.as_deref()
    }

    /// The values of `name` as f32, row-major.
    ///
    /// # Errors
    ///
    /// If the tensor is absent, not of a floating type, damaged, or holds NaN or an infinity.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        Ok(self.read_f64(name)?.into_iter().map(|value| value as f32).collect())
    }

    /// The values of `name` exactly as stored, row-major.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read_f32`].
    pub fn read_f64(&self, name: &str) -> Result<Vec<f64>, CheckpointError> {
        let bad = |what: String| CheckpointError { path: self.path.clone(), what };
        let index = self.tensors.iter().position(|info| info.name == name).ok_or_else(|| bad(name.to_owned()))?;
        let bytes = self.read[index]().map_err(|e| bad(e.to_string()))?;
        Ok(match self.tensors[index].dtype {
            DType::F16 => bytemuck::pod_collect_to_vec::<u8, half::f16>(&bytes).iter().map(|v| v.to_f64()).collect(),
            DType::BF16 => bytemuck::pod_collect_to_vec::<u8, half::bf16>(&bytes).iter().map(|v| v.to_f64()).collect(),
            DType::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(&bytes).iter().map(|v| f64::from(*v)).collect(),
            DType::F64 => bytemuck::pod_collect_to_vec::<u8, f64>(&bytes),
            other => return Err(bad(format!("{name}: {other} is no type for a weight"))),
        })
    }
}
