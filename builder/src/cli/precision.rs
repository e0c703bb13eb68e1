//! The flags that choose the arithmetic.

use std::path::PathBuf;

use clap::Args;

use crate::build::BuildError;
use crate::calibration::Calibration;
use crate::calibration::method::RangeMethod;
use crate::precision::{Dtype, Half, Int8, Precision};
use crate::target::Target;
use crate::weight::WeightRange;

/// Arithmetic carried by the graph.
#[derive(Clone, Debug, Default, Args)]
pub struct PrecisionArgs {
    /// Type that the graph computes in
    #[arg(help_heading = "Precision", long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Leave the graph's inputs and outputs f32 (f16; int8 leaves them anyway)
    #[arg(help_heading = "Precision", long)]
    pub keep_io_types: bool,
    /// Nodes to keep in f32, by their names in the graph
    #[arg(help_heading = "Precision", long, value_name = "NODE", value_delimiter = ',')]
    pub keep_f32: Vec<String>,
    /// Ranges of values that `resnext-run calibrate` measured: what would overflow f16 is refused, and int8 is scaled
    /// by them
    #[arg(help_heading = "Precision", long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// What int8 weights use of their 8 bits [default: pair-safe; full for openvino and tensorrt]
    #[arg(help_heading = "Precision", long, value_enum, value_name = "RANGE")]
    pub weight_range: Option<WeightRange>,
    /// How int8 ranges follow from the measured values: min-max, percentile=99.99, mse or entropy [default: min-max]
    #[arg(help_heading = "Precision", long, value_name = "METHOD")]
    pub range_method: Option<RangeMethod>,
}

impl PrecisionArgs {
    /// The arithmetic for `target`, and the ranges to check it against.
    ///
    /// # Errors
    /// [`BuildError::Request`] and [`BuildError::Calibration`].
    pub fn choose(&self, target: Target) -> Result<(Precision, Option<Calibration>), BuildError> {
        let request = |text: &str| Err(BuildError::Request(text.into()));
        if self.dtype != Dtype::Int8 && self.weight_range.is_some() {
            return request("--weight-range goes with --dtype int8");
        }
        if self.dtype != Dtype::Int8 && self.range_method.is_some() {
            return request("--range-method goes with --dtype int8");
        }
        let method = self.range_method.unwrap_or_default();
        match self.dtype {
            Dtype::F16 => {
                let half = Half { keep_io_types: self.keep_io_types, keep_f32: self.kept() };
                Ok((Precision::F16(half), self.calibration()?))
            }
            Dtype::Int8 => {
                let Some(calibration) = self.calibration()? else {
                    return request(
                        "--dtype int8 needs the ranges of the network's values: measure them on an f32 model with 'resnext-run calibrate model.onnx --images DIR -o ranges.json', and pass --calibration ranges.json",
                    );
                };
                let Some(flavour) = target.integer_flavour() else {
                    return request(
                        "onnxruntime's CUDA provider has no integer convolutions; use --target tensorrt, or --dtype f16",
                    );
                };
                let int8 = Int8 {
                    flavour,
                    weights: self.weight_range.unwrap_or(target.weight_range()),
                    keep_f32: self.kept(),
                    bounds: calibration.bounds(method)?,
                    method,
                    inputs: Some(calibration.inputs.clone()),
                };
                Ok((Precision::Int8(int8), Some(calibration)))
            }
            Dtype::F32 if self.keep_io_types || !self.keep_f32.is_empty() || self.calibration.is_some() => request(
                "--keep-io-types, --keep-f32 and --calibration go with --dtype f16 and int8; f32 needs none of them",
            ),
            Dtype::F32 => Ok((Precision::F32, None)),
        }
    }

    fn calibration(&self) -> Result<Option<Calibration>, BuildError> {
        Ok(self.calibration.as_deref().map(Calibration::read).transpose()?)
    }

    /// The nodes to keep, each once.
    fn kept(&self) -> Vec<String> {
        let mut kept: Vec<String> = Vec::new();
        for name in &self.keep_f32 {
            if !kept.contains(name) {
                kept.push(name.clone());
            }
        }
        kept
    }
}
