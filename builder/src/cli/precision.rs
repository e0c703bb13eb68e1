//! The flags that choose the arithmetic.

use std::path::PathBuf;

use clap::Args;

use crate::build::BuildError;
use crate::calibration::Calibration;
use crate::precision::{Dtype, Half, Precision};

/// Arithmetic carried by the graph.
#[derive(Clone, Debug, Default, Args)]
pub struct PrecisionArgs {
    /// Type that the graph computes in
    #[arg(help_heading = "Precision", long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Leave the graph's inputs and outputs f32
    #[arg(help_heading = "Precision", long)]
    pub keep_io_types: bool,
    /// Nodes to keep in f32, by their names in the graph
    #[arg(help_heading = "Precision", long, value_name = "NODE", value_delimiter = ',')]
    pub keep_f32: Vec<String>,
    /// Ranges of values that `resnext-run calibrate` measured: what would overflow f16 is refused
    #[arg(help_heading = "Precision", long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

impl PrecisionArgs {
    /// The arithmetic, and the ranges to check it against.
    ///
    /// # Errors
    /// [`BuildError::Request`] and [`BuildError::Calibration`].
    pub fn choose(&self) -> Result<(Precision, Option<Calibration>), BuildError> {
        match self.dtype {
            Dtype::F16 => {
                let mut keep_f32: Vec<String> = Vec::new();
                for name in &self.keep_f32 {
                    if !keep_f32.contains(name) {
                        keep_f32.push(name.clone());
                    }
                }
                let calibration = self.calibration.as_deref().map(Calibration::read).transpose()?;
                Ok((Precision::F16(Half { keep_io_types: self.keep_io_types, keep_f32 }), calibration))
            }
            Dtype::F32 if self.keep_io_types || !self.keep_f32.is_empty() || self.calibration.is_some() => {
                let reason =
                    "--keep-io-types, --keep-f32 and --calibration go with --dtype f16; f32 needs none of them";
                Err(BuildError::Request(reason.into()))
            }
            Dtype::F32 => Ok((Precision::F32, None)),
        }
    }
}
